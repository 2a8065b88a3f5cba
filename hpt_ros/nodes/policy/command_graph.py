# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Who takes the commands and who else sends some: what the graph shows of the topics that a policy node commands."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from hpt_ros.control.link import CommandTopic
from hpt_ros.nodes.common.parameter_files import matches

# A look at the entire graph takes about 0.13 ms a topic (rclpy 9.1.2, Fast DDS), the count of matched subscribers 1 us:
# the one is asked for each 0.2 s and when the other changes, which is asked for each period.
LOOK_S = 0.2
# Nodes that subscribe to commands and move nothing: recorders, and tools that show. `ros2 topic echo` is _ros2cli_PID.
OBSERVERS = ("recorder_node", "rosbag2_recorder", "foxglove_bridge", "rosbridge_websocket", "plotjuggler")
OBSERVERS_BEGIN = ("_ros2cli", "rqt_", "rosbag2_")
# What rmw calls a node whose endpoint was discovered before its name.
_UNNAMED = "_NODE_NAME_UNKNOWN_"


class CommandGraph:
    """Looks at the graph for one node; not thread-safe."""

    def __init__(self, node: Node, publishers: Sequence[Any], permitted: Sequence[str]) -> None:
        """Look for `node`, whose commands go out by `publishers`; `permitted` are full names of nodes, or patterns."""
        self._node, self._publishers, self._permitted = node, tuple(publishers), tuple(permitted)
        self._looked_s, self._matched = 0.0, [-1]  # nothing yet
        self._found: dict[str, tuple[bool, tuple[str, ...], tuple[str, ...]]] = {}
        self._unnamed: set[str] = set()  # topics with a publisher without a name at the last look

    def look(self) -> list[CommandTopic]:
        """What there is now; once a period."""
        now_s, matched = time.monotonic(), [item.get_subscription_count() for item in self._publishers]
        if matched != self._matched or now_s - self._looked_s >= LOOK_S:
            self._matched, self._looked_s = matched, now_s
            self._found = {publisher.topic_name: self._ask(publisher) for publisher in self._publishers}
        topics = []
        for publisher, count in zip(self._publishers, matched, strict=True):
            mover, listening, rivals = self._found[publisher.topic_name]
            topics.append(CommandTopic(publisher.topic_name, count > 0 and mover, listening, rivals))
        return topics

    def _ask(self, publisher: Any) -> tuple[bool, tuple[str, ...], tuple[str, ...]]:
        """Whether a subscriber may move the robot, all subscribers, and who else publishes."""
        topic = publisher.topic_name
        infos = self._node.get_subscriptions_info_by_topic(topic)
        heard = [_full_name(info) for info in infos]
        mover = any(_receives(info, publisher) and not _observes(_full_name(info)) for info in infos)
        sources = Counter(_full_name(info) for info in self._node.get_publishers_info_by_topic(topic))
        sources.subtract({self._node.get_fully_qualified_name(): 1})  # a twin of the same name is another
        rivals = [
            name
            for name, count in sources.items()
            if count > 0 and not any(matches(permitted, name) for permitted in self._permitted)
        ]
        unnamed = [name for name in rivals if _UNNAMED in name]
        if unnamed and topic not in self._unnamed:
            self._unnamed.add(topic)  # its name may be there the next time
            rivals = [name for name in rivals if name not in unnamed]
        elif not unnamed:
            self._unnamed.discard(topic)
        return mover, tuple(dict.fromkeys(heard)), tuple(self._describe(name) for name in rivals)

    def _describe(self, name: str) -> str:
        if _UNNAMED in name:
            return "a node without a name"
        own = name == self._node.get_fully_qualified_name()
        return f"another node of the name {name}" if own else f"node {name}"


def _full_name(info: Any) -> str:
    return f"{str(info.node_namespace).rstrip('/')}/{info.node_name}"


def _receives(info: Any, publisher: Any) -> bool:
    """Whether a subscription's quality of service fits ours, in what usually does not; the middleware sees to the rest.

    rclpy's `qos_check_compatible` compares discovered deadlines (infinite) with unset ones, and finds none compatible.
    """
    wanted, offered = info.qos_profile, publisher.qos_profile
    return not (
        (wanted.reliability == ReliabilityPolicy.RELIABLE != offered.reliability)
        or (wanted.durability == DurabilityPolicy.TRANSIENT_LOCAL != offered.durability)
    )


def _observes(name: str) -> bool:
    base = name.rpartition("/")[2]
    return base in OBSERVERS or base.startswith(OBSERVERS_BEGIN)
