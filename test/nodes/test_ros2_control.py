# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The real ros2_control with mock hardware and the shipped controllers file, and our stream. Needs a ROS distribution.

Written from the documentation of Jazzy and Kilted (control.ros.org: controller_manager, mock_components,
joint_trajectory_controller). The wheels that `make setup` installs have none of these packages, so it is skipped there.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from policy_rig import HOME, ROBOT, Robot, policy_rig, wait_for
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from hpt_ros.resources import config_file

PACKAGES = (
    "ros2run", "controller_manager", "joint_trajectory_controller", "joint_state_broadcaster", "mock_components",
    "control_msgs",
)  # fmt: skip


def missing() -> str:
    """What of a ROS distribution is not here; empty if everything is."""
    absent = [] if shutil.which("ros2") else ["the command ros2"]
    for package in PACKAGES:
        try:
            get_package_prefix("hardware_interface" if package == "mock_components" else package)
        except (PackageNotFoundError, OSError):  # the latter where AMENT_PREFIX_PATH is not set
            absent.append(package)
    return ", ".join(absent)


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(missing()), reason=f"no ROS distribution with ros2_control: {missing()} not found"
    ),
]

BROADCASTER = """
controller_manager:
  ros__parameters:
    joint_state_broadcaster:
      type: joint_state_broadcaster/JointStateBroadcaster
"""


def description() -> str:
    """A URDF of the shipped arm as a chain of boxes, whose hardware repeats every command as its state."""
    links, joints, interfaces = ['<link name="base"/>'], [], []
    parent = "base"
    bounds = zip(ROBOT.action.names, ROBOT.lower, ROBOT.upper, ROBOT.max_velocity, HOME, strict=True)
    for name, lower, upper, velocity, home in bounds:
        child = f"{name}_link"
        links.append(f'<link name="{child}"/>')
        joints.append(
            f'<joint name="{name}" type="revolute"><parent link="{parent}"/><child link="{child}"/><axis xyz="0 0 1"/>'
            f'<limit lower="{lower}" upper="{upper}" velocity="{velocity}" effort="100"/></joint>'
        )
        interfaces.append(
            f'<joint name="{name}"><command_interface name="position"/><state_interface name="position">'
            f'<param name="initial_value">{home}</param></state_interface><state_interface name="velocity"/></joint>'
        )
        parent = child
    return (
        '<?xml version="1.0"?><robot name="arm">'
        + "".join(links + joints)
        + '<ros2_control name="arm" type="system">'
        "<hardware><plugin>mock_components/GenericSystem</plugin>"
        '<param name="calculate_dynamics">true</param></hardware>'
        + "".join(interfaces)
        + "</ros2_control></robot>"
    )


class BroadcastRobot(Robot):  # type: ignore[misc]
    """Cameras alone: joint states come from ros2_control, which this listens to."""

    def __init__(self, context: Any) -> None:
        from control_msgs.msg import JointTrajectoryControllerState

        super().__init__(context)
        self.joints_on = False
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.description = self.create_publisher(String, "/robot_description", latched)
        self.description.publish(String(data=description()))
        self.references: list[tuple[float, np.ndarray, np.ndarray]] = []
        self.create_subscription(
            JointTrajectoryControllerState, "/arm_controller/controller_state", self._on_state, 1000
        )

    def _on_state(self, message: Any) -> None:
        if len(message.reference.accelerations) == ROBOT.action.dim:
            at_s = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
            reference = message.reference
            self.references.append((at_s, np.array(reference.positions), np.array(reference.accelerations)))


def test_the_real_controller_follows_our_stream_within_the_limits(tmp_path: Path) -> None:
    broadcaster = tmp_path / "broadcaster.yaml"
    broadcaster.write_text(BROADCASTER, encoding="utf-8")
    shipped = config_file("controllers/feed_dog.yaml")
    arguments = ["--params-file", str(shipped), "--params-file", str(broadcaster)]
    arguments += ["-r", "~/robot_description:=/robot_description"]
    with policy_rig(BroadcastRobot) as rig:
        manager = subprocess.Popen(
            ["ros2", "run", "controller_manager", "ros2_control_node", "--ros-args", *arguments],
            start_new_session=True,
        )
        try:
            spawned = subprocess.run(
                ["ros2", "run", "controller_manager", "spawner", "joint_state_broadcaster", "arm_controller"],
                timeout=60.0, check=False,
            )  # fmt: skip
            assert spawned.returncode == 0, "the controllers were not started with the shipped file"
            rig.start()
            rig.until_moving()
            time.sleep(2.0)
            node = rig.node
            assert node is not None
            node.stop("the test ends")
            wait_for(lambda: rig.robot.commands and not rig.robot.commands[-1].velocity.any(), "rest")
            time.sleep(1.0)
        finally:
            manager.terminate()
            manager.wait(20.0)
    robot: Any = rig.robot
    positions = np.array([position for _, position, _ in robot.references])
    accelerations = np.array([acceleration for _, _, acceleration in robot.references])
    assert np.ptp(positions, axis=0).max() > 0.3, "the controller did not move"
    # A hundredth for the float arithmetic of its splines.
    assert (np.abs(accelerations) <= 1.01 * ROBOT.max_acceleration).all()
    assert (positions >= ROBOT.lower).all()
    assert (positions <= ROBOT.upper).all()
    assert np.ptp(positions[-100:], axis=0).max() < 1e-3, "it did not come to rest"
