# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Joint states and commands become vectors in the embodiment's order, or are refused with what is wrong."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.embodiments import embodiment, joints, limit, trajectory
from support.refused import refused

from hpt_ros.embodiment.message_types import MESSAGE_TYPES
from hpt_ros.errors import Code
from hpt_ros.observation import DecodeError, InvalidSampleError, decode, decode_command, stamp_ns

ARM = embodiment("arm", [joints("ab", fields=["position", "velocity"])], trajectory([limit("a")])).streams[0]


@given(st.permutations(["a", "b", "gripper"]))
def test_joint_order_of_the_message_does_not_matter(names):
    index = {"a": 1.0, "b": 2.0, "gripper": 3.0}
    message = SimpleNamespace(
        name=names,
        position=[index[name] for name in names],
        velocity=[-index[name] for name in names],
        effort=[],
    )
    np.testing.assert_array_equal(decode(ARM, message), [1.0, 2.0, -1.0, -2.0])


def test_when_a_joint_is_missing_expect_it_and_those_present_named(robot, messages):
    with refused(
        DecodeError,
        Code.UNKNOWN,
        subject="stream 'joints' (topic /joint_states)",
        value="b",
        problem="the message has a, c, d",
    ):
        decode(robot.stream("joints"), messages.joints(("a", "c", "d"), (0, 0, 0), (0, 0, 0)))


@pytest.mark.parametrize("second", [0.5, 0.0])
def test_when_a_joint_comes_twice_expect_it_refused_unless_both_say_the_same(robot, messages, second):
    names = tuple(robot.stream("joints").joints)
    values = (0.0,) * len(names)
    message = messages.joints((*names, names[0]), (*values, second), (*values, 0.0))
    if second == 0.0:
        decode(robot.stream("joints"), message)
        return
    with pytest.raises(InvalidSampleError, match=f"has '{names[0]}' twice, with the position 0 and 0.5"):
        decode(robot.stream("joints"), message)


def test_when_a_field_is_not_filled_expect_it_named(robot, messages):
    with refused(
        DecodeError,
        Code.WRONG_SHAPE,
        subject="stream 'joints' (topic /joint_states)",
        value=0,
        problem="values of 'velocity' for 2 joints",
        remedy="velocity",
    ):
        decode(robot.stream("joints"), messages.joints(velocity=()))


@pytest.mark.parametrize(
    "bad", [float("nan"), float("inf"), float("-inf"), 3e39, -1e308]
)  # two overflow float32
def test_when_a_value_is_not_finite_expect_invalid_sample(robot, messages, bad):
    with refused(
        InvalidSampleError,
        Code.NOT_FINITE,
        subject="stream 'joints' (topic /joint_states)",
        value="b.velocity",
    ):
        decode(robot.stream("joints"), messages.joints(velocity=(0.0, bad)))
    with refused(
        InvalidSampleError,
        Code.NOT_FINITE,
        subject="the action (topic /command)",
        value="a",
        expected="a finite number",
    ):
        decode_command(robot.action.parts[0], messages.command(positions=(bad, 0.0)), 0)


def test_other_joints_may_hold_nonsense(robot, messages):
    nan = float("nan")
    message = messages.joints(("x", "b", "a"), (nan, 2, 1), (nan, 4, 3))
    np.testing.assert_array_equal(decode(robot.stream("joints"), message), [1, 2, 3, 4])


def test_command_is_in_the_actions_order_at_its_own_time(robot, messages):
    message = messages.command(positions=(0.5, -0.25), stamp_ns=3_000_000_000, from_start_ns=20_000_000)
    time_ns, vector = decode_command(robot.action.parts[0], message, 99)
    assert time_ns == 3_020_000_000
    np.testing.assert_array_equal(vector, [-0.25, 0.5])  # names: [b, a]


def test_when_the_stamp_is_zero_expect_the_arrival(robot, messages):
    assert stamp_ns(messages.joints(), 77) == 77
    assert decode_command(robot.action.parts[0], messages.command(from_start_ns=3), 77)[0] == 80


def test_when_a_trajectory_has_no_points_expect_it_not_to_count(robot, messages):
    with refused(
        InvalidSampleError,
        Code.EMPTY,
        subject="the action (topic /command)",
        problem="has a message that commands nothing",
    ):
        decode_command(robot.action.parts[0], messages.command(points=0), 0)


def test_when_a_joint_state_is_empty_expect_it_not_to_count(robot, messages):
    empty = messages.joints((), (), ())
    with refused(
        InvalidSampleError,
        Code.EMPTY,
        subject="stream 'joints' (topic /joint_states)",
        problem="a message without joints, which does not count",
    ):
        decode(robot.stream("joints"), empty)
    nameless = messages.joints((), (1.0, 2.0), (0.0, 0.0))
    with refused(
        DecodeError,
        Code.UNKNOWN,
        subject="stream 'joints' (topic /joint_states)",
        value="a",
        problem="lacks the joint",
    ) as caught:  # which no later message will mend
        decode(robot.stream("joints"), nameless)
    assert type(caught.value) is DecodeError


@pytest.mark.parametrize(
    ("type_", "fields", "empty"),
    [
        ("trajectory_msgs/msg/JointTrajectory", {"joint_names": [], "points": []}, True),
        ("trajectory_msgs/msg/JointTrajectory", {"joint_names": ["a"], "points": []}, True),
        ("trajectory_msgs/msg/JointTrajectory", {"joint_names": ["a"], "points": [1]}, False),
        ("sensor_msgs/msg/JointState", {"name": [], "position": [], "velocity": [], "effort": []}, True),
        ("sensor_msgs/msg/JointState", {"name": ["a"], "position": [], "velocity": [], "effort": []}, False),
        ("sensor_msgs/msg/JointState", {"name": [], "position": [1.0], "velocity": [], "effort": []}, False),
        ("control_msgs/msg/JointJog", {"joint_names": [], "displacements": [], "velocities": []}, True),
        (
            "control_msgs/msg/JointJog",
            {"joint_names": ["a"], "displacements": [], "velocities": [0.0]},
            False,
        ),
        ("std_msgs/msg/Float32MultiArray", {"data": []}, True),
        ("std_msgs/msg/Float64MultiArray", {"data": []}, True),
        ("std_msgs/msg/Float64MultiArray", {"data": [0.0]}, False),
        ("std_msgs/msg/String", {"data": ""}, False),
        ("geometry_msgs/msg/PoseStamped", {"header": None}, False),
    ],
)
def test_whether_a_message_is_empty(type_, fields, empty):
    assert MESSAGE_TYPES[type_].empty(SimpleNamespace(**fields)) == empty


def test_when_a_trajectory_has_several_points_expect_its_place_on_arrival(robot, messages):
    message = messages.command(points=2)
    message.header.stamp.sec, start_ns = 3, 3 * 10**9
    first = message.points[0]
    last = copy.deepcopy(first)
    message.points = [first, last]
    for point, at_ns, value in ((first, 10_000_000, 0.2), (last, 30_000_000, 0.4)):
        point.time_from_start.sec, point.time_from_start.nanosec = 0, at_ns
        point.positions = np.full(2, value)
    for arrival_ms, time_ms, place in ((5, 10, 0.2), (25, 25, 0.35), (40, 30, 0.4)):
        time_ns, vector = decode_command(robot.action.parts[0], message, start_ns + arrival_ms * 10**6)
        assert time_ns == start_ns + time_ms * 10**6
        np.testing.assert_allclose(vector, place)


def test_when_a_command_lacks_a_joint_or_positions_expect_error(robot, messages):
    with refused(
        DecodeError, Code.UNKNOWN, subject="the action (topic /command)", value="b", problem="lacks the joint"
    ):
        decode_command(robot.action.parts[0], messages.command(names=("a", "c")), 0)
    with refused(
        DecodeError,
        Code.WRONG_SHAPE,
        subject="the action (topic /command)",
        value=0,
        problem="positions for 2 joints",
    ):
        decode_command(robot.action.parts[0], messages.command(positions=()), 0)
