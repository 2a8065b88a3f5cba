# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A first embodiment file says which joints turn without end, which are silent at rest, and what limits them."""

from __future__ import annotations

import numpy as np
import pytest
from support.tiny_robot import MS, START_NS

from hpt_ros.dataset import open_dataset
from hpt_ros.embodiment import Embodiment
from rosbag_tools.bootstrap.sensors import CHECK
from rosbag_tools.converting.convert import convert

from .commanded import ARM, FINGER, arm_at, grip_at
from .other_robots import first

URDF = """<robot name="r"><link name="base"/>
<joint name="shoulder" type="continuous"><limit effort="1" velocity="2.5"/></joint>
<joint name="elbow" type="revolute"><limit effort="1" lower="-2" upper="2" velocity="3"/></joint>
<joint name="wrist" type="revolute"><limit effort="1" lower="-0.1" upper="0.1" velocity="3"/></joint></robot>"""


def turning(others, robot_description=None, *, wrapped=True):
    """The arm's recording whose shoulder turns at 1.5 rad/s for 6 s, as a driver that wraps at pi reports it."""
    messages = others.record("trajectory")
    for topic, log_ns, message in messages:
        angle = 1.5 * (log_ns - START_NS) * 1e-9
        angle = float((angle + np.pi) % (2.0 * np.pi) - np.pi) if wrapped else 0.1 * angle
        if topic == "/joint_states" and message.name == list(ARM):
            message.position[0] = angle
        elif topic == "/arm_controller/joint_trajectory":
            message.points[0].positions[0] = angle
    if robot_description:
        messages.append(("/robot_description", START_NS + MS, others.string(robot_description)))
    return sorted(messages, key=lambda item: item[1])


def test_an_angle_that_passes_pi_is_a_continuous_joints(others, tmp_path):
    bag = others.write(tmp_path / "bag", turning(others))
    found = first(bag)
    robot = Embodiment.loads(found.text)
    shoulder, elbow, _ = robot.action.limits
    assert (shoulder.continuous, shoulder.lower) == (True, None)
    assert not elbow.continuous
    assert shoulder.velocity == pytest.approx(1.5, abs=0.05)  # not the jump at pi
    assert robot.streams[-1].continuous == ("shoulder",)
    assert "they turn without end?" in found.text
    convert([bag], tmp_path / "out", robot)
    assert open_dataset(tmp_path / "out").length > 50


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_urdf_in_the_bag_gives_limits_units_and_which_joints_turn_without_end(others, tmp_path, wrapped):
    found = first(others.write(tmp_path / "bag", turning(others, URDF, wrapped=wrapped)))
    robot = Embodiment.loads(found.text)
    shoulder, elbow, wrist = robot.action.limits
    assert (shoulder.continuous, shoulder.velocity) == (True, 2.5)
    assert (elbow.lower, elbow.upper, elbow.velocity) == (-2.0, 2.0, 3.0)
    (line,) = [line for line in found.text.splitlines() if 'name: "wrist"' in line]
    assert "beyond which the bag has" in line  # to 1.2 rad, of 0.1
    (unit,) = [line for line in found.text.splitlines() if line.startswith("  unit:")]
    assert CHECK not in unit
    assert (wrist.lower, wrist.upper) == (-0.1, 0.1)


def test_a_joint_that_a_urdf_bounds_is_not_continuous_whatever_it_does(others, tmp_path):
    bounded = URDF.replace('"continuous"><limit', '"revolute"><limit lower="-7" upper="7"')
    robot = Embodiment.loads(first(others.write(tmp_path / "bag", turning(others, bounded))).text)
    assert not robot.action.limits[0].continuous


def test_when_the_description_is_no_urdf_expect_it_left_out(others, tmp_path):
    found = first(others.write(tmp_path / "bag", turning(others, "robot.urdf")))
    assert any("'/robot_description': robot_description is no XML" in line for line in found.left_out)


def speaks_while_moving(others, *, with_arm):
    """The arm's recording, whose finger is published while it moves alone: half a second of every two."""
    messages = []
    for topic, log_ns, message in others.record("trajectory", "array"):
        at_s = (log_ns - START_NS) * 1e-9
        moving = at_s % 1.0 < 0.5
        if topic == "/joint_states" and message.name == [FINGER]:
            if not with_arm and moving:
                messages.append((topic, log_ns, message))
        elif topic == "/joint_states" and with_arm and moving:
            both = others.joint_state(
                log_ns - MS, [*ARM, FINGER], [*message.position, grip_at(max(at_s - 0.05, 0.0))]
            )
            messages.append((topic, log_ns, both))
        else:
            messages.append((topic, log_ns, message))
    return messages


@pytest.mark.parametrize("with_arm", [True, False])
def test_a_joint_that_is_silent_while_it_rests_holds(others, tmp_path, with_arm):
    bag = others.write(tmp_path / "bag", speaks_while_moving(others, with_arm=with_arm))
    found = first(bag)
    robot = Embodiment.loads(found.text)
    (stream,) = robot.state_streams
    assert set(stream.joints) == {*ARM, FINGER}
    assert stream.holds == (FINGER,)
    assert stream.partial
    assert stream.rate_hz == (50.0 if with_arm else pytest.approx(100.0, abs=30.0))
    assert f'holds: ["{FINGER}"]  # {CHECK}' in found.text
    convert([bag], tmp_path / "out", robot)
    assert open_dataset(tmp_path / "out").length > 50


def test_a_joint_that_some_messages_have_for_no_reason_is_left_out_and_named(others, tmp_path):
    messages = others.record("trajectory")
    for index, (topic, _, message) in enumerate(messages):
        if topic == "/joint_states":
            if message.name == [FINGER]:
                message.name, message.position = [*ARM], arm_at(index * 0.005)
            if index % 7 == 0:
                message.name, message.position = (
                    [*message.name, "lift"],
                    np.append(message.position, 0.1 * index),
                )
    found = first(others.write(tmp_path / "bag", messages))
    assert "lift" not in {name for stream in Embodiment.loads(found.text).streams for name in stream.joints}
    (line,) = [line for line in found.left_out if "joint lift" in line]
    assert "add it to the stream's joints, with partial: true" in line


def test_a_joint_that_stands_through_its_drivers_hiccup_does_not_hold(others, tmp_path):
    messages = [
        item
        for item in others.record("trajectory", "array")
        if not (item[0] == "/joint_states" and 2.0 < (item[1] - START_NS) * 1e-9 % 3.0 < 2.9)
    ]
    for topic, _, message in messages:
        if topic == "/joint_states" and message.name == list(ARM):
            message.position[2] = 0.3  # the wrist, while the other joints move
    (stream,) = Embodiment.loads(first(others.write(tmp_path / "bag", messages)).text).state_streams
    assert set(ARM).isdisjoint(stream.holds)


def test_a_hiccup_of_a_driver_while_the_robot_moves_is_no_rest(others, tmp_path):
    messages = [
        item
        for item in others.record("trajectory", "array")
        if not (item[0] == "/joint_states" and 2.0 < (item[1] - START_NS) * 1e-9 % 3.0 < 2.9)
    ]
    (stream,) = Embodiment.loads(first(others.write(tmp_path / "bag", messages)).text).state_streams
    assert set(ARM).isdisjoint(stream.holds)
