# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Robots with several commands and with Cartesian ones, from the shipped files, and a machine that follows them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drive_rig import PATIENT
from geometry_msgs.msg import PoseStamped, TwistStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from support.arm import COBOT, Arm, Wrist
from support.told import told
from trajectory_msgs.msg import JointTrajectory

from hpt_ros.embodiment import Embodiment
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.inference.inference_node import InferenceNode
from hpt_ros.nodes.policy.policy_node import PolicyNode
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.policies.protocol import Observation
from hpt_ros.resources import config_file

NS = 1_000_000_000
KNUCKLE = "robotiq_85_left_knuckle_joint"


def shipped(name: str) -> Embodiment:
    """A shipped robot without its cameras, which are tested elsewhere."""
    robot = Embodiment.load(config_file(f"embodiments/{name}.yaml"))
    streams = tuple(replace(stream, rate_hz=100.0) for stream in robot.streams if stream.modality == "state")
    return replace(robot, observation_horizon=1, streams=streams)


ARM = shipped("ur5e_robotiq")
SERVO = shipped("ur5e_servo")
POSES = Embodiment.loads(
    SERVO.to_yaml()
    .replace("geometry_msgs/msg/TwistStamped", "geometry_msgs/msg/PoseStamped")
    .replace("cartesian_twist", "cartesian_pose")
    .replace("delta_twist_cmds", "pose_target_cmds")
)
HOME = np.array([0.0, -1.5, 1.5, -1.5, -1.5, 0.0, 0.1])
DOWN = Rotation.from_rotvec([np.pi, 0.0, 0.0])
# Gravity pulls arm and tool down, and leaves the fingers alone.
JOINTS = replace(COBOT, sag=COBOT.sag * (np.arange(7) < 6))
TOOL = replace(COBOT, sag=COBOT.sag * np.array([0.0, 0.0, 1.0]))


class Machine(Node):
    """Publishes joints and the tool's pose at 100 Hz; lags, sags, and is measured with noise.

    Args:
        object_at: where an object stops the closing fingers; None: there is none.
    """

    def __init__(self, context: Any, object_at: float | None = None) -> None:
        super().__init__("machine", context=context)
        self.lock = threading.Lock()
        now_ns = time.monotonic_ns()
        model = JOINTS if object_at is None else replace(JOINTS, held={6: object_at})
        self.joint_arm, self.told_joints = Arm(model, HOME, now_ns), HOME - model.sag
        self.told_position, self.told_turn = np.array([0.1, -0.5, 0.3]), DOWN
        self.tool_arm = Arm(TOOL, self.told_position, now_ns)
        self.told_position = self.told_position - TOOL.sag
        self.wrist = Wrist(TOOL, DOWN, now_ns)
        self.frame = "base"
        self.arm: list[JointTrajectory] = []
        self.gripper: list[float] = []
        self.gripper_times_s: list[float] = []  # of arrival, steady
        self.twists: list[np.ndarray] = []
        self.twist_times_ns: list[int] = []  # stamps
        self.pose_times_ns: list[int] = []
        self.poses: list[tuple[np.ndarray, Rotation]] = []
        self.frames: set[str] = set()
        arm, gripper = (part.topic for part in ARM.action.parts)
        self.create_subscription(JointTrajectory, arm, self._on_arm, 1000)
        self.create_subscription(Float64MultiArray, gripper, self._on_gripper, 1000)
        self.create_subscription(TwistStamped, SERVO.action.parts[0].topic, self._on_twist, 1000)
        self.create_subscription(PoseStamped, POSES.action.parts[0].topic, self._on_pose, 1000)
        self.states = self.create_publisher(JointState, "/joint_states", qos_profile_sensor_data)
        self.tool = self.create_publisher(PoseStamped, SERVO.streams[0].topic, qos_profile_sensor_data)
        self.create_timer(0.01, self._publish)
        self._change = self.create_client(ChangeState, "/policy_node/change_state")

    @property
    def joints(self) -> np.ndarray:
        """Where the joints are, (7,)."""
        return self.joint_arm.position

    @property
    def position(self) -> np.ndarray:
        """Where the tool is, (3,)."""
        return self.tool_arm.position

    @property
    def turn(self) -> Rotation:
        """How the tool is oriented."""
        return self.wrist.rotation

    def _on_arm(self, message: JointTrajectory) -> None:
        self.arm.append(message)
        self.told_joints[:6] = told(message, 1.0 / ARM.action.rate_hz).position

    def _on_gripper(self, message: Float64MultiArray) -> None:
        (value,) = message.data
        self.gripper.append(value)
        self.gripper_times_s.append(time.monotonic())
        self.told_joints[6] = value

    def _on_twist(self, message: TwistStamped) -> None:
        twist = message.twist
        linear = np.array([twist.linear.x, twist.linear.y, twist.linear.z])
        angular = np.array([twist.angular.x, twist.angular.y, twist.angular.z])
        self.twist_times_ns.append(message.header.stamp.sec * NS + message.header.stamp.nanosec)
        self.twists.append(np.concatenate([linear, angular]))
        self.frames.add(message.header.frame_id)
        self.told_position = self.told_position + linear / SERVO.action.rate_hz
        self.told_turn = Rotation.from_rotvec(angular / SERVO.action.rate_hz) * self.told_turn

    def _on_pose(self, message: PoseStamped) -> None:
        p, q = message.pose.position, message.pose.orientation
        self.told_position, self.told_turn = (
            np.array([p.x, p.y, p.z]),
            Rotation.from_quat([q.x, q.y, q.z, q.w]),
        )
        assert np.linalg.norm([q.x, q.y, q.z, q.w]) == pytest.approx(1.0, abs=1e-9)
        self.pose_times_ns.append(message.header.stamp.sec * NS + message.header.stamp.nanosec)
        self.poses.append((self.told_position, self.told_turn))
        self.frames.add(message.header.frame_id)

    def _publish(self) -> None:
        stamp, now_ns = self.get_clock().now().to_msg(), time.monotonic_ns()
        self.joint_arm.advance(now_ns, self.told_joints)
        self.tool_arm.advance(now_ns, self.told_position)
        self.wrist.advance(now_ns, self.told_turn)
        joints = self.joint_arm.measured()
        # As two broadcasters would: the arm and the gripper in messages of their own.
        for names, values in ((ARM.action.names[:6], joints[:6]), ([KNUCKLE], joints[6:])):
            message = JointState(name=list(names), position=values.tolist())
            message.header.stamp = stamp
            self.states.publish(message)
        pose = PoseStamped()
        pose.header.stamp, pose.header.frame_id = stamp, self.frame
        pose.pose.position.x, pose.pose.position.y, pose.pose.position.z = self.tool_arm.measured().tolist()
        q = pose.pose.orientation
        q.x, q.y, q.z, q.w = self.wrist.measured().as_quat().tolist()
        self.tool.publish(pose)

    def change(self, transition: int) -> bool:
        assert self._change.wait_for_service(timeout_sec=20.0)
        done = threading.Event()
        future = self._change.call_async(ChangeState.Request(transition=Transition(id=transition)))
        future.add_done_callback(lambda _: done.set())
        assert done.wait(20.0)
        return bool(future.result().success)


class Script:
    """From where the robot is, at a velocity of each action dimension; some are set to a value instead."""

    def __init__(self, robot: Embodiment, velocity: dict[int, float], fixed: dict[int, float]) -> None:
        self.robot, self.velocity, self.fixed = robot, velocity, fixed

    def predict(self, observation: Observation) -> np.ndarray:
        chunk = np.tile(
            self.robot.space.states.action(observation.inputs["state"][0, -1]), (self.robot.action.horizon, 1)
        )
        times_s = self.robot.dt_s * np.arange(self.robot.action.horizon)
        for dimension, speed in self.velocity.items():
            chunk[:, dimension] += speed * times_s
        for dimension, value in self.fixed.items():
            chunk[:, dimension] = value
        return chunk

    def reset(self) -> None:
        pass


@contextmanager
def running(
    robot: Embodiment,
    policy: Any,
    *,
    far_file: Path | None = None,
    object_at: float | None = None,
    **values: Any,
) -> Iterator[tuple[Machine, PolicyNode]]:
    """A machine and an active node; with `far_file`, the robot's embodiment file, the policy is an inference node's."""
    given = {**PATIENT, **values}
    overrides = [Parameter(name.replace("__", "."), value=value) for name, value in given.items()]
    with Composition() as composition:
        machine = composition.add(Machine(composition.context, object_at))
        loaded = LoadedPolicy(policy, robot, "", 1)
        if far_file is not None:
            far_file.write_text(robot.to_yaml(), encoding="utf-8")
            composition.add(InferenceNode(load=lambda: loaded, context=composition.context))
            overrides += [Parameter("policy", value="remote"), Parameter("embodiment", value=str(far_file))]
        node = PolicyNode(
            load=None if far_file is not None else lambda: loaded,
            context=composition.context, parameter_overrides=overrides,
        )  # fmt: skip
        composition.add(node)
        assert machine.change(Transition.TRANSITION_CONFIGURE), node.refusal
        assert machine.change(Transition.TRANSITION_ACTIVATE), node.refusal
        yield machine, node
