# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""rosbag1 files by the reader of `rosbags`, with sizes bounded and texts of any encoding."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag1,
    MessageDefinition,
    MessageDefinitionFormat,
)
from rosbags.rosbag1 import Reader
from rosbags.rosbag1 import reader as reader_module
from rosbags.rosbag1.reader import Header, RecordType

from rosbag_tools.reading.channels import (
    MSG_ENCODINGS,
    ROS1,
    Channel,
    Integers,
    lenient_text,
    usual_name,
    usual_topic,
)
from rosbag_tools.reading.magic import begins_with
from rosbag_tools.reading.safe_decompress import decompress

BAG1_MAGIC = b"#ROSBAG V2.0\n"
CODECS = {"bz2": "bz2", "lz4": "lz4", "none": ""}
_MOST_FIRST_BYTES = 4096  # the first record, with its padding: https://wiki.ros.org/Bags/Format/2.0


def is_bag1(path: Path) -> bool:
    """True if the file begins like rosbag1, of whatever version."""
    return begins_with(path, BAG1_MAGIC[:9])


def bag1_is_complete(path: Path) -> bool:
    """False if the file ends before its index, whose position a recorder writes into the first record at the end."""
    with path.open("rb") as file:
        head = file.read(len(BAG1_MAGIC) + _MOST_FIRST_BYTES)
    if not head.startswith(BAG1_MAGIC):
        return True  # of a version without all this, so let the reader say so
    found = re.search(rb"index_pos=(.{8})", head, re.DOTALL)
    return found is not None and 0 < int.from_bytes(found[1], "little") < path.stat().st_size


class Bag1Reader(Reader):
    """A rosbag1 file."""

    def open(self) -> None:
        """Open it, and bound what its chunks may become: they tell how large they are, but the reader does not look."""
        super().open()
        plain: Any = vars(reader_module)["decompressors"]
        codecs = {id(function): CODECS[name] for name, function in plain.items()}
        for place, chunk in self.chunks.items():
            codec = codecs[id(chunk.decompressor)]
            if codec:
                self.chunks[place] = chunk._replace(decompressor=_bind(codec))

    def read_connection(self) -> Connection:
        """Read a connection record from the current position; a comment in its definition may be in any encoding."""
        file: Any = self.bio
        head: Any = Header.read(file, RecordType.CONNECTION)
        about: Any = Header.read(file)
        type_, digest, text = (lenient_text(about[name]) for name in ("type", "md5sum", "message_definition"))
        return Connection(
            head.get_uint32("conn"), lenient_text(head["topic"]), usual_name(type_),
            MessageDefinition(MessageDefinitionFormat.MSG, text), digest, 0, ConnectionExtRosbag1(None, None), self,
        )  # fmt: skip


def _bind(codec: str) -> Any:
    return lambda data: decompress(data, codec)


class Bag1Source:
    """Messages of a rosbag1 file.

    Args:
        reader: open.
    """

    def __init__(self, reader: Bag1Reader) -> None:
        self._reader = reader
        self._connections = {
            Channel(
                usual_topic(item.topic), usual_name(item.msgtype), ROS1, MSG_ENCODINGS[True], item.msgdef.data,
                item.digest, item.msgcount,
            ): item
            for item in reader.connections
        }  # fmt: skip
        self.channels = list(self._connections)
        self.message_count: int = reader.message_count
        self.start_ns: int = reader.start_time if self.message_count else 0
        self.end_ns: int = reader.end_time - 1 if self.message_count else 0

    def log_times(self) -> dict[Channel, Integers]:
        """As `Source.log_times`, out of the file's index."""
        return {
            channel: np.array(
                [entry.time for entry in sorted(self._reader.indexes[item.id], key=lambda entry: entry[1:])],
                dtype=np.int64,
            )
            for channel, item in self._connections.items()
            if item.id in self._reader.indexes
        }

    def messages(
        self, channels: Collection[Channel], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[Channel, int, Any]]:
        """Channel, log time and bytes of messages in the order of log time; `stop_ns` is exclusive."""
        wanted = {self._connections[channel].id: channel for channel in channels}
        connections = [self._connections[channel] for channel in channels]
        for item, log_ns, data in self._reader.messages(
            connections=connections, start=start_ns, stop=stop_ns
        ):
            yield wanted[item.id], log_ns, data
