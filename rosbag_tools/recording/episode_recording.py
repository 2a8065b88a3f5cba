# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One episode on its way into a rosbag2 MCAP bag: serialized messages straight through, never deserialised.

The file is safe against a killed process as far as complete chunks go: one is written every second of log time, and the
first messages say which robot and which task it is. What a crash costs is that last second, the index and the
metadata; `hpt convert --recover` reads the rest.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys.store import Typestore

import rosbag_tools
from hpt_ros.errors import Code
from hpt_ros.observation.time_series import nanoseconds
from rosbag_tools.bag_schema import KEY_VERSION
from rosbag_tools.errors import BagError

# How much log time a killed recorder may lose.
FLUSH_S = 1.0
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_NO_TIME = QosTime(0, 0)
_CHUNK_OPCODE = 0x06  # of MCAP


@dataclass(frozen=True)
class RecordedTopic:
    """A topic to record.

    Attributes:
        type: message type.
        reliable: its publishers resend what was lost.
        latched: its publishers keep the last message for those who come late.
    """

    type: str
    reliable: bool = True
    latched: bool = False


@dataclass
class EpisodeRecording:
    """An episode that is being written.

    Args:
        folder: where the bag's folder goes.
        name: the bag's folder; also the episode's name.
        topics: topic name to what is known about it.
        types: definitions of their message types.
        metadata: custom data known from the start.

    Raises:
        BagError: the bag is there already, or cannot be written.
    """

    folder: Path
    name: str
    topics: Mapping[str, RecordedTopic]
    types: Typestore
    metadata: Mapping[str, str]
    counts: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if not _SAFE_NAME.fullmatch(self.name):
            raise BagError(
                Code.INVALID, "the episode's name", self.name[:60], problem="{value} is no plain file name",
                remedy="use letters, digits, '_', '-' and '.'",
            )  # fmt: skip
        self.path = self.folder / self.name
        self._connections: dict[str, Connection] = {}
        self._flushed_ns = -1
        with self._one_sentence():
            self._writer = Writer(self.path, version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            self._writer.open()
            for key, value in {KEY_VERSION: rosbag_tools.__version__, **self.metadata}.items():
                self._writer.set_custom_data(key, value)
            for topic, entry in self.topics.items():
                self.add_topic(topic, entry)

    def add_topic(self, name: str, topic: RecordedTopic, types: Typestore | None = None) -> None:
        """Record one more topic from now on.

        Args:
            name, topic: of it.
            types: definitions of its type; those that were given at first if None.
        """
        with self._one_sentence():
            self._connections[name] = self._writer.add_connection(
                name, topic.type, typestore=types or self.types, offered_qos_profiles=[_qos(topic)]
            )
        self.counts[name] = 0

    def write(self, topic: str, log_ns: int, data: bytes) -> None:
        """Write a serialized message (CDR, with its four bytes of encapsulation) at a log time.

        Raises:
            BagError: the disk is full, or the topic was not announced.
        """
        with self._one_sentence():
            self._writer.write(self._connections[topic], log_ns, data)
            self.counts[topic] += 1
            if self._flushed_ns < 0:
                self._flushed_ns = log_ns
            elif abs(log_ns - self._flushed_ns) >= nanoseconds(FLUSH_S):
                self._flush()
                self._flushed_ns = log_ns

    def finish(self, metadata: Mapping[str, str]) -> Path:
        """Write index and metadata, with these additions to the custom data, and return the bag's folder.

        Raises:
            BagError: the disk is full; what was written stays, readable with --recover.
        """
        with self._one_sentence():
            for key, value in metadata.items():
                self._writer.set_custom_data(key, value)
            storage: Any = self._writer.storage
            self._writer.close()
            self._check(storage.path)
        return self.path

    def _check(self, file: Path) -> None:
        """Force the file to disk, and raise BagError unless every chunk is there and the counts are those written.

        Chunks are not decompressed: the index says what they hold, and their heads on the disk say that they are there.
        """
        with file.open("r+b") as stored:
            os.fsync(stored.fileno())
        with Reader(file) as reader, file.open("rb") as stored:
            there = dict.fromkeys(self.counts, 0)
            names = {connection.id: connection.topic for connection in reader.connections}
            index: Any = reader.storage
            for chunk in index.chunks:
                stored.seek(chunk.chunk_start_offset)
                head = struct.unpack("<BQ", stored.read(9))
                if head != (_CHUNK_OPCODE, chunk.chunk_length - 9):
                    raise BagError(
                        Code.DAMAGED, f"bag {str(self.path)!r}", chunk.chunk_start_offset,
                        problem="lacks the chunk at byte {value}", remedy="check the disk",
                    )  # fmt: skip
                for number, count in chunk.channel_count.items():
                    there[names[number]] += count
        for topic, count in self.counts.items():
            if there[topic] != count:
                raise BagError(
                    Code.DAMAGED, f"bag {str(self.path)!r}", there[topic],
                    problem=f"has {{value}} messages of {topic}, but {count} were written",
                    remedy="copy what you need of it with --recover, and check the disk",
                )  # fmt: skip

    def discard(self) -> None:
        """Stop and delete the bag."""
        self._writer.abort()
        shutil.rmtree(self.path, ignore_errors=True)

    def abort(self) -> None:
        """Stop without an index; what was written stays, readable with --recover."""
        self._writer.abort()

    @property
    def messages(self) -> int:
        """Messages written so far."""
        return sum(self.counts.values())

    def _flush(self) -> None:
        # rosbags ends a chunk at 1 MiB only, which is minutes of joint states; its MCAP storage can end one earlier.
        storage: Any = self._writer.storage
        storage.close_chunk()
        storage.bio.flush()

    @contextlib.contextmanager
    def _one_sentence(self) -> Iterator[None]:
        try:
            yield
        except BagError:
            raise
        except KeyError as error:
            raise BagError(
                Code.UNKNOWN, f"bag {str(self.path)!r}", str(error),
                problem=f"was given a message of the unknown topic {error}", remedy="announce it first",
            ) from error  # fmt: skip
        except Exception as error:
            text = " ".join(str(error).split())[:200] or type(error).__name__
            raise BagError(
                Code.UNWRITABLE, f"bag {str(self.path)!r}", cause=text,
                remedy="check the disk's space and the folder's rights",
            ) from error  # fmt: skip


def _qos(topic: RecordedTopic) -> Qos:
    """The publishers' quality of service, so that playing the bag offers the same."""
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=10,
        reliability=QosReliability.RELIABLE if topic.reliable else QosReliability.BEST_EFFORT,
        durability=QosDurability.TRANSIENT_LOCAL if topic.latched else QosDurability.VOLATILE,
        deadline=_NO_TIME,
        lifespan=_NO_TIME,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_NO_TIME,
        avoid_ros_namespace_conventions=False,
    )
