# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""rosbag1 files by the reader of `rosbags`, with sizes bounded and texts of any encoding; and readers alike."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag1,
    MessageDefinition,
    MessageDefinitionFormat,
)
from rosbags.rosbag1 import Reader
from rosbags.rosbag1 import reader as reader_module
from rosbags.rosbag1.reader import Header, RecordType

from rosbag_tools.bounded import decompress
from rosbag_tools.channels import (
    IDL_ENCODINGS,
    MSG_ENCODINGS,
    NO_ENCODINGS,
    ROS1,
    Channel,
    lenient_text,
    usual_name,
    usual_topic,
)
from rosbag_tools.recovery_ros1 import CODECS


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
                self.chunks[place] = chunk._replace(decompressor=_bounded(codec))

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


def _bounded(codec: str) -> Any:
    return lambda data: decompress(data, codec)


class LibrarySource:
    """What a reader with the interface of `rosbags` reads.

    Args:
        reader: open.
        ros1: the messages are serialized as in ROS 1.
    """

    def __init__(self, reader: Any, *, ros1: bool) -> None:
        self._reader = reader
        schemas = {
            MessageDefinitionFormat.MSG: MSG_ENCODINGS[ros1],
            MessageDefinitionFormat.IDL: IDL_ENCODINGS[0],
            MessageDefinitionFormat.NONE: NO_ENCODINGS[0],
        }
        self._connections: dict[Channel, Connection] = {}
        for item in reader.connections:
            encoding = ROS1 if ros1 else item.ext.serialization_format
            channel = Channel(
                usual_topic(item.topic), usual_name(item.msgtype), encoding, schemas[item.msgdef.format],
                item.msgdef.data, item.digest, item.msgcount,
            )  # fmt: skip
            self._connections[channel] = item
        self.channels = list(self._connections)
        self.message_count: int = reader.message_count
        self.start_ns: int = reader.start_time if self.message_count else 0
        self.end_ns: int = reader.end_time - 1 if self.message_count else 0

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
