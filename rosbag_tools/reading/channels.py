# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What every storage format gives: channels, and their messages as bytes in the order of log time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

CDR, ROS1 = "cdr", "ros1"
# How a storage names the language of a definition; an empty name and "unknown" (rosbag2) stand for no definition.
MSG_ENCODINGS, IDL_ENCODINGS, NO_ENCODINGS = ("ros2msg", "ros1msg"), ("ros2idl", "omgidl"), ("", "unknown")


@dataclass(frozen=True, slots=True, eq=False)
class Channel:
    """Messages of one topic that share a type and its definition.

    Attributes:
        topic: its topic, as `usual_topic` writes it.
        type: message type, as `usual_name` writes it.
        encoding: of its messages: `CDR`, `ROS1`, or one that is not read.
        schema: language of the definition, see `MSG_ENCODINGS`.
        definition: text of the type's definition; empty without one.
        digest: hash of the type as the storage states it; empty without one.
        count: messages, as the storage states it.
    """

    topic: str
    type: str
    encoding: str
    schema: str
    definition: str
    digest: str
    count: int


class BagSource(Protocol):
    """One storage file."""

    @property
    def channels(self) -> Sequence[Channel]:
        """All of them, those without messages too."""

    @property
    def message_count(self) -> int:
        """Messages that it lists."""

    @property
    def start_ns(self) -> int:
        """Log time of the first message; undefined without messages."""

    @property
    def end_ns(self) -> int:
        """Log time of the last message; undefined without messages."""

    def log_times(self) -> Mapping[Channel, Integers]:
        """Log times of each channel's messages in the order of the file; none where nothing tells it."""

    def messages(
        self, channels: Collection[Channel], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[Channel, int, Any]]:
        """Channel, log time and bytes of messages in the order of log time; `stop_ns` is exclusive."""


def usual_name(type_: str) -> str:
    """A ROS type's name with three parts, from its forms in ROS 1 and in DDS; every other name as it is.

    ``sensor_msgs/Image``, ``sensor_msgs::msg::Image`` and ``sensor_msgs::msg::dds_::Image_`` are
    ``sensor_msgs/msg/Image``.
    """
    parts = type_.replace("::", "/").split("/")
    if len(parts) > 2 and parts[-2] == "dds_" and parts[-1].endswith("_"):
        parts = [*parts[:-2], parts[-1][:-1]]
    if len(parts) == 2:
        parts.insert(1, "msg")
    return "/".join(parts) if len(parts) == 3 and all(part.isidentifier() for part in parts) else type_


def usual_topic(name: str) -> str:
    """A topic's absolute name: scripts record ``cam/image``, ``/cam/image/`` and ``//cam/image`` for ``/cam/image``."""
    parts = [part for part in name.split("/") if part]
    return "/" + "/".join(parts) if parts else name


def lenient_text(data: bytes) -> str:
    """Text of a definition or a name. Comments may be in any encoding; what is not UTF-8 is replaced."""
    return data.decode("utf-8", "replace")
