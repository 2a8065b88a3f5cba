# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Types of commands: what each sends is what it reads again, and what an embodiment file may not say of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.interfaces import provide
from support.refused import refused

from hpt_ros.control import Command
from hpt_ros.control.curve import Curve
from hpt_ros.embodiment import Embodiment, Output
from hpt_ros.embodiment.kinds import BASE_VELOCITY, CARTESIAN_TWIST, JOINT_POSITION, JOINT_VELOCITY, KINDS
from hpt_ros.embodiment.message_types import COMMANDS, MESSAGE_TYPES, Sending
from hpt_ros.embodiment.message_types.twist import ELSEWHERE
from hpt_ros.embodiment.output import Goals, Recorded, RotationLimit
from hpt_ros.embodiment.streams import EmbodimentError
from hpt_ros.errors import Code
from hpt_ros.nodes.common.interfaces import interface
from hpt_ros.observation import DecodeError, InvalidSampleError
from hpt_ros.observation.decode_commands import decode_command
from hpt_ros.resources import config_file

provide()
NOW_NS, PERIOD_NS = 10**18, 10_000_000
NUMBERS = st.floats(-100.0, 100.0)
JOINTS = ("b", "a", "c")


def command(position: Any, velocity: Any, before: Any = None) -> Command:
    """Due in 30 ms; the curve has the position there, and `before` in the period before that."""
    position = np.asarray(position, dtype=np.float64)
    before = position if before is None else np.asarray(before, dtype=np.float64)
    rows = np.array([before] * 4 + [position] * 4)
    curve = Curve(NOW_NS + 3 * PERIOD_NS - 5 * PERIOD_NS, PERIOD_NS, rows)
    return Command(NOW_NS + 3 * PERIOD_NS, position, np.asarray(velocity, dtype=np.float64), curve, NOW_NS)


def again(output: Output, told: Command) -> np.ndarray:
    """What a recording of the message, or of what a goal is recorded as, says."""
    recorded = output.recorded_as
    message = COMMANDS[recorded.type].encode(told, output, Sending(interface, NOW_NS))
    return decode_command(output, message, NOW_NS)[1]


@given(arrays(np.float64, 3, elements=NUMBERS), arrays(np.float64, 3, elements=NUMBERS))
@pytest.mark.parametrize("type_", [name for name in COMMANDS if JOINT_POSITION in COMMANDS[name].kinds])
def test_joint_positions_come_back_as_they_were_sent(type_: str, position: Any, velocity: Any) -> None:
    names = JOINTS if type_ not in ("std_msgs/msg/Float64", "control_msgs/action/GripperCommand") else ("a",)
    output = Output("arm", "/arm", type_, names=names)
    found = again(output, command(position[: len(names)], velocity[: len(names)]))
    np.testing.assert_allclose(found, position[: len(names)], atol=1e-9)


@given(arrays(np.float64, 3, elements=NUMBERS))
@pytest.mark.parametrize("type_", ["geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped"])
def test_velocities_of_a_base_come_back_as_they_were_sent(type_: str, velocity: Any) -> None:
    output = Output("base", "/cmd_vel", type_, BASE_VELOCITY, names=("wz", "vx", "vy"))
    assert again(output, command(velocity, np.zeros(3))).tolist() == velocity.tolist()
    narrow = Output("base", "/cmd_vel", type_, BASE_VELOCITY, names=("vx", "wz"))
    message = COMMANDS[type_].encode(command(velocity, np.zeros(3)), output, Sending(interface, NOW_NS))
    if abs(velocity[2]) > ELSEWHERE:
        with refused(
            DecodeError,
            Code.INVALID,
            subject="the command 'base' (topic /cmd_vel)",
            problem="along vy, but the command 'base' has the axes vx, wz",
        ):
            decode_command(narrow, message, NOW_NS)
    else:
        assert decode_command(narrow, message, NOW_NS)[1].tolist() == velocity[[1, 0]].tolist()


@given(arrays(np.float64, 3, elements=NUMBERS))
def test_jogged_velocities_come_back_as_they_were_sent(velocity: Any) -> None:
    output = Output("arm", "/jog", "control_msgs/msg/JointJog", JOINT_VELOCITY, names=JOINTS)
    assert again(output, command(np.zeros(3), velocity)).tolist() == velocity.tolist()


@given(arrays(np.float64, 3, elements=NUMBERS), arrays(np.float64, 3, elements=NUMBERS))
def test_displacements_come_back_as_the_velocity_that_they_are(before: Any, after: Any) -> None:
    output = Output(
        "arm", "/jog", "control_msgs/msg/JointJog", JOINT_VELOCITY, names=JOINTS, jog="displacements"
    )
    told = command(after, np.zeros(3), before)
    way = told.position - told.curve.at(told.time_ns - PERIOD_NS).position
    np.testing.assert_allclose(again(output, told), way / (PERIOD_NS / 1e9), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("form", "fields", "error", "words"),
    [
        (
            "velocities",
            {"displacements": [1.0]},
            DecodeError,
            "1 displacements and no velocities.*write jog: disp",
        ),
        ("displacements", {"velocities": [1.0]}, DecodeError, "1 velocities and no displacements"),
        (
            "displacements",
            {"displacements": [1.0]},
            InvalidSampleError,
            "within 0 s, expected a duration above 0 s",
        ),
        ("velocities", {"velocities": [float("nan")]}, InvalidSampleError, "value nan for 'a'"),
        ("velocities", {"velocities": [1.0, 2.0]}, DecodeError, "2 velocities for 1 joints"),
    ],
)
def test_when_a_jog_does_not_fit_expect_a_sentence(form: str, fields: Any, error: Any, words: str) -> None:
    output = Output("arm", "/jog", "control_msgs/msg/JointJog", JOINT_VELOCITY, names=("a",), jog=form)
    message = interface("control_msgs/msg/JointJog")(joint_names=["a"], **fields)
    with pytest.raises(error, match=words):
        decode_command(output, message, NOW_NS)


def test_a_goal_has_where_it_ends_in_the_drivers_unit_and_is_recorded_elsewhere() -> None:
    output = Output(
        "hand",
        "/hand/cmd",
        "control_msgs/action/GripperCommand",
        names=("a",),
        goal=Goals(max_effort=5.0, scale=2.0),
    )
    goal = COMMANDS[output.type].encode(command([0.02], [0.0]), output, Sending(interface, NOW_NS))
    assert (goal.command.position, goal.command.max_effort) == (0.04, 5.0)
    assert output.recorded_as == Recorded("/hand/cmd/target")
    assert Output("x", "/x", "std_msgs/msg/Float64", names=("a",)).recorded_as.topic == "/x"


def test_every_type_has_a_kind_a_controller_and_a_decoder_unless_it_is_an_action() -> None:
    for name, entry in COMMANDS.items():
        assert name == MESSAGE_TYPES[name].name
        assert set(entry.kinds) <= set(KINDS)
        assert entry.kinds
        assert entry.controllers
        assert (entry.decode is None) == MESSAGE_TYPES[name].is_action
        assert interface(name)


BASE, HAND = (
    config_file(f"embodiments/{name}.yaml").read_text() for name in ("diff_drive", "franka_gripper")
)


@pytest.mark.parametrize(
    ("text", "before", "after", "words"),
    [
        (BASE, "[vx, wz]", "[vx, vq]", "axis is 'vq', expected each of vx, vy, vz, wx, wy, wz once at most"),
        (BASE, "velocity: 1.5, ", "", "limit of 'base.wz' lacks the key 'velocity'"),
        (BASE, "lower: -0.2", "lower: 0.2", "a base must be able to stand"),
        (BASE, "      names: [vx, wz]", "      pose: odometry\n      names: [vx, wz]", "takes no key 'pose'"),
        (BASE, "      unit: m/s", "      jog: velocities", "takes no key 'jog'"),
        (BASE, "TwistStamped", "PoseStamped", "kind base_velocity and type geometry_msgs/msg/PoseStamped"),
        (
            BASE,
            "\n    fields: [twist]",
            "\n    fields: [effort]",
            "field is 'effort', expected each of pose, twist once",
        ),
        (
            HAND,
            "grippers: [fr3_finger_joint1]",
            "grippers: []",
            "which moves grippers, but grippers lists none",
        ),
        (HAND, "\n      goal: {", "\n      jog: velocities\n      goal: {", "takes no key 'jog'"),
        (
            HAND,
            "\n      goal: {",
            "\n      recorded: {topic: x, type: geometry_msgs/msg/Twist}\n      goal: {",
            "is recorded as",
        ),
        (
            HAND,
            "names: [fr3_finger_joint1]\n      unit",
            "names: [fr3_finger_joint1, x]\n      unit",
            "has 2 names, expected one",
        ),
    ],
)
def test_when_a_file_contradicts_itself_expect_a_sentence(
    text: str, before: str, after: str, words: str
) -> None:
    assert before in text
    with pytest.raises(EmbodimentError, match=words):
        Embodiment.loads(text.replace(before, after))


def test_spaces_of_a_base_and_of_jogged_joints() -> None:
    base = Embodiment.loads(BASE)
    state = np.array([0.3, 0.0, 0.0, 0.0, 0.0, 0.1])
    chunk = np.array([[0.2, 0.5]] * 16)
    assert base.space.names == ("base.vx", "base.wz")
    assert base.space.rates == (0, 1)
    assert base.space.to_control(chunk, state).tolist() == chunk.tolist()
    assert base.space.states.control(state).tolist() == base.space.states.action(state).tolist() == [0.0, 0.0]
    assert base.space.speeds(chunk).max() == pytest.approx(0.4)
    assert Embodiment.loads(base.to_yaml()) == base
    with refused(
        EmbodimentError,
        Code.UNSUPPORTED,
        subject="embodiment 'diff_drive'",
        problem="commands velocities on",
        remedy="commands",
    ):
        base.space.states.require_positions()
    with refused(
        EmbodimentError, Code.INVALID, subject="embodiment 'diff_drive'", problem="commands base_velocity on"
    ):
        base.space.states.joint_indices()


def test_a_cartesian_twist_takes_no_axes() -> None:
    turn = RotationLimit(1.0, 1.0)
    output = Output(
        "t", "/t", "geometry_msgs/msg/TwistStamped", CARTESIAN_TWIST, frame_id="base", rotation_limit=turn
    )
    assert len(output.elements) == 6
    assert output.joints == ()
