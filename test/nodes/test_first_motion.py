# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The shipped parameters for first motion, with the shipped checkpoint on the simulated robot, as users start them."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from policy_rig import ROBOT, wait_for
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from hpt_msgs.action import RunPolicy
from hpt_msgs.msg import PolicyStatus
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.sim.sim_node import SimNode
from hpt_ros.resources import config_file

SCALE = 0.1  # of config/safety/first_motion.yaml


class Listener(Node):
    """Keeps what the robot is commanded, where it is and what the policy node says of itself."""

    def __init__(self, context, namespace: str) -> None:
        super().__init__("listener", context=context)
        self.status: PolicyStatus | None = None
        self.reasons: list[str] = []
        self.poses: list[tuple[float, np.ndarray]] = []
        self.commands = 0
        # Made before anybody spins, see policy_rig.
        self.run = ActionClient(self, RunPolicy, f"{namespace}/policy_node/run")
        self.create_subscription(PolicyStatus, f"{namespace}/policy_node/status", self._on_status, 10)
        self.create_subscription(JointState, "/joint_states", self._on_joints, 100)
        self.create_subscription(JointTrajectory, "/arm_controller/joint_trajectory", self._on_command, 100)

    def _on_status(self, message: PolicyStatus) -> None:
        self.status = message
        if message.fault and message.fault not in self.reasons:
            self.reasons.append(message.fault)

    def _on_command(self, message: JointTrajectory) -> None:
        self.commands += 1

    def _on_joints(self, message: JointState) -> None:
        order = [list(message.name).index(name) for name in ROBOT.action.names]
        at_s = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        self.poses.append((at_s, np.array(message.position)[order]))


@pytest.mark.slow
@pytest.mark.parametrize("namespace", ["", "/cell"])
def test_with_the_parameters_for_first_motion_the_robot_moves_at_a_tenth_of_its_speed(namespace):
    """In a namespace too: parameters that are silently left out there would let it move at full speed."""
    with Composition() as composition:
        sim = composition.add(
            SimNode(
                context=composition.context,
                parameter_overrides=[
                    Parameter("picture_height", value=48),
                    Parameter("picture_width", value=64),
                ],
            )
        )
        listener = composition.add(Listener(composition.context, namespace))
        sim.start()
        command = [sys.executable, "-m", "hpt_ros.nodes.policy.policy_node", "--ros-args"]
        command += [
            "--params-file",
            str(config_file("safety/first_motion.yaml")),
            "-p",
            "checkpoint:=feed_dog",
        ]
        command += ["-p", "use_sim_time:=true", "-p", "autostart:=true"]
        command += ["-r", f"__ns:={namespace}"] if namespace else []
        process = subprocess.Popen(command)
        try:
            wait_for(lambda: listener.status is not None, "a status", 90.0)
            assert listener.run.wait_for_server(20.0)
            sent = threading.Event()
            future = listener.run.send_goal_async(RunPolicy.Goal(task=ROBOT.task, timeout_s=60.0))
            future.add_done_callback(lambda _: sent.set())
            assert listener.commands == 0, "it moved without a goal"
            assert sent.wait(20.0)
            assert future.result().accepted
            wait_for(lambda: listener.commands > 400, f"motion: {listener.reasons}", 90.0)
        finally:
            process.terminate()
            process.wait(30.0)
            sim.close()
    times, poses = np.array([at for at, _ in listener.poses]), np.array([pose for _, pose in listener.poses])
    assert np.ptp(poses, axis=0).max() > 0.1, listener.reasons
    # Over a second, so that the physics' ripple does not count.
    speed = np.abs(poses[100:] - poses[:-100]) / (times[100:] - times[:-100])[:, None]
    assert (speed <= 1.1 * SCALE * ROBOT.max_velocity).all(), (speed / ROBOT.max_velocity).max()
