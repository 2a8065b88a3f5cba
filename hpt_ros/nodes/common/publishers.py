# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Why no message of a stream comes, as the ROS graph shows: no publisher on its topic, or none that is heard."""

from __future__ import annotations

import difflib
import itertools
import time
from enum import Enum
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible

from hpt_ros.embodiment import Stream
from hpt_ros.errors import Refusal
from hpt_ros.nodes.common.conversions import stream_qos
from hpt_ros.nodes.common.fast_dds import has_profiles, profiles_variable

LOOKED_FOR_S = (
    1.0  # an answer of the graph is used for this long: asking takes milliseconds where there are many nodes
)
NAMED = 5  # topics at most that a hint names


class Silence(str, Enum):
    """Why nothing comes."""

    NO_PUBLISHER = "stream_no_publisher"
    WRONG_TYPE = "stream_wrong_type"
    WRONG_QOS = "stream_wrong_qos"
    SILENT = "stream_silent"


class Publishers:
    """Asks the graph about the publishers of streams; not more often than makes sense."""

    def __init__(self, node: Node) -> None:
        """Ask through a node."""
        self._node = node
        self._known: dict[str, tuple[float, Refusal]] = {}

    def silence(self, stream: Stream) -> Refusal:
        """Return why no message of a stream came; its code is a `Silence`."""
        now_s = time.monotonic()
        found = self._known.get(stream.name)
        if found is None or now_s - found[0] > LOOKED_FOR_S:
            found = self._known[stream.name] = (now_s, self._look(stream))
        return found[1]

    def _look(self, stream: Stream) -> Refusal:
        topic = self._node.resolve_topic_name(stream.topic)
        subject = f"stream {stream.name!r} (topic {topic})"
        publishers = self._node.get_publishers_info_by_topic(stream.topic)
        if not publishers:
            remedy = self._similar(stream, topic)
            return Refusal(Silence.NO_PUBLISHER, subject, problem="has no publisher", remedy=remedy)
        fitting = [item for item in publishers if item.topic_type == stream.type]
        if not fitting:
            types = ", ".join(sorted({item.topic_type for item in publishers}))
            remedy = f"correct the type in the embodiment file, or the topic: {self._similar(stream, topic)}"
            return Refusal(
                Silence.WRONG_TYPE, subject, types, stream.type, remedy, problem=f"is published as {types}"
            )
        if all(_incompatible(item.qos_profile, stream) for item in fitting):
            return Refusal(
                Silence.WRONG_QOS, subject, problem="is published as best effort", expected="reliable",
                remedy="write qos: best_effort into the embodiment file, or let the driver publish reliably",
            )  # fmt: skip
        return Refusal(
            Silence.SILENT, subject, len(fitting), problem="has {value} publishers, but no message came",
            remedy=f"look at the driver and the network{transport_hint(stream)}",
        )  # fmt: skip

    def _similar(self, stream: Stream, topic: str) -> str:
        """Which topics may be meant, as the end of a sentence."""
        known = {name: types for name, types in self._node.get_topic_names_and_types() if name != topic}
        same_type = [name for name, types in known.items() if stream.type in types]
        near = difflib.get_close_matches(topic, known, n=NAMED, cutoff=0.6)
        near += [name for name in known if name.startswith(f"{topic}/") and name not in near]
        chosen = dict.fromkeys([*(name for name in near if name in same_type), *same_type, *near])
        # The graph has topics with subscriptions alone, too: this node's own.
        published = itertools.islice((name for name in chosen if self._node.count_publishers(name)), NAMED)
        listed = ", ".join(f"{name} ({', '.join(known[name])})" for name in published)
        return f"similar topics are {listed}" if listed else "no topic is similar; start its driver"


def transport_hint(stream: Stream) -> str:
    """What to do for raw images over Fast DDS as it comes, as the end of a sentence; empty where it is not that.

    Its shared memory segment of 512 KiB holds no image of 640x480: images then go in pieces, and one that is lost loses
    the image (docs/data.md).
    """
    raw = stream.type.split("/")[-1] in ("Image", "PointCloud2")
    fast_dds = rclpy.get_rmw_implementation_identifier().startswith("rmw_fastrtps")
    if not raw or not fast_dds or has_profiles():
        return ""
    return (
        f"; Fast DDS loses raw images with its default settings: set {profiles_variable()} to "
        "share/hpt_ros/config/dds/fastdds.xml for driver and node, or use compressed images"
    )


def _incompatible(offered: Any, stream: Stream) -> bool:
    compatibility, _ = qos_check_compatible(offered, stream_qos(stream))
    return bool(compatibility == QoSCompatibility.ERROR)
