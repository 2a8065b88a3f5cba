"""What a configured policy node is connected to: streams, the deadman's switch, the robot's commands and chunks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from hpt_msgs.msg import ActionChunk
from hpt_ros.control import Command
from hpt_ros.embodiment import Embodiment, Stream
from hpt_ros.embodiment.streams import check_topic
from hpt_ros.errors import HptError
from hpt_ros.nodes.conversions import (
    stream_message_type,
    stream_qos,
    to_action_chunk,
    to_float64_multi_array,
    to_joint_state,
    to_joint_trajectory,
)
from hpt_ros.nodes.inference import Result
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
            HptError: no output at all, two on one topic, or a topic that is no absolute name.
        """
        self._node, self._robot = node, robot
        self._topics = output_topics(robot, outputs)
        self._entities: list[tuple[Callable[[Any], Any], Any]] = []  # how to destroy, what
        self._outputs = [(convert, self._publisher(kind, topic)) for kind, topic, convert in self._topics]
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
        return ", ".join(topic for _, topic, _ in self._topics)

    def send(self, command: Command, now_ns: int) -> None:
        """Publish a command in each form."""
        for convert, publisher in self._outputs:
            publisher.publish(convert(command, self._robot.action.names, now_ns))

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


def output_topics(robot: Embodiment, outputs: OutputsConfig) -> list[tuple[Any, str, Callable[..., Any]]]:
    """Message class, topic and conversion of each form of the command.

    Raises:
        HptError: as for `Connections`.
    """
    found: list[tuple[Any, str, Callable[..., Any]]] = []
    if outputs.joint_trajectory:
        found.append((JointTrajectory, robot.action.topic, to_joint_trajectory))
    for name, kind, topic, convert in (
        ("float64_multi_array", Float64MultiArray, outputs.float64_multi_array, to_float64_multi_array),
        ("joint_state", JointState, outputs.joint_state, to_joint_state),
    ):
        if topic:
            check_topic(topic, f"the parameter outputs.{name}")
            found.append((kind, topic, convert))
    topics = [topic for _, topic, _ in found] + [stream.topic for stream in robot.streams]
    for topic in topics:
        if topics.count(topic) > 1 and topic in topics[: len(found)]:
            raise HptError(
                f"commands are to be sent to {topic!r}, also a stream's or another output's topic; name another"
            )
    if not found:
        raise HptError(
            "outputs.joint_trajectory is false and no other output has a topic, so the robot would never hear of a "
            "command; give outputs.float64_multi_array or outputs.joint_state a topic"
        )
    return found
