# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A gamepad or a SpaceMouse through sensor_msgs/Joy, as joy_node and spacenav publish it."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from types import TracebackType

from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Joy

from hpt_ros.nodes.common.composition import Composition

Said = tuple[Sequence[float], Sequence[int]]


class JoyTopic:
    """Axes and buttons as they come. Use as a context manager."""

    def __init__(self, topic: str) -> None:
        """Subscribe when it is entered."""
        self._topic = topic
        self._composition = Composition()
        self.said: queue.SimpleQueue[Said] = queue.SimpleQueue()

    def __enter__(self) -> JoyTopic:
        self._composition.__enter__()
        node = Node("teleop_joy", context=self._composition.context)
        node.create_subscription(
            Joy, self._topic, lambda message: self.said.put((message.axes, message.buttons)), qos_profile_sensor_data
        )  # fmt: skip
        self._composition.add(node)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._composition.__exit__(kind, error, trace)
