# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Commands of every type that a robot may be commanded in, as a teleoperator's bag has them and as we send them."""

from __future__ import annotations

from typing import Any

import geometry_msgs.msg
import numpy as np
import pytest
import sensor_msgs.msg
import std_msgs.msg
from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from hpt_ros.embodiment import Output
from hpt_ros.embodiment.kinds import CARTESIAN_POSE, CARTESIAN_TWIST
from hpt_ros.embodiment.output import RotationLimit
from hpt_ros.observation import DecodeError, InvalidSampleError
from hpt_ros.observation.decode_commands import decode_command

ARRIVAL_NS = 7_000_000_000
STAMP_NS = 5_000_000_250
TURN = RotationLimit(1.0, 1.0)
NUMBERS = st.floats(-1e6, 1e6)


def joints(type_: str, *names: str) -> Output:
    return Output("arm", "/arm", type_, names=names)


def hand(type_: str, kind: str) -> Output:
    return Output("hand", "/hand", type_, kind, frame_id="base", pose="tcp", rotation_limit=TURN)


STATE = joints("sensor_msgs/msg/JointState", "a", "b")
ARRAY = joints("std_msgs/msg/Float64MultiArray", "a", "b")
NUMBER = joints("std_msgs/msg/Float64", "a")
POSE = hand("geometry_msgs/msg/PoseStamped", CARTESIAN_POSE)
TWIST = hand("geometry_msgs/msg/TwistStamped", CARTESIAN_TWIST)


def stamped(message: Any, frame: str = "base", stamp_ns: int = STAMP_NS) -> Any:
    message.header.stamp = Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    message.header.frame_id = frame
    return message


def pose(position: Any, quaternion: Any, **keys: Any) -> Any:
    message = geometry_msgs.msg.PoseStamped()
    p, q = message.pose.position, message.pose.orientation
    p.x, p.y, p.z = (float(value) for value in position)
    q.x, q.y, q.z, q.w = (float(value) for value in quaternion)
    return stamped(message, **keys)


def twist(values: Any, **keys: Any) -> Any:
    message = geometry_msgs.msg.TwistStamped()
    for part, three in ((message.twist.linear, values[:3]), (message.twist.angular, values[3:])):
        part.x, part.y, part.z = (float(value) for value in three)
    return stamped(message, **keys)


@pytest.mark.parametrize(
    "names", [["b", "c", "a"], ["a", "b"]], ids=["another order and a joint of others", "the file's order"]
)
def test_a_joint_state_is_in_the_outputs_order_at_its_stamp(names: list[str]) -> None:
    values = {"a": 1.5, "b": -2.5, "c": float("nan")}
    message = stamped(sensor_msgs.msg.JointState(name=names, position=[values[name] for name in names]))
    time_ns, found = decode_command(STATE, message, ARRIVAL_NS)
    assert time_ns == STAMP_NS
    np.testing.assert_array_equal(found, [1.5, -2.5])
    assert decode_command(STATE, stamped(message, stamp_ns=0), ARRIVAL_NS)[0] == ARRIVAL_NS


@given(arrays(np.float64, 2, elements=NUMBERS), st.integers(0, 3))
def test_an_array_is_taken_behind_its_offset_at_its_arrival(values: Any, offset: int) -> None:
    message = std_msgs.msg.Float64MultiArray(data=[9.0] * offset + values.tolist())
    message.layout.data_offset = offset
    time_ns, found = decode_command(ARRAY, message, ARRIVAL_NS)
    assert time_ns == ARRIVAL_NS
    np.testing.assert_array_equal(found, values)


def test_a_number_is_one_joint_at_its_arrival() -> None:
    time_ns, found = decode_command(NUMBER, std_msgs.msg.Float64(data=0.25), ARRIVAL_NS)
    assert (time_ns, found.tolist()) == (ARRIVAL_NS, [0.25])


@given(
    arrays(np.float64, 3, elements=NUMBERS),
    arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda q: np.linalg.norm(q) > 1e-3),
)
def test_a_pose_is_its_position_and_two_columns_of_its_rotation(position: Any, quaternion: Any) -> None:
    time_ns, found = decode_command(POSE, pose(position, quaternion), ARRIVAL_NS)
    matrix = Rotation.from_quat(quaternion).as_matrix()
    assert time_ns == STAMP_NS
    np.testing.assert_allclose(found, np.concatenate([position, matrix[:, 0], matrix[:, 1]]), atol=1e-12)


@given(arrays(np.float64, 6, elements=NUMBERS))
def test_a_twist_is_linear_then_angular(values: Any) -> None:
    time_ns, found = decode_command(TWIST, twist(values, frame="/base"), ARRIVAL_NS)
    assert time_ns == STAMP_NS
    np.testing.assert_array_equal(found, values)


UPRIGHT = (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("output", "message", "error", "words"),
    [
        (STATE, sensor_msgs.msg.JointState(name=["a"], position=[1.0]), DecodeError, "the command 'arm'.*'b'"),
        (
            STATE, sensor_msgs.msg.JointState(name=["a", "b"], position=[1.0]), DecodeError,
            "1 positions for 2 joints",
        ),
        (
            STATE, sensor_msgs.msg.JointState(name=["a", "b"], position=[1.0, float("nan")]), InvalidSampleError,
            "value nan for 'b', expected a finite number",
        ),
        (ARRAY, std_msgs.msg.Float64MultiArray(data=[1.0]), DecodeError, "1 values, expected one for each of a, b"),
        (ARRAY, std_msgs.msg.Float64MultiArray(data=[1.0, float("inf")]), InvalidSampleError, "inf"),
        (NUMBER, std_msgs.msg.Float64(data=float("nan")), InvalidSampleError, "nan"),
        (POSE, pose((0, 0, 0), UPRIGHT, frame="map"), DecodeError, "frame_id is 'map', but .* 'hand' is in 'base'"),
        (POSE, pose((0, 0, 0), (0, 0, 0, 0)), InvalidSampleError, "quaternion"),
        (POSE, pose((0, float("nan"), 0), UPRIGHT), InvalidSampleError, "nan"),
        (TWIST, twist((0,) * 6, frame="tool"), DecodeError, "frame_id is 'tool', but the command 'hand' is in 'base'"),
        (TWIST, twist((0, 0, 0, 0, float("inf"), 0)), InvalidSampleError, "inf"),
    ],
)  # fmt: skip
def test_when_a_command_does_not_fit_expect_a_sentence(
    output: Any, message: Any, error: Any, words: str
) -> None:
    with pytest.raises(error, match=words):
        decode_command(output, message, ARRIVAL_NS)
