# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An MCAP file of any profile, in chunks or not, read in the order of log time.

Memory holds the chunks that overlap in time, and 32 bytes for each message outside chunks.
"""

from __future__ import annotations

import heapq
import struct
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from hpt_ros.errors import Code
from rosbag_tools.errors import BagError
from rosbag_tools.reading.channels import Channel, Integers, usual_name, usual_topic
from rosbag_tools.reading.mcap_index import (
    MESSAGE,
    MESSAGE_HEAD,
    RECORD,
    Chunk,
    Index,
    SchemaRecord,
    message_indexes,
    unpack_chunk,
)
from rosbag_tools.reading.safe_decompress import MOST_HELD_BYTES

_HEAD = struct.Struct("<BQH4xQ")  # of a message record: opcode, length, channel, log time
_RECORD_HEAD = 9
_END_NS = 1 << 64
_NO_SCHEMA = SchemaRecord("", "", "")

Entry = tuple[Channel, int, bytes]  # with the log time


class McapSource:
    """Messages of an MCAP file; close it, or use it in a ``with`` statement.

    Args:
        path: the file.
        index: of the file, see `rosbag_tools.reading.mcap_index`.

    Raises:
        BagError: chunks that overlap in time would fill the memory.
    """

    def __init__(self, path: Path, index: Index) -> None:
        check_chunks(index.chunks)
        self._chunks = index.chunks
        table: NDArray[np.uint64] = np.frombuffer(index.loose, np.uint64).reshape(-1, 4)
        self._loose = table[np.argsort(table[:, 0], kind="stable")]
        self._channels: dict[int, Channel] = {}
        for number, record in index.channels.items():
            schema = index.schemas.get(record.schema, _NO_SCHEMA)
            self._channels[number] = Channel(
                usual_topic(record.topic), usual_name(schema.name), record.encoding, schema.encoding, schema.text, "",
                index.counts[number],
            )  # fmt: skip
        self.channels = list(self._channels.values())
        self.message_count = sum(channel.count for channel in self.channels)
        self.start_ns, self.end_ns = index.first_ns, index.last_ns
        self._file: BinaryIO = path.open("rb")

    def __enter__(self) -> McapSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def log_times(self) -> dict[Channel, Integers]:
        """As `Source.log_times`: message indexes are read, and no chunk."""
        found: dict[int, list[tuple[int, Integers]]] = {}
        for chunk in self._chunks:
            for number, times in self._times_in(chunk):
                found.setdefault(number, []).append((chunk.start, times.astype(np.int64)))
        for log_ns, number, place, _ in self._loose.tolist():
            found.setdefault(number, []).append((place, np.array([log_ns], dtype=np.uint64).astype(np.int64)))
        return {
            self._channels[number]: np.concatenate([part for _, part in sorted(parts, key=itemgetter(0))])
            for number, parts in found.items()
            if number in self._channels
        }

    def _times_in(self, chunk: Chunk) -> Iterator[tuple[int, NDArray[np.uint64]]]:
        if chunk.times:
            for number, times in chunk.times.items():
                yield number, np.frombuffer(times, np.uint64)
        elif chunk.behind:
            self._file.seek(chunk.start + chunk.length)
            yield from message_indexes(self._file.read(chunk.behind))

    def messages(
        self, channels: Collection[Channel], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[Channel, int, bytes]]:
        """Channel, log time and bytes of messages in the order of log time; `stop_ns` is exclusive.

        Raises:
            ValueError, OSError, BagError: a chunk is damaged.
        """
        asked = set(channels)
        wanted = {number: item for number, item in self._channels.items() if item in asked}
        span = (start_ns or 0, _END_NS if stop_ns is None else stop_ns)
        parts: list[tuple[int, int, Callable[[], Iterator[Entry]]]] = [
            (chunk.first_ns, chunk.start, partial(self._in_chunk, chunk, wanted, span))
            for chunk in self._chunks
            if chunk.last_ns >= span[0]
            and chunk.first_ns < span[1]
            and (not chunk.channels or not chunk.channels.isdisjoint(wanted))
        ]
        if len(self._loose):
            parts.append((int(self._loose[0, 0]), 0, partial(self._outside_chunks, wanted, span)))
        yield from _merge(parts)

    def _in_chunk(
        self, chunk: Chunk, wanted: Mapping[int, Channel], span: tuple[int, int]
    ) -> Iterator[Entry]:
        data = self._content(chunk)
        found: list[tuple[int, int, int, int]] = []
        place, end, (first, stop) = 0, len(data), span
        while place + _HEAD.size <= end:
            opcode, length, number, log_ns = _HEAD.unpack_from(data, place)
            following = place + _RECORD_HEAD + length
            if opcode == MESSAGE and length >= MESSAGE_HEAD and number in wanted and first <= log_ns < stop:
                found.append((log_ns, number, place + _RECORD_HEAD + MESSAGE_HEAD, following))
            place = following
        if place + _RECORD_HEAD <= end:  # a last record that is shorter than a message
            place += _RECORD_HEAD + RECORD.unpack_from(data, place)[1]
        if place != end:
            raise ValueError("a record goes beyond its chunk")
        found.sort(key=itemgetter(0))
        for log_ns, number, at, following in found:
            yield wanted[number], log_ns, bytes(data[at:following])

    def _content(self, chunk: Chunk) -> bytes | memoryview:
        if chunk.data is not None:
            return chunk.data
        self._file.seek(chunk.start)
        data = unpack_chunk(self._file.read(chunk.length))
        if len(data) != chunk.size:
            raise ValueError(f"a chunk has {len(data)} bytes, but its index lists {chunk.size}")
        return data

    def _outside_chunks(self, wanted: Mapping[int, Channel], span: tuple[int, int]) -> Iterator[Entry]:
        for log_ns, number, place, length in self._loose.tolist():
            if number in wanted and span[0] <= log_ns < span[1]:
                self._file.seek(place)
                yield wanted[number], log_ns, self._file.read(length)


def _merge(parts: list[tuple[int, int, Callable[[], Iterator[Entry]]]]) -> Iterator[Entry]:
    """Entries of several parts in the order of time; a part is opened when its time comes.

    Args:
        parts: first time, a number that no other has, and what opens it.
    """
    waiting = deque(sorted(parts, key=itemgetter(0, 1)))
    heap: list[tuple[int, int, Entry, Iterator[Entry]]] = []
    while waiting or heap:
        while waiting and (not heap or waiting[0][0] <= heap[0][0]):
            _, number, open_part = waiting.popleft()
            rest = open_part()
            for entry in rest:
                heapq.heappush(heap, (entry[1], number, entry, rest))
                break
        if not heap:
            continue
        _, number, entry, rest = heapq.heappop(heap)
        yield entry
        # Most chunks do not overlap: the rest of one comes before everything else.
        limit = min(heap[0][0] if heap else _END_NS, waiting[0][0] if waiting else _END_NS)
        for entry in rest:
            if entry[1] >= limit:
                heapq.heappush(heap, (entry[1], number, entry, rest))
                break
            yield entry


def check_chunks(chunks: Collection[Chunk]) -> None:
    """Raise BagError if the chunks that overlap in time, which are held at once, are too large."""
    events = []
    for chunk in chunks:
        events.append((chunk.first_ns, chunk.size))
        events.append((chunk.last_ns + 1, -chunk.size))
    held = 0
    for _, size in sorted(events):
        held += size
        if held > MOST_HELD_BYTES:
            raise BagError(
                Code.OUT_OF_RANGE, "chunks", MOST_HELD_BYTES, problem="of more than {value} bytes overlap in time",
                remedy="the file is damaged or hostile, or was written without regard to time: sort it first",
            )  # fmt: skip
