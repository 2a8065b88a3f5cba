# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Forms of the command, the URDF, the backend's parameters: what configure takes, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from policy_rig import HOME, PERIOD_S, ROBOT, Rig, policy_rig, wait_for
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from support.told import peaks

from hpt_ros.control import ControlConfig, State
from hpt_ros.nodes.common.parameters import names
from hpt_ros.nodes.policy.parameter_callback import ALWAYS, CONNECTED, NEVER, WHILE_INACTIVE
from hpt_ros.nodes.policy.policy_node import PolicyNode
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.runtime.kinematics import read_urdf
from hpt_ros.runtime.policy_config import PolicyNodeConfig


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig() as made:
        yield made


def test_encoding_ahead_is_switched_at_run_time_and_what_cannot_change_is_refused_with_a_reason(rig):
    node = rig.start()
    for name, value in (("backend", "compile"), ("precision", "bfloat16"), ("outputs.joint_state", "/a")):
        (late,) = node.set_parameters([Parameter(name, value=value)])
        assert not late.successful
        assert (
            f"the parameter {name} is read when the node is configured; clean the node up first"
            in late.reason
        )
    (switched,) = node.set_parameters([Parameter("encode_ahead", value=False)])
    assert switched.successful
    assert not node.runtime.observations.encode_ahead
    assert "one of auto, eager, openvino" in node.describe_parameter("backend").additional_constraints


def test_commands_go_out_in_every_form_that_is_asked_for(rig):
    arrays: list[Float64MultiArray] = []
    states: list[JointState] = []
    rig.robot.create_subscription(Float64MultiArray, "/forward", arrays.append, 1000)
    rig.robot.create_subscription(JointState, "/wanted", states.append, 1000)
    node = rig.start(outputs__float64_multi_array="/forward", outputs__joint_state="/wanted")
    rig.until_moving()
    wait_for(lambda: rig.robot.commands[5:] and states[5:] and arrays[5:], "all forms")
    node.stop("enough")
    rig.until_rest()
    state = states[-1]
    assert list(state.name) == list(ROBOT.action.names)
    for position in (state.position, arrays[-1].data):
        np.testing.assert_array_equal(position, rig.robot.commands[-1].position)
    assert not any(state.velocity)


def put(node: PolicyNode, **values: Any) -> str:
    """Set parameters together; returns why that was refused."""
    wanted = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
    result = node.set_parameters_atomically(wanted)
    assert bool(result.reason) is not result.successful
    return str(result.reason)


def test_limits_change_while_the_node_is_not_active_without_loading_the_policy_again(rig):
    node = rig.start(safety__max_refused=3)
    rig.until_moving()
    moving = "the parameter safety.velocity_scale does not change while the robot may move; deactivate the node first"
    assert put(node, safety__velocity_scale=0.1) == moving
    assert node.get_parameter("safety.velocity_scale").value == 1.0
    assert rig.robot.change(Transition.TRANSITION_DEACTIVATE)
    loaded = node.runtime.loaded
    assert node.set_task("something else") is None
    assert put(node, safety__velocity_scale=0.1, start_on_activate=True) == ""
    assert node.runtime.loaded is loaded
    assert node.runtime.task.text == "something else"
    wait_for(lambda: not rig.robot.commands[-1].velocity.any(), "rest")
    sent = len(rig.robot.commands)
    assert rig.robot.change(Transition.TRANSITION_ACTIVATE)
    wait_for(lambda: len(rig.robot.commands) > sent + 60, "commands")
    slow = np.abs([command.velocity for command in rig.robot.commands[sent:]]).max(axis=0)
    assert (slow > 0.0).any()
    assert (slow <= 0.1 * ROBOT.max_velocity * (1 + 1e-6)).all()


def test_what_is_latched_outlives_a_change_of_limits(rig):
    node = rig.start()
    node.stop("a test stopped it")
    rig.until(State.FAULT)
    assert rig.robot.change(Transition.TRANSITION_DEACTIVATE)
    assert put(node, watchdog__timeout_s=0.5) == ""
    assert rig.robot.change(Transition.TRANSITION_ACTIVATE)
    assert rig.state() is State.FAULT
    assert str(node.runtime.controller.latched) == "a test stopped it"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"queue__step_names": ["finger"]},
            "queue.step_names has 'finger', expected one of",
        ),
        ({"workspace__floor_m": 0.0}, "robot_description"),
        (
            {"safety__velocity_scale": 0.5, "policy": "hold"},
            "the parameter policy is read when the node is configured",
        ),
        ({"deadman__topic": "/held"}, "the parameter deadman.topic is read when the node is configured"),
        ({"status_rate_hz": 5.0}, "the parameter status_rate_hz is read when the process starts"),
        ({"task": " "}, "the task is empty"),
    ],
)
def test_when_a_change_cannot_be_made_expect_none_of_it_and_the_reason(rig, values, sentence):
    node = rig.start(active=False)
    assert rig.robot.change(Transition.TRANSITION_CONFIGURE)
    runtime = node.runtime
    assert sentence in put(node, **values)
    assert node.runtime is runtime
    assert node.get_parameter("safety.velocity_scale").value == 1.0
    assert rig.robot.change(Transition.TRANSITION_ACTIVATE)
    rig.until(State.RUNNING)


def test_every_parameter_of_the_control_room_has_a_time_at_which_it_may_change():
    control = names(ControlConfig)
    assert control == (WHILE_INACTIVE | CONNECTED) - {
        "start_on_activate",
        "log_decisions",
    }
    everything = names(PolicyNodeConfig, ControlConfig)
    assert everything >= ALWAYS | NEVER | WHILE_INACTIVE | CONNECTED
    assert not ALWAYS & NEVER & WHILE_INACTIVE


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"joint_trajectory": False}, "the robot would never hear of a command"),
        ({"joint_state": "/joint_states"}, "commands are to be sent to '/joint_states', also a stream's"),
        ({"joint_state": "joint_states"}, "commands are to be sent to '/joint_states', also a stream's"),
    ],
)
def test_when_outputs_cannot_work_expect_configure_refused_with_a_sentence(rig, values, sentence):
    node = rig.start(active=False, **{f"outputs__{name}": value for name, value in values.items()})
    assert not rig.robot.change(Transition.TRANSITION_CONFIGURE)
    assert sentence in str(node.refusal)
    assert rig.state() is State.UNCONFIGURED


def test_when_a_urdf_is_narrower_than_the_embodiment_file_expect_configure_refused_with_both(rig):
    joints = "".join(
        f'<link name="l{number + 1}"/><joint name="{limit.name}" type="revolute"><parent link="l{number}"/>'
        f'<child link="l{number + 1}"/><origin xyz="0 0 0.1"/><axis xyz="0 1 0"/>'
        f'<limit lower="{limit.lower}" upper="{limit.upper - 0.5 * (number == 3)}" velocity="9" effort="1"/></joint>'
        for number, limit in enumerate(ROBOT.action.limits)
    )
    urdf = f'<robot name="arm"><link name="l0"/>{joints}</robot>'
    node = rig.start(active=False, robot_description=urdf)
    assert not rig.robot.change(Transition.TRANSITION_CONFIGURE)
    assert "has the upper limit -0.0698 for 'panda_joint4', but robot_description says -0.5698" in str(
        node.refusal
    )


def test_when_limits_are_left_to_the_urdf_expect_the_node_to_keep_them(rig):
    limits = tuple(replace(limit, lower=None, upper=None, velocity=None) for limit in ROBOT.action.limits)
    robot = replace(ROBOT, action=replace(ROBOT.action, limits=limits))
    joints = "".join(
        f'<link name="l{number + 1}"/><joint name="{limit.name}" type="revolute"><parent link="l{number}"/>'
        f'<child link="l{number + 1}"/><axis xyz="0 1 0"/>'
        f'<limit lower="{limit.lower}" upper="{limit.upper}" velocity="0.25" effort="1"/></joint>'
        for number, limit in enumerate(ROBOT.action.limits)
    )
    loaded = LoadedPolicy(rig.policy, robot, "", robot.observation_horizon)
    node = rig.start(loaded=loaded, robot_description=f'<robot name="arm"><link name="l0"/>{joints}</robot>')
    wait_for(lambda: rig.robot.commands and rig.robot.commands[-1].velocity.max() > 0.24, "motion")
    wait_for(
        lambda: node.counters()["clamped_velocity"] > 10, "velocity limits in use"
    )  # the policy wants 0.4
    rig.check_limits()
    velocity, _ = peaks(
        rig.robot.commands, PERIOD_S
    )  # over the times they are due: a late timer leaves periods out
    assert velocity.max() <= 0.25 * (1 + 1e-6)


def test_when_limits_are_left_to_a_urdf_that_is_not_there_expect_configure_refused(rig):
    limits = tuple(replace(limit, velocity=None) for limit in ROBOT.action.limits)
    robot = replace(ROBOT, action=replace(ROBOT.action, limits=limits))
    node = rig.start(active=False, loaded=LoadedPolicy(rig.policy, robot, "", robot.observation_horizon))
    assert not rig.robot.change(Transition.TRANSITION_CONFIGURE)
    assert "leaves the velocity limit of 'panda_joint1' to robot_description" in str(node.refusal)


def test_a_workspace_of_a_urdf_holds_on_the_real_node(rig):
    limits = "".join(
        f'<link name="l{number + 1}"/><joint name="{limit.name}" type="revolute"><parent link="l{number}"/>'
        f'<child link="l{number + 1}"/><origin xyz="0.1 0 0.1"/><axis xyz="0 1 0"/>'
        '<limit lower="-9" upper="9" velocity="9" effort="1"/></joint>'
        for number, limit in enumerate(ROBOT.action.limits)
    )
    urdf = f'<robot name="arm"><link name="l0"/>{limits}</robot>'
    origins = read_urdf(urdf, ROBOT.action.names).kinematics.origins
    lowest = float(origins(HOME)[:, 2].min()) - 0.05
    node = rig.start(robot_description=urdf, workspace__floor_m=lowest)
    rig.until_moving()
    wait_for(lambda: node.counters()["workspace_stops"], "the floor")
    wait_for(lambda: not rig.robot.commands[-1].velocity.any(), "rest")
    rig.check_limits()
    for command in rig.robot.commands:
        assert origins(command.position)[:, 2].min() >= lowest - 1e-6
