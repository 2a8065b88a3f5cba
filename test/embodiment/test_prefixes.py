# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Two arms whose joints have equal names: a prefix tells them apart, in files and data, and never in messages."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from support.interfaces import provide

from hpt_ros.control import Command
from hpt_ros.control.curve import Curve
from hpt_ros.embodiment import Embodiment, EmbodimentError
from hpt_ros.embodiment.deployment import Deployment
from hpt_ros.embodiment.message_types import COMMANDS, Sending
from hpt_ros.nodes.common.interfaces import interface
from hpt_ros.observation import decode, decode_command

provide()
HAND = (
    "name: hand, modality: wrench, topic: /w, type: geometry_msgs/msg/WrenchStamped, rate_hz: 50.0, tolerance_s: 0.1, "
    "prefix: left/"
)
ARM = ("waist", "elbow", "gripper")
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"


def stream(side: str, prefix: str, more: str = "") -> str:
    return (
        f"  - {{name: {side}_joints, modality: state, topic: /puppet_{side}/joint_states, rate_hz: 50.0, "
        f"type: sensor_msgs/msg/JointState, tolerance_s: 0.1, prefix: {prefix}, joints: [{', '.join(ARM)}], "
        f"fields: [position]{more}}}\n"
    )


def output(side: str, prefix: str, type_: str = TRAJECTORY) -> str:
    return (
        f"    - {{name: {side}, topic: /puppet_{side}/commands, type: {type_}, prefix: {prefix}, "
        f"names: [{', '.join(ARM)}]}}\n"
    )


def limit(name: str) -> str:
    return f"    - {{name: {name}, lower: -2.0, upper: 2.0, velocity: 5.0, acceleration: 50.0}}\n"


def text(left: str = "left/", right: str = "right/", type_: str = TRAJECTORY, more: str = "") -> str:
    limits = "".join(limit(f"{prefix}{name}") for prefix in (left, right) for name in ARM)
    return (
        "format: hpt_ros/embodiment/1\nname: two_arms\ntask: fold the shirt\ntick_hz: 10.0\nstreams:\n"
        + stream("left", left, more)
        + stream("right", right)
        + f"action:\n  horizon: 4\n  rate_hz: 50.0\n  grippers: [{left}gripper, {right}gripper]\n  outputs:\n"
        + output("left", left, type_)
        + output("right", right, type_)
        + "  limits:\n"
        + limits
    )


def measured(values: tuple[float, ...]) -> SimpleNamespace:
    return SimpleNamespace(name=list(ARM), position=np.array(values), velocity=(), effort=())


def test_names_have_the_prefix_and_messages_do_not() -> None:
    robot = Embodiment.loads(text())
    assert robot.state_names[::3] == ("left/waist.position", "right/waist.position")
    assert robot.action.names == tuple(f"{side}/{name}" for side in ("left", "right") for name in ARM)
    assert robot.space.states.joint_indices().tolist() == list(range(6))
    for part in robot.action.parts:
        assert part.message_names == ARM
    values = [
        decode(item, measured(value))
        for item, value in zip(robot.streams, ((1, 2, 3), (4, 5, 6)), strict=True)
    ]
    np.testing.assert_array_equal(np.concatenate(values), [1, 2, 3, 4, 5, 6])


def test_messages_that_hold_some_joints_only_are_told_by_their_own_names() -> None:
    robot = Embodiment.loads(text(more=", partial: true, holds: [gripper], continuous: []"))
    left = robot.streams[0]
    assert left.holds == ("left/gripper",)
    message = SimpleNamespace(name=["gripper"], position=np.array([0.5]), velocity=(), effort=())
    np.testing.assert_array_equal(decode(left, message), [np.nan, np.nan, 0.5])


def test_the_text_says_the_same_and_may_give_names_with_their_prefix() -> None:
    robot = Embodiment.loads(text())
    assert Embodiment.loads(robot.to_yaml()) == robot
    assert robot.to_yaml().count("prefix: left/") == 2
    full = re.sub(
        r"(prefix: (\w+/), (?:joints|names): )\[waist, elbow, gripper\]",
        r"\1[\2waist, \2elbow, \2gripper]",
        text(),
    )
    assert full != text()
    assert Embodiment.loads(full) == robot
    plain = Embodiment.loads(text().replace("prefix: left/, ", "").replace("left/", ""))
    assert plain.to_yaml().count("prefix:") == 2


@pytest.mark.parametrize(
    "type_",
    [
        TRAJECTORY, "sensor_msgs/msg/JointState", "std_msgs/msg/Float64MultiArray",
        "control_msgs/action/FollowJointTrajectory",
    ],
)  # fmt: skip
def test_commands_are_sent_and_read_by_the_names_of_messages(type_: str) -> None:
    part = Embodiment.loads(text(type_=type_)).action.parts[1]
    position = np.array([0.1, 0.2, 0.3])
    told = Command(10**18, position, np.zeros(3), Curve(10**18, 10**7, np.array([position] * 8)), 10**18)
    sent = COMMANDS[type_].encode(told, part, Sending(interface, 10**18))
    assert "right/" not in str(sent)
    recorded = COMMANDS[part.recorded_as.type].encode(told, part, Sending(interface, 10**18))
    np.testing.assert_allclose(decode_command(part, recorded, 10**18)[1], position)


def test_a_cell_renames_what_messages_call_the_joints() -> None:
    robot = Embodiment.loads(text())
    cell = Deployment.loads("format: hpt_ros/deployment/1\njoints: {left/waist: hip}\n")
    found = cell.over(robot, where="the cell")
    assert found.action.parts[0].message_names == ("hip", "elbow", "gripper")
    assert found.action.names[0] == "left/hip"
    assert found.streams[0].message_joints == ("hip", "elbow", "gripper")
    assert found.streams[1] == robot.streams[1]
    both = Deployment.loads("format: hpt_ros/deployment/1\njoint_prefix: ns_\n").over(robot, where="the cell")
    assert both.streams[1].message_joints == ("ns_waist", "ns_elbow", "ns_gripper")
    assert both.action.names[3] == "right/ns_waist"


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (text(left="a b"), "stream 'left_joints', prefix is 'a b', expected letters"),
        (text(right="left/"), "state element 'left/waist.position' twice"),
        (text().replace("prefix: left/, joints", "prefix: other/, joints"), "left/waist"),
        (
            text().replace("streams:\n", f"streams:\n  - {{{HAND}}}\n"),
            "stream 'hand', prefix is 'left/', expected none without joints",
        ),
    ],
)  # fmt: skip
def test_when_a_prefix_cannot_be_expect_a_sentence(broken: str, words: str) -> None:
    with pytest.raises(EmbodimentError, match=re.escape(words)):
        _ = Embodiment.loads(broken).space.states.joint_indices()
