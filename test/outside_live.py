# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Runs the real policy node with what a package outside adds, in a process in which that package is installed.

Usage: outside_live.py KEY=VALUE..., parameters of the policy node. Prints what was commanded as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from drive_rig import PATIENT, Changing
from lifecycle_msgs.msg import Transition
from policy_rig import wait_for
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState, Range
from std_msgs.msg import Float32MultiArray
from support.domain import own_domain
from support.told import told
from trajectory_msgs.msg import JointTrajectory

from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.policy.policy_node import PolicyNode

COMMANDS = 100  # 2 s of them


class Outsider(Changing):  # type: ignore[misc]
    """The robot of `support.outside`; its joints are at once where they are commanded to be."""

    def __init__(self, context: Any) -> None:
        super().__init__("outsider", context)
        self.position = np.array([0.5, 0.6])
        self.path: list[list[float]] = []
        self.joints = self.create_publisher(JointState, "/joint_states", qos_profile_sensor_data)
        self.nose = self.create_publisher(Range, "/range", qos_profile_sensor_data)
        self.ear = self.create_publisher(Float32MultiArray, "/sound", qos_profile_sensor_data)
        self.create_subscription(JointTrajectory, "/command", self._on_command, 1000)
        self.create_timer(0.02, self._publish)

    def _on_command(self, message: JointTrajectory) -> None:
        self.position = told(message, 0.02).position
        self.path.append(self.position.tolist())

    def _publish(self) -> None:
        stamp = self.get_clock().now().to_msg()
        joints = JointState(name=["a", "b"], position=self.position.tolist())
        nose = Range(min_range=0.05, max_range=9.0, range=float(self.position[1]))
        joints.header.stamp = nose.header.stamp = stamp
        self.joints.publish(joints)
        self.nose.publish(nose)
        self.ear.publish(Float32MultiArray(data=[float(self.position[1])] * 4))


def main(arguments: list[str]) -> None:
    """Configure and activate the node, and take some of its commands."""
    own_domain()
    values: dict[str, Any] = dict(argument.split("=", 1) for argument in arguments)
    values |= {name.replace("__", "."): value for name, value in PATIENT.items()}
    with Composition() as composition:
        robot = composition.add(Outsider(composition.context))
        node = PolicyNode(
            context=composition.context,
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        )
        composition.add(node)
        assert robot.change(Transition.TRANSITION_CONFIGURE), node.refusal
        assert robot.activate(), node.refusal
        wait_for(lambda: len(robot.path) >= COMMANDS, "the commands")
        seen = sorted(node.runtime.observations.window.inputs()) if node.runtime is not None else []
        print(
            json.dumps({"path": robot.path, "inputs": seen, "invalid": node.counters()["invalid_messages"]})
        )


if __name__ == "__main__":
    main(sys.argv[1:])
