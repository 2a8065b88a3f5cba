# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a configured policy node is connected to: streams, the deadman's switch, the robot's commands and chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from rclpy.exceptions import ParameterException
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import InvalidQosOverridesError, QoSOverridingOptions
from std_msgs.msg import Bool, Float64

from hpt_msgs.msg import ActionChunk
from hpt_ros.control import Command, Controller
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.nodes.common.conversions import (
    stream_message_type,
    stream_qos,
    to_action_chunk,
)
from hpt_ros.nodes.common.parameters import QOS_OVERRIDES
from hpt_ros.nodes.policy.command_graph import CommandGraph
from hpt_ros.nodes.policy.goals import GoalSender
from hpt_ros.nodes.policy.outputs import make_senders
from hpt_ros.nodes.policy.topic_callbacks import TopicCallbacks
from hpt_ros.observation import InvalidSampleError
from hpt_ros.observation.transforms import TransformChain
from hpt_ros.runtime.inference_worker import Result
from hpt_ros.runtime.policy_config import OutputsConfig

COMMANDS_QUEUED = 10
# How often a velocity of zero is sent once more, ours: a base that hears best effort may miss some.
ZEROS_REPEATED = 10
LOG_PERIOD_S = 5.0
# Of tf2's static broadcaster, which may have sent everything before this node began.
STATIC_QOS = QoSProfile(
    depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)


class RosInterfaces:
    """Publishers and subscriptions from configure to cleanup."""

    def __init__(
        self,
        node: LifecycleNode,
        robot: Embodiment,
        outputs: OutputsConfig,
        callbacks: TopicCallbacks,
        *,
        deadman_topic: str = "",
        speed_topic: str = "",
    ) -> None:
        """Connect; on the thread of the node's executor.

        Args:
            node: that talks.
            robot: says which streams and which command's topic, by the names of its file.
            outputs: further forms of the command.
            callbacks: called with what comes.
            deadman_topic: of the deadman's switch; empty if there is none.
            speed_topic: of the robot's speed scaling; empty if there is none.

        Raises:
            HptError: as of `make_senders`, or an override of a quality of service that cannot be used. Nothing stays
                connected then, nor after any other exception.
        """
        self._node, self._robot, self._permitted = node, robot, outputs.permitted_publishers
        self._senders = make_senders(robot, outputs, node.resolve_topic_name)
        self._entities: list[tuple[Callable[[Any], Any], Any]] = []  # how to destroy, what
        self._goals: list[GoalSender] = []
        self._last: Command | None = None
        self._zeros = 0  # of a command that stands, still to be repeated
        try:
            self._connect(callbacks)
            # Best effort takes messages of any publisher; one that is lost is missed after deadman.timeout_s.
            qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
            if deadman_topic:
                self._subscribe(Bool, deadman_topic, callbacks.deadman, qos)
            if speed_topic:
                self._subscribe(Float64, speed_topic, callbacks.speed, qos)
        except BaseException:
            self.close()
            raise

    def _connect(self, callbacks: TopicCallbacks) -> None:
        actions = [sender for sender in self._senders if sender.output.is_action]
        plain = [sender for sender in self._senders if sender not in actions]
        self._outputs = [(sender, self._publisher(sender.kind, sender.topic)) for sender in plain]
        commanding = [publisher for _, publisher in self._outputs]
        for sender in actions:
            self._goals.append(GoalSender(self._node, sender, callbacks.goal, self._permitted))
            if sender.output.recorded is None:
                target = sender.target()
                self._outputs.append((target, self._publisher(target.kind, target.topic)))
        self._graph = CommandGraph(self._node, commanding, self._permitted)
        self._chunks = self._publisher(ActionChunk, "~/chunk")
        for stream in self._robot.streams:
            # rcl applies remappings to the name that it is given, once; people see the topic that it became.
            resolved = replace(stream, topic=self._node.resolve_topic_name(stream.topic))
            take = partial(callbacks.message, resolved)
            if stream.frame:
                take = partial(self._on_transform, TransformChain(stream), take)
                self._subscribe(stream_message_type(stream), stream.static_topic, take, STATIC_QOS)
            self._subscribe(stream_message_type(stream), stream.topic, take, stream_qos(stream))

    def _on_transform(self, chain: TransformChain, take: Callable[[Any], None], message: Any) -> None:
        """Give on the pose that a message of transforms makes known; a node's executor calls one callback at a time."""
        try:
            pose = chain.take(message)
        except InvalidSampleError as error:
            self._node.get_logger().warning(str(error), throttle_duration_sec=LOG_PERIOD_S)
            return
        if pose is not None:
            take(pose)
        elif problem := chain.problem():
            stream = chain.stream
            self._node.get_logger().warning(
                f"stream {stream.name!r} (topic {stream.topic}) has no pose: {problem}",
                throttle_duration_sec=LOG_PERIOD_S,
                skip_first=True,  # the other of the two topics comes a moment later
            )

    @property
    def topics(self) -> str:
        """Where commands go, for people."""
        names = [publisher.topic_name for _, publisher in self._outputs]
        return ", ".join([*names, *(f"the action {goals.name}" for goals in self._goals)])

    def poll(self, controller: Controller) -> None:
        """Tell who takes the commands and who else sends some; once a period."""
        controller.note_graph(
            self._graph.look(),
            [goals.name for goals in self._goals if not goals.taken],
            {goals.name: goals.rivals.names() for goals in self._goals},
        )

    def begin(self) -> None:
        """An activation begins."""
        self._last = None
        for goals in self._goals:
            goals.begin()

    def send(self, command: Command, now_ns: int) -> None:
        """Publish a command on each output, and send goals where targets moved."""
        for sender, publisher in self._outputs:
            publisher.publish(sender.message(command, now_ns))
        for goals in self._goals:
            goals.send(command, now_ns)
        self._last, self._zeros = command, ZEROS_REPEATED

    def repeat_zeros(self, now_ns: int) -> bool:
        """Publish velocities that became zero some more times, once a period without a command.

        Returns:
            Whether there are more to come.
        """
        last = self._last
        standing = [] if last is None else [item for item in self._outputs if item[0].stands(last)]
        if last is None or not standing or not self._zeros:
            return False
        for sender, publisher in standing:
            publisher.publish(sender.message(last, now_ns))
        self._zeros -= 1
        return self._zeros > 0

    def send_chunk(self, result: Result, now_ns: int) -> None:
        """Publish a chunk as the policy gave it."""
        self._chunks.publish(to_action_chunk(result, self._robot, now_ns))

    def close(self) -> None:
        """Release everything."""
        while self._goals:
            self._goals.pop().close()
        for destroy, entity in self._entities:
            destroy(entity)
        self._entities.clear()

    def _publisher(self, kind: Any, topic: str) -> Any:
        with _unusable_overrides(topic):
            publisher = self._node.create_lifecycle_publisher(
                kind,
                topic,
                COMMANDS_QUEUED,
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        self._entities.append((self._node.destroy_lifecycle_publisher, publisher))
        return publisher

    def _subscribe(self, kind: Any, topic: str, callback: Callable[[Any], None], qos: QoSProfile) -> None:
        with _unusable_overrides(topic):
            subscription = self._node.create_subscription(
                kind,
                topic,
                callback,
                qos,
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        self._entities.append((self._node.destroy_subscription, subscription))


@contextmanager
def _unusable_overrides(topic: str) -> Iterator[None]:
    """Say what is wrong with parameters ``qos_overrides.TOPIC...``: rclpy raises whatever comes."""
    try:
        yield
    except (RuntimeError, ParameterException, InvalidQosOverridesError) as error:
        sentence = " ".join(str(error).split())
        raise HptError(
            Code.UNSUPPORTED, f"a quality of service for {topic}", problem=f"cannot be used ({sentence})",
            remedy=f"correct the parameters {QOS_OVERRIDES}{topic}.*",
        ) from error  # fmt: skip
