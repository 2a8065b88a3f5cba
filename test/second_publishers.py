# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Nodes that publish what another node publishes already: joint states, and simulated time."""

from __future__ import annotations

from typing import Any

import numpy as np
from policy_rig import ROBOT
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState

from hpt_ros.nodes.common.clocks import steady_timer
from hpt_ros.nodes.common.conversions import to_time


class SecondStates(Node):
    """Another node that publishes joint states, 30 times a second."""

    def __init__(self, context: Any, pose: np.ndarray) -> None:
        super().__init__("joint_state_publisher", context=context)
        self.pose = pose
        self.states = self.create_publisher(JointState, ROBOT.state_streams[0].topic, 10)
        steady_timer(self, 1 / 30, self.publish)

    def publish(self) -> None:
        message = JointState(
            name=list(ROBOT.action.names)[::-1], position=self.pose[::-1].tolist()
        )  # in its own order
        message.header.stamp = self.get_clock().now().to_msg()
        self.states.publish(message)


class SimulatedClock(Node):
    """Publishes /clock 100 times a second of real time, from where it is commanded on."""

    def __init__(self, context: Any, name: str = "simulated_clock") -> None:
        super().__init__(name, context=context)
        self.now_ns, self.running = 100 * 10**9, True
        self._publisher = self.create_publisher(Clock, "/clock", 10)
        steady_timer(self, 0.01, self._tick)

    def _tick(self) -> None:
        if self.running:
            self.now_ns += 10_000_000
            self._publisher.publish(Clock(clock=to_time(self.now_ns)))
