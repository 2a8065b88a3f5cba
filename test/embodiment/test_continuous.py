# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Joints that turn without end: in the file, in the state vector, in actions and their modes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.refused import refused

from hpt_ros.angles import shortest
from hpt_ros.embodiment import Deployment, Embodiment, EmbodimentError, require_deployable
from hpt_ros.errors import Code

TEXT = """
format: hpt_ros/embodiment/1
name: spinner
tick_hz: 10.0
streams:
  - {name: joints, modality: state, topic: /joint_states, type: sensor_msgs/msg/JointState, rate_hz: 100.0,
     tolerance_s: 0.1, joints: [finger, spin, lift], fields: [velocity, position]}
action:
  rate_hz: 100.0
  horizon: 5
  mode: MODE
  grippers: [finger]
  outputs:
    - {name: arm, topic: /arm, type: trajectory_msgs/msg/JointTrajectory, names: [lift, spin]}
    - {name: gripper, topic: /gripper, type: std_msgs/msg/Float64, names: [finger], unit: m}
  limits:
    - {name: lift, lower: -1, upper: 1, velocity: 2, acceleration: 10, jerk: 500}
    - {name: spin, continuous: true, velocity: 2, acceleration: 10}
    - {name: finger, lower: 0, upper: 0.1, velocity: 0.2, acceleration: 1}
"""
MODES = ("absolute", "delta", "relative")
SPIN = 1  # in the action


def robot_of(mode: str = "absolute") -> Embodiment:
    return Embodiment.loads(TEXT.replace("MODE", mode))


def state_of(finger: float, spin: float, lift: float) -> np.ndarray:
    return np.array([0.0, 0.0, 0.0, finger, np.cos(spin), np.sin(spin), lift])


def test_when_a_joint_is_continuous_expect_cosine_and_sine_in_the_state_and_one_angle_in_the_action() -> None:
    robot = robot_of()
    assert robot.state_names[3:] == (
        "finger.position",
        "spin.position.cos",
        "spin.position.sin",
        "lift.position",
    )
    assert robot.action.names == ("lift", "spin", "finger")
    np.testing.assert_allclose(robot.space.states.control(state_of(0.05, 3.0, 0.5)), [0.5, 3.0, 0.05])
    np.testing.assert_array_equal(robot.space.limits.lower, [-1.0, -np.inf, 0.0])
    np.testing.assert_array_equal(robot.space.limits.upper, [1.0, np.inf, 0.1])
    assert robot.space.limits.jerk is not None
    np.testing.assert_array_equal(robot.space.limits.jerk, [500.0, np.inf, np.inf])
    np.testing.assert_allclose((robot.lower[SPIN], robot.upper[SPIN]), (-np.pi, np.pi))


def test_when_the_file_says_it_of_the_stream_or_of_the_limit_expect_the_same_robot() -> None:
    robot = robot_of()
    data: dict[str, Any] = yaml.safe_load(TEXT)
    data["action"]["mode"] = "absolute"
    del data["action"]["limits"][1]["continuous"]
    data["streams"][0]["continuous"] = ["spin"]
    assert Embodiment.loads(yaml.safe_dump(data)) == robot
    assert Embodiment.loads(robot.to_yaml()) == robot
    assert "continuous: true" in robot.to_yaml()


def test_when_no_joint_is_continuous_expect_nothing_new_in_the_text() -> None:
    text = Embodiment.load("feed_dog").to_yaml()
    assert not any(word in text for word in ("continuous", "holds", "jerk"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "spin", "lower": -3.0}, "'spin' is continuous and has a lower or an upper limit"),
        ({"name": "finger", "continuous": True}, "'finger' is continuous and a gripper"),
    ],
)
def test_when_a_joint_cannot_be_continuous_expect_a_sentence(change: dict[str, Any], words: str) -> None:
    data: dict[str, Any] = yaml.safe_load(TEXT.replace("MODE", "absolute"))
    next(limit for limit in data["action"]["limits"] if limit["name"] == change["name"]).update(change)
    with pytest.raises(EmbodimentError, match=words):
        Embodiment.loads(yaml.safe_dump(data))


def test_when_a_stream_names_a_continuous_joint_that_it_has_not_expect_a_sentence() -> None:
    data: dict[str, Any] = yaml.safe_load(TEXT.replace("MODE", "absolute"))
    data["streams"][0]["continuous"] = ["elbow"]
    with refused(
        EmbodimentError,
        Code.INVALID,
        subject="embodiment text, stream 'joints', continuous joint",
        value="elbow",
        expected="one of its joints",
    ):
        Embodiment.loads(yaml.safe_dump(data))
    data["streams"][0] |= {"continuous": [], "fields": ["velocity"]}
    with pytest.raises(EmbodimentError, match="no stream has its position"):
        Embodiment.loads(yaml.safe_dump(data)).space.states.require()


def test_when_a_cell_renames_joints_and_says_which_hold_expect_the_names_of_the_cell_everywhere() -> None:
    text = (
        "{format: hpt_ros/deployment/1, joint_prefix: left_, streams: {joints: {partial: true, holds: [finger]}}, "
        "limits: {spin: {jerk: 900}}}"
    )
    cell = Deployment.loads(text).over(robot_of())
    assert (cell.streams[0].continuous, cell.streams[0].holds) == (("left_spin",), ("left_finger",))
    assert cell.action.limits[SPIN].jerk == 900.0
    assert require_deployable(robot_of(), cell, a_name="a", b_name="b") == cell


@given(
    arrays(np.float64, (2, 5), elements=st.floats(-3.0, 3.0)),
    st.floats(-3.1, 3.1),
    arrays(np.int64, (2, 5), elements=st.integers(-2, 2)),
    st.sampled_from(MODES),
)
def test_when_a_chunk_crosses_the_seam_expect_the_way_that_is_gone_and_back_again(
    steps, spin, turns, mode
) -> None:
    """However many turns the data lost, a policy learns the way from the measured pose, and no 2 pi in it."""
    space = robot_of(mode).space
    way = np.cumsum(steps, axis=1)
    actions = np.zeros((2, 5, 3))
    actions[..., SPIN] = spin + way + 2.0 * np.pi * turns
    state = np.stack([state_of(0.05, spin, 0.5)] * 2)
    learnt = space.to_mode(actions, state)
    np.testing.assert_allclose(learnt[..., SPIN], steps if mode == "delta" else way, atol=1e-9)
    back = space.from_mode(learnt, state)
    np.testing.assert_allclose(back[..., SPIN], spin + way, atol=1e-9)
    np.testing.assert_allclose(back[..., [0, 2]], actions[..., [0, 2]], atol=1e-9)


@given(arrays(np.float64, 6, elements=st.floats(-3.0, 3.0)), st.floats(-3.0, 3.0))
def test_when_speeds_are_judged_expect_the_short_way_round(steps, spin) -> None:
    space = robot_of().space
    actions = np.zeros((6, 3))
    actions[:, SPIN] = shortest(spin + np.cumsum(steps))
    np.testing.assert_allclose(space.speeds(actions), np.abs(steps[1:]) * 10.0 / 2.0, atol=1e-9)
    np.testing.assert_allclose(np.diff(space.count_turns(actions)[:, SPIN]), steps[1:], atol=1e-9)
