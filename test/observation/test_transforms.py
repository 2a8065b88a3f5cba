# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Poses out of transforms: along any frames, at the time of what is oldest of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hpt_ros.embodiment import Embodiment, EmbodimentError, Stream
from hpt_ros.errors import Code
from hpt_ros.observation import InvalidSampleError, decode, measured_ns
from hpt_ros.observation.transforms import TransformChain

TF = "tf2_msgs/msg/TFMessage"


def stream(frame="base", child="tool0"):
    return Stream("tool", "state", "/tf", TF, 10.0, 0.1, frame=frame, child=child)


def matrix(seed):
    random = np.random.default_rng(seed)
    found = np.eye(4)
    found[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    found[:3, 3] = random.normal(size=3)
    return found


def link(parent, child, stamp_ns, transform):
    message = TransformStamped()
    message.header.frame_id, message.child_frame_id = parent, child
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    for key, value in zip("xyzw", Rotation.from_matrix(transform[:3, :3]).as_quat(), strict=True):
        setattr(message.transform.rotation, key, float(value))
    for key, value in zip("xyz", transform[:3, 3], strict=True):
        setattr(message.transform.translation, key, float(value))
    return message


def message(*links):
    return SimpleNamespace(transforms=list(links))


@given(st.integers(0, 10**6))
def test_a_pose_is_along_the_frames_whatever_lies_above_both(seed):
    base, first, second, tool = (matrix(seed + number) for number in range(4))
    chain = TransformChain(stream())
    assert chain.take(message(link("world", "base", 0, base))) is None
    assert chain.take(message(link("world", "l1", 5, first), link("l1", "l2", 5, second))) is None
    problem = chain.problem()
    assert problem is not None
    assert (problem.code, problem.value) == (Code.MISSING, "tool0")
    assert "has no frame 'tool0' among base, l1, l2, world" in str(problem)
    pose = chain.take(message(link("l2", "/tool0", 0, tool)))
    expected = np.linalg.inv(base) @ first @ second @ tool
    vector = decode(chain.stream, pose)
    np.testing.assert_allclose(vector, [*expected[:3, 3], *expected[:3, 0], *expected[:3, 1]], atol=1e-9)
    assert chain.problem() is None


def test_the_stamp_is_of_the_frame_that_was_not_seen_for_longest():
    chain = TransformChain(stream())
    one = np.eye(4)
    assert chain.take(message(link("l1", "tool0", 0, one))) is None  # static
    times = []
    for lower, upper in ((10, 10), (20, 15), (30, 25), (40, 25)):
        pose = chain.take(message(link("base", "l0", lower, one), link("l0", "l1", upper, one)))
        times.append(None if pose is None else measured_ns(chain.stream, pose, 99))
    assert times == [10, 15, 25, None]  # the last is no news
    back = chain.take(message(link("base", "l0", 10, one), link("l0", "l1", 10 - 2 * 10**9 + 10**9 * 2, one)))
    assert back is None
    late = 40 + 5 * 10**9
    assert chain.take(message(link("base", "l0", late, one), link("l0", "l1", late, one))) is not None
    # A clock that was set back by more than a second goes on from there.
    assert chain.take(message(link("base", "l0", 50, one), link("l0", "l1", 50, one))) is not None


def test_when_frames_go_round_or_a_quaternion_is_zero_expect_that_message_not_to_count():
    chain = TransformChain(stream())
    with pytest.raises(InvalidSampleError, match="round in a circle"):
        chain.take(message(link("b", "tool0", 1, np.eye(4)), link("tool0", "b", 1, np.eye(4))))
    chain = TransformChain(stream())
    empty = TransformStamped(child_frame_id="tool0")
    empty.header.frame_id, empty.transform.rotation.w = "base", 0.0
    with pytest.raises(InvalidSampleError, match="frame 'tool0' has a pose with the quaternion 0"):
        chain.take(message(empty))


TEXT = """
format: hpt_ros/embodiment/1
name: tiny
tick_hz: 10.0
streams:
  - {name: left, modality: state, topic: /tf, type: tf2_msgs/msg/TFMessage, rate_hz: 50.0, tolerance_s: 0.1,
     frame: base, child: left_tool}
  - {name: right, modality: state, topic: /tf, type: tf2_msgs/msg/TFMessage, rate_hz: 50.0, tolerance_s: 0.1,
     frame: base, child: right_tool}
action:
  horizon: 4
  outputs:
    - {name: tool, topic: /target, type: geometry_msgs/msg/PoseStamped, kind: cartesian_pose, frame_id: base,
       pose: left, unit: m, rotation_limit: {velocity: 1, acceleration: 1}}
  limits:
    - {name: tool.x, lower: 0, upper: 1, velocity: 1, acceleration: 1}
    - {name: tool.y, lower: 0, upper: 1, velocity: 1, acceleration: 1}
    - {name: tool.z, lower: 0, upper: 1, velocity: 1, acceleration: 1}
"""


def test_two_tools_of_one_topic_and_a_command_in_their_frame():
    robot = Embodiment.loads(TEXT)
    assert len(robot.state_names) == 18
    assert Embodiment.loads(robot.to_yaml()) == robot
    with pytest.raises(EmbodimentError, match="pose 'left' is in the frame 'base'; give both one frame"):
        Embodiment.loads(TEXT.replace("frame_id: base", "frame_id: map2"))
    with pytest.raises(EmbodimentError, match="needs the key 'child'"):
        Embodiment.loads(TEXT.replace(", child: left_tool", ""))
