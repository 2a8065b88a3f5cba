"""What a configured policy node is connected to: streams, the deadman's switch, the robot's commands and chunks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool

from hpt_msgs.msg import ActionChunk
from hpt_ros.control import Command
from hpt_ros.embodiment import Embodiment, Stream
from hpt_ros.nodes.conversions import (
    stream_message_type,
    stream_qos,
    to_action_chunk,
)
from hpt_ros.nodes.inference import Result
from hpt_ros.nodes.outputs import make_senders
from hpt_ros.nodes.policy_config import OutputsConfig

COMMANDS_QUEUED = 10


class Connections:
    """Publishers and subscriptions from configure to cleanup."""

    def __init__(
        self,
        node: LifecycleNode,
        robot: Embodiment,
        outputs: OutputsConfig,
        deadman_topic: str,
        *,
        on_message: Callable[[Stream, Any], None],
        on_deadman: Callable[[Any], None],
    ) -> None:
        """Connect.

        Args:
            node: that talks.
            robot: says which streams and which command's topic.
            outputs: further forms of the command.
            deadman_topic: of the deadman's switch; empty if there is none.
            on_message: called with a stream and its message.
            on_deadman: called with the switch's message.

        Raises:
            HptError: as of `make_senders`.
        """
        self._node, self._robot = node, robot
        self._senders = make_senders(robot, outputs)
        self._entities: list[tuple[Callable[[Any], Any], Any]] = []  # how to destroy, what
        self._outputs = [(sender, self._publisher(sender.kind, sender.topic)) for sender in self._senders]
        self._chunks = self._publisher(ActionChunk, "~/chunk")
        for stream in robot.streams:
            subscription = node.create_subscription(
                stream_message_type(stream), stream.topic, partial(on_message, stream), stream_qos(stream)
            )
            self._entities.append((node.destroy_subscription, subscription))
        if deadman_topic:
            # Best effort takes messages of any publisher; one that is lost is missed after deadman.timeout_s.
            qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
            switch = node.create_subscription(Bool, deadman_topic, on_deadman, qos)
            self._entities.append((node.destroy_subscription, switch))

    @property
    def topics(self) -> str:
        """Where commands go, for people."""
        return ", ".join(sender.topic for sender in self._senders)

    def send(self, command: Command, now_ns: int) -> None:
        """Publish a command on each output."""
        for sender, publisher in self._outputs:
            publisher.publish(sender.message(command, now_ns))

    def send_chunk(self, result: Result, now_ns: int) -> None:
        """Publish a chunk as the policy gave it."""
        self._chunks.publish(to_action_chunk(result, self._robot, now_ns))

    def close(self) -> None:
        """Let go of everything."""
        for destroy, entity in self._entities:
            destroy(entity)
        self._entities.clear()

    def _publisher(self, kind: Any, topic: str) -> Any:
        publisher = self._node.create_lifecycle_publisher(kind, topic, COMMANDS_QUEUED)
        self._entities.append((self._node.destroy_lifecycle_publisher, publisher))
        return publisher
