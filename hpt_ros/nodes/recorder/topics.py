# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the recorder subscribes to, and how: each topic as its publishers offer it, as serialized bytes."""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.streams import check_topic
from hpt_ros.errors import Code, HptError
from rosbag_tools.errors import BagError
from rosbag_tools.recording.definitions import load_installed_types
from rosbag_tools.recording.episode_recording import RecordedTopic

# What may wait while one message is written: this long a stretch of a topic, in this many messages.
QUEUE_S, LEAST_DEPTH, MOST_DEPTH = 2.0, 10, 1000


def as_offered(type_: str, offered: Sequence[QoSProfile]) -> RecordedTopic:
    """A topic as its publishers offer it: what all of them promise, since a subscription that asks for more of one of
    them gets nothing from it.
    """
    return RecordedTopic(
        type=type_,
        reliable=all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in offered),
        latched=all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offered),
    )


def queue_depth(rate_hz: float) -> int:
    """Messages that may wait, for a topic of this rate; infinite for one whose rate is unknown."""
    return MOST_DEPTH if rate_hz * QUEUE_S >= MOST_DEPTH else max(LEAST_DEPTH, math.ceil(rate_hz * QUEUE_S))


def read_promised_rates(embodiment: Embodiment) -> dict[str, float]:
    """Rates in Hz that an embodiment file promises, by topic.

    A gripper's commands come when they like, and joints that are published only while they move.
    """
    rates = {stream.topic: stream.rate_hz for stream in embodiment.streams if not stream.holding}
    action = embodiment.action
    return rates | {
        part.recorded_as.topic: action.rate_hz for part in action.parts if not action.gripper_only(part)
    }


class RecorderTopics:
    """Subscriptions of a recorder, made and remade as publishers come and go.

    Args:
        node: which subscribes.
        rates_hz: promised rates by absolute topic, which say how many messages may wait; may be filled later.
        on_message: called with a topic and a message's bytes (CDR, with its four bytes of encapsulation).
        on_lost: called with a topic and how many of its messages the middleware gave up.
    """

    def __init__(
        self,
        node: Node,
        rates_hz: Mapping[str, float],
        on_message: Callable[[str, bytes], None],
        on_lost: Callable[[str, int], None],
    ) -> None:
        self._node, self._rates_hz = node, rates_hz
        self._on_message, self._on_lost = on_message, on_lost
        self._asked: dict[str, str] = {}  # absolute name to the one that rcl is given, which it remaps once
        self._subscriptions: dict[str, Any] = {}
        self._not_installed: set[str] = set()
        self.known: dict[str, RecordedTopic] = {}

    def resolve(self, name: str) -> str:
        """The absolute name of a topic, by the node's namespace and remappings; what all else here is called with.

        Raises:
            EmbodimentError: it is no ROS 2 name; recordings may have others.
        """
        check_topic(name, "the recorder")
        topic = self._node.resolve_topic_name(name)
        self._asked[topic] = name
        return topic

    def require(self, needed: Mapping[str, str]) -> None:
        """Raise HptError unless every topic is published, with the type that is given for it."""
        offered = {
            topic: {publisher.topic_type for publisher in self._node.get_publishers_info_by_topic(topic)}
            for topic in needed
        }
        if lacking := [topic for topic, types in offered.items() if not types]:
            raise HptError(
                Code.NOT_FOUND, "no publisher", problem=f"on {', '.join(lacking)}",
                remedy="start their nodes, or correct the embodiment file",
            )  # fmt: skip
        for topic, type_ in needed.items():
            if offered[topic] != {type_}:
                raise HptError(
                    Code.MISMATCH, f"topic {topic}",
                    problem=f"is published as {', '.join(sorted(offered[topic]))}, but the embodiment file "
                    f"says {type_}", remedy="correct one of them",
                )  # fmt: skip

    def poll(self, topic: str, type_: str = "") -> None:
        """Subscribe to a topic if somebody publishes it, anew if it is offered otherwise than before.

        Args:
            topic: its name.
            type_: message type; empty for whatever is published.
        """
        publishers = self._node.get_publishers_info_by_topic(topic)
        if not type_ and publishers:
            known = self.known.get(topic)
            types = [publisher.topic_type for publisher in publishers]
            type_ = known.type if known is not None and known.type in types else types[0]
        # `require` tells of other types; of several on one topic a bag has one.
        publishers = [publisher for publisher in publishers if publisher.topic_type == type_]
        if not publishers:
            return  # an old subscription stays: the publisher may come back
        wanted = as_offered(type_, [publisher.qos_profile for publisher in publishers])
        if self.known.get(topic) == wanted or topic in self._not_installed:
            return
        try:
            load_installed_types([wanted.type])  # its definition goes into the bag
            self._subscribe(topic, wanted)
        except (ImportError, AttributeError, BagError) as error:
            self._not_installed.add(topic)
            self._node.get_logger().error(
                f"topic {topic} has the type {wanted.type}, which is not installed ({error}); it is not recorded"
            )

    def list_published(self) -> list[str]:
        """Names of all topics that somebody publishes and that are not hidden, as those of actions and services are."""
        return [
            topic
            for topic, types in self._node.get_topic_names_and_types()
            if not any(part.startswith("_") for part in topic.split("/"))
            and any("/msg/" in type_ for type_ in types)
            and self._node.count_publishers(topic)
        ]

    def renew(self) -> None:
        """Subscribe anew to latched topics, so that what they said before an episode (a task, a static transform) is
        delivered once more, into its bag.
        """
        for topic, entry in self.known.items():
            if entry.latched:
                self._subscribe(topic, entry)

    def _subscribe(self, topic: str, wanted: RecordedTopic) -> None:
        message_type = _message_class(wanted.type)
        if topic in self._subscriptions:
            self._node.destroy_subscription(self._subscriptions[topic])
        self._subscriptions[topic] = self._node.create_subscription(
            message_type,
            self._asked.get(topic, topic),
            functools.partial(self._on_message, topic),
            QoSProfile(
                history=HistoryPolicy.KEEP_LAST,
                depth=queue_depth(self._rates_hz.get(topic, math.inf)),
                reliability=ReliabilityPolicy.RELIABLE if wanted.reliable else ReliabilityPolicy.BEST_EFFORT,
                durability=DurabilityPolicy.TRANSIENT_LOCAL if wanted.latched else DurabilityPolicy.VOLATILE,
            ),
            raw=True,
            event_callbacks=SubscriptionEventCallbacks(
                message_lost=lambda info: self._on_lost(topic, int(info.total_count_change))
            ),
        )
        self.known[topic] = wanted


class HeldMessages:
    """The newest messages about joints that are published only while they move, for the beginning of an episode."""

    def __init__(self, robot: Embodiment) -> None:
        """Of a robot with absolute topics; start with none."""
        self._joints = {
            stream.topic: tuple(name.removeprefix(stream.prefix) for name in stream.holds)
            for stream in robot.streams
            if stream.holds
        }
        self._newest: dict[tuple[str, str], tuple[int, bytes]] = {}  # topic and joint to order and message
        self._count = 0

    def note_message(self, topic: str, data: bytes) -> None:
        """Note a message of any topic."""
        if topic not in self._joints:
            return
        self._count += 1
        names = deserialize_message(data, JointState).name
        for joint in self._joints[topic]:
            if joint in names:
                self._newest[topic, joint] = (self._count, data)

    def messages(self) -> list[tuple[str, bytes]]:
        """Topic and bytes of each, oldest first."""
        found = {order: (topic, data) for (topic, _), (order, data) in self._newest.items()}
        return [found[order] for order in sorted(found)]


def _message_class(type_: str) -> Any:
    package, _, name = type_.partition("/msg/")
    return getattr(importlib.import_module(f"{package}.msg"), name)
