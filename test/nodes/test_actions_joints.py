# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Joints that are jogged, or commanded by an action alone, and packages that are not installed."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.interfaces import provide

provide()
from control_msgs.action import FollowJointTrajectory  # noqa: E402
from control_msgs.msg import JointJog  # noqa: E402
from drive_rig import Changing, active, sent_by_another  # noqa: E402
from policy_rig import ROBOT, wait_for  # noqa: E402
from rclpy.action import ActionServer  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import qos_profile_sensor_data  # noqa: E402
from rclpy.task import Future  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from support.arm import COBOT, Arm  # noqa: E402
from support.refused import assert_refusal  # noqa: E402
from tool_rig import Script, shipped  # noqa: E402

from hpt_ros import errors  # noqa: E402
from hpt_ros.control import State  # noqa: E402
from hpt_ros.control.refusals import Why  # noqa: E402
from hpt_ros.embodiment import Embodiment  # noqa: E402
from hpt_ros.nodes.common.composition import Composition  # noqa: E402
from hpt_ros.nodes.common.conversions import stream_message_type  # noqa: E402
from hpt_ros.nodes.common.interfaces import MissingInterfaceError, import_interface, interface  # noqa: E402

FRANKA = shipped("franka_gripper")
ARM_NAMES = FRANKA.action.names[:7]
HOME = np.array([0.0, -0.8, 0.0, -2.0, 0.0, 1.8, 0.7, 0.02])


class Jogged(Changing):  # type: ignore[misc]
    """Joints that are jogged: by a velocity until the next message, or a displacement at a time."""

    def __init__(self, context: Any, robot: Embodiment) -> None:
        super().__init__("jogged", context)
        self.names, self.joints = robot.action.names, np.zeros(2)
        self.told: list[JointJog] = []
        self.create_subscription(JointJog, robot.action.parts[0].topic, self._on_jog, 1000)
        self.states = self.create_publisher(JointState, "joint_states", qos_profile_sensor_data)
        self.create_timer(0.01, self._publish)

    def _on_jog(self, message: JointJog) -> None:
        assert tuple(message.joint_names) == self.names
        self.told.append(message)
        moved = np.array(message.displacements or np.array(message.velocities) * message.duration)
        self.joints = self.joints + moved

    def _publish(self) -> None:
        message = JointState(name=list(self.names), position=self.joints.tolist())
        message.header.stamp = self.get_clock().now().to_msg()
        self.states.publish(message)


def jogged(form: str) -> Embodiment:
    """Two joints, of which the first may go to 0.5 rad."""
    return Embodiment.loads(f"""
format: hpt_ros/embodiment/1
name: jogged
tick_hz: 10.0
streams:
  - {{name: joints, modality: state, topic: joint_states, type: sensor_msgs/msg/JointState, rate_hz: 100.0,
     tolerance_s: 0.1, joints: [a, b], fields: [position]}}
action:
  rate_hz: 100.0
  horizon: 16
  outputs:
    - {{name: arm, topic: servo_node/delta_joint_cmds, type: control_msgs/msg/JointJog, kind: joint_velocity,
       names: [a, b], unit: rad/s, jog: {form}}}
  limits:
    - {{name: a, lower: -0.5, upper: 0.5, velocity: 0.6, acceleration: 2.0}}
    - {{name: b, lower: -3.0, upper: 3.0, velocity: 0.6, acceleration: 2.0}}
""")


@pytest.mark.parametrize("form", ["velocities", "displacements"])
def test_jogged_joints_move_within_their_limits_of_position_too(form: str) -> None:
    robot = jogged(form)
    policy = Script(robot, {}, {0: 0.3, 1: -0.2})
    with active(lambda context: Jogged(context, robot), robot, policy) as (arm, node):
        wait_for(lambda: arm.joints[0] > 0.4, "the first joint near its limit")
        wait_for(lambda: arm.joints[1] < -0.4, "motion of the other")
        node.stop("enough")
        wait_for(lambda: node.runtime is not None and node.runtime.controller.at_rest, "rest")
        if form == "velocities":
            wait_for(lambda: not np.any(arm.told[-1].velocities), "a zero")
        time.sleep(0.3)
        count, place = len(arm.told), arm.joints
        time.sleep(0.3)
        assert len(arm.told) == count
        assert (arm.joints == place).all()
        # Telling a last displacement again would move it on.
        last = (
            np.abs([message.displacements for message in arm.told[-3:]]) if form == "displacements" else 0.0
        )
        assert np.max(last) < 0.001
        assert arm.joints[0] < 0.55  # of a robot that adds up what it is commanded, late and early
    per_s = np.array([getattr(message, form) for message in arm.told])
    per_s = per_s / 0.01 if form == "displacements" else per_s
    assert (np.abs(per_s) <= 0.6 * (1 + 1e-6)).all()
    assert {message.duration for message in arm.told} == {0.01}
    other = "velocities" if form == "displacements" else "displacements"
    assert not any(len(getattr(message, other)) for message in arm.told)


class Follower(Changing):  # type: ignore[misc]
    """An arm behind FollowJointTrajectory alone: it goes the newest goal's way, and the one before it is canceled."""

    def __init__(self, context: Any) -> None:
        super().__init__("follower", context)
        self.arm = Arm(COBOT, HOME[:7], time.monotonic_ns())
        self.told_arm = HOME[:7] - COBOT.sag
        self.goals: list[Any] = []
        self.states = self.create_publisher(JointState, "joint_states", qos_profile_sensor_data)
        self.create_timer(0.01, self._publish)
        self._server = ActionServer(
            self, FollowJointTrajectory, "fr3_arm_controller/follow_joint_trajectory", self._execute
        )
        self.others: Any = Future()

    async def _execute(self, handle: Any) -> Any:
        if not handle.request.trajectory.points:  # of another, that takes its time
            await self.others
        else:
            self.goals.append(handle.request)
        handle.succeed()
        return FollowJointTrajectory.Result()

    def _publish(self) -> None:
        now_ns = self.get_clock().now().nanoseconds
        if self.goals:
            message = self.goals[-1].trajectory
            stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            at = [
                stamp_ns + p.time_from_start.sec * 10**9 + p.time_from_start.nanosec for p in message.points
            ]
            path = np.array([point.positions for point in message.points])
            self.told_arm = np.array([np.interp(now_ns, at, column) for column in path.T])
        self.arm.advance(time.monotonic_ns(), self.told_arm)
        message = JointState(name=list(ARM_NAMES), position=self.arm.measured().tolist())
        message.header.stamp = self.get_clock().now().to_msg()
        self.states.publish(message)


def behind_an_action() -> Embodiment:
    """The arm without its hand and its topic."""
    arm = FRANKA.action.parts[0]
    (joints,) = (stream for stream in FRANKA.streams if stream.modality == "state")
    return Embodiment.loads(replace(
        FRANKA,
        streams=(replace(joints, joints=ARM_NAMES, partial=False),),
        action=replace(
            FRANKA.action, grippers=(), limits=FRANKA.action.limits[:7], names=ARM_NAMES, rate_hz=50.0,
            outputs=(replace(
                arm, type="control_msgs/action/FollowJointTrajectory",
                topic="fr3_arm_controller/follow_joint_trajectory",
            ),),
        ),
    ).to_yaml())  # fmt: skip


def test_when_another_node_has_a_trajectory_carried_out_expect_a_fault_until_it_is() -> None:
    robot, name = behind_an_action(), "/fr3_arm_controller/follow_joint_trajectory"
    with Composition() as composition:
        rival = composition.add(Node("moveit", context=composition.context))
        with active(Follower, robot, Script(robot, {0: 0.3}, {})) as (follower, node):
            wait_for(lambda: follower.arm.position[0] > 0.1, "motion", timeout_s=40.0)
            sent_by_another(rival, FollowJointTrajectory, name, FollowJointTrajectory.Goal())
            wait_for(lambda: node.state is State.FAULT, "FAULT")
            assert node.runtime is not None
            link = node.runtime.controller.monitors.link
            wait_for(lambda: node.runtime is not None and node.runtime.controller.at_rest, "rest")
            time.sleep(1.5)
            assert_refusal(link.contested, Why.ASKED, subject="node /moveit")  # it is still carried out
            follower.others.set_result(None)
            wait_for(lambda: not link.contested, "its end")
            assert node.clear_fault()[0]


def test_an_arm_behind_an_action_alone_follows_goals_that_end_at_rest() -> None:
    robot = behind_an_action()
    with active(Follower, robot, Script(robot, {0: 0.3}, {})) as (follower, node):
        wait_for(lambda: follower.arm.position[0] > 0.3, "motion", timeout_s=40.0)
        node.stop("enough")
        wait_for(lambda: node.runtime is not None and node.runtime.controller.at_rest, "rest")
        time.sleep(0.3)
        count = len(follower.goals)
        time.sleep(0.3)
        assert len(follower.goals) == count  # nothing is commanded twice
    for goal in follower.goals:
        last = goal.trajectory.points[-1]
        assert not np.any(last.velocities)
        assert list(goal.trajectory.joint_names) == list(ARM_NAMES)


def test_when_control_msgs_is_not_installed_expect_its_package_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "control_msgs.action", None)
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    interface.cache_clear()
    with pytest.raises(MissingInterfaceError) as caught:
        import_interface("control_msgs/action/GripperCommand", "embodiment 'x', output 'hand',")
    error = caught.value
    assert (error.code, error.value, error.expected) == (
        errors.Code.NOT_INSTALLED, "control_msgs/action/GripperCommand", "the Python package 'control_msgs'",
    )  # fmt: skip
    assert error.subject == "embodiment 'x', output 'hand',"
    assert "ros-jazzy-control-msgs" in error.remedy
    assert "ros-jazzy-control-msgs" in str(error)


def test_when_a_video_types_package_is_not_installed_expect_it_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "foxglove_msgs.msg", None)
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    interface.cache_clear()
    film = replace(ROBOT.image_streams[0], type="foxglove_msgs/msg/CompressedVideo")
    with pytest.raises(MissingInterfaceError, match="'foxglove_msgs/msg/CompressedVideo'") as caught:
        stream_message_type(film)
    assert "ros-jazzy-foxglove-msgs" in caught.value.remedy
