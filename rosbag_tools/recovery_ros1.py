# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""rosbag1 files (version 2.0) without an index, as a view that a reader accepts; nothing is copied.

A recorder writes the index last, and then its place into the file's first record, so one that was killed (its file is
called ``.bag.active``) leaves chunks and no index. The view has both, made by looking through the chunks.
Format: https://wiki.ros.org/Bags/Format/2.0 (records of a header, ``name=value`` fields, and data, each with a length
of four bytes before it, little endian).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from rosbag_tools.bounded import MOST_CHUNK_BYTES, decompress, decompress_as_far_as_it_goes
from rosbag_tools.views import Recovered, View, begins_with

MAGIC = b"#ROSBAG V2.0\n"
_MESSAGE, _BAG, _INDEX, _CHUNK, _CHUNK_INFO, _CONNECTION = 2, 3, 4, 5, 6, 7
# No header of a record is larger: it holds names and numbers, at most a topic's name.
_MOST_HEADER_BYTES = 1 << 20
CODECS = {"bz2": "bz2", "lz4": "lz4", "none": ""}


@dataclass(frozen=True)
class _Record:
    op: int
    fields: Mapping[str, bytes]
    start: int  # of the record
    data: int  # where its data begins
    length: int  # of its data

    @property
    def end(self) -> int:
        return self.data + self.length

    def number(self, name: str) -> int:
        return int.from_bytes(self.fields[name], "little")


def is_bag1(path: Path) -> bool:
    """True if the file begins like rosbag1, of whatever version."""
    return begins_with(path, MAGIC[:9])


def bag1_is_complete(path: Path) -> bool:
    """True if the file's index is where its first record says, and whole."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return True  # of a version without all this, so let the reader say so
        try:
            first = _read(file, len(MAGIC), size)
            place, records = (
                first.number("index_pos"),
                first.number("conn_count") + first.number("chunk_count"),
            )
            if not place:
                return False
            for _ in range(records):
                place = _read(file, place, size).end
        except (ValueError, KeyError):
            return False
    return place <= size


def recover_bag1(path: Path) -> Recovered:
    """Look through a file that has no index, or was cut short.

    Raises:
        ValueError: not even its first record is whole.
    """
    size = path.stat().st_size
    found = _Found()
    with path.open("rb") as file:
        first = _read(file, len(MAGIC), size)
        if first.op != _BAG or first.end > size:
            raise ValueError("not even its first record is whole")
        place = first.end
        while place < size:
            try:
                record = _read(file, place, size)
            except (ValueError, KeyError):
                break
            if record.op in (_CONNECTION, _CHUNK_INFO):
                break  # the index
            if record.end > size:
                found.salvage(file, record)
                break
            found.take(file, record)
            place = record.end
    stop, tail = found.index()
    index_at = stop + len(tail)
    tail += b"".join(found.connections.values()) + b"".join(chunk.info() for chunk in found.chunks)
    fields = {
        "op": bytes([_BAG]),
        "index_pos": struct.pack("<Q", index_at),
        "conn_count": struct.pack("<I", len(found.connections)),
        "chunk_count": struct.pack("<I", len(found.chunks)),
    }
    with path.open("rb") as file:
        head = file.read(first.start) + _padded(fields, first.end - first.start)
    stop = max(stop, first.end)
    lost = found.lost + max(0, size - max(place, stop))
    return Recovered(View(path, stop, tail, head, ".bag"), lost)


@dataclass
class _Bag1Chunk:
    start: int
    times: dict[int, list[tuple[int, int, int]]]  # by connection: second, nanosecond, offset in the chunk
    indexed: int = 0  # index records seen behind it

    def index(self) -> bytes:
        return b"".join(
            _packed(
                {
                    "op": bytes([_INDEX]),
                    "ver": struct.pack("<I", 1),
                    "conn": struct.pack("<I", connection),
                    "count": struct.pack("<I", len(entries)),
                },
                b"".join(struct.pack("<III", *entry) for entry in entries),
            )
            for connection, entries in self.times.items()
        )

    def info(self) -> bytes:
        times = [entry[:2] for entries in self.times.values() for entry in entries]
        return _packed(
            {
                "op": bytes([_CHUNK_INFO]),
                "ver": struct.pack("<I", 1),
                "chunk_pos": struct.pack("<Q", self.start),
                "start_time": struct.pack("<II", *min(times)),
                "end_time": struct.pack("<II", *max(times)),
                "count": struct.pack("<I", len(self.times)),
            },
            b"".join(
                struct.pack("<II", connection, len(entries)) for connection, entries in self.times.items()
            ),
        )


@dataclass
class _Found:
    """What an index says, gathered record by record."""

    connections: dict[int, bytes] = field(default_factory=dict)
    chunks: list[_Bag1Chunk] = field(default_factory=list)
    lost: int = 0
    end: int = 0  # behind the last chunk
    indexed_end: int = 0  # behind the last index record
    salvaged: bytes = b""

    def take(self, file: BinaryIO, record: _Record) -> None:
        """Look at a whole record of the file."""
        if record.op == _INDEX and self.chunks:
            self.chunks[-1].indexed += 1
            self.indexed_end = record.end
        elif record.op == _CHUNK:
            self._drop_unindexed()
            file.seek(record.data)
            codec = CODECS.get(record.fields["compression"].decode())
            content = file.read(record.length)
            try:
                if codec is None:
                    raise ValueError("unknown compression")
                data = decompress(content, codec, MOST_CHUNK_BYTES) if codec else content
                times = self._look(data)
            except Exception:  # whatever a decompressor says: this one chunk is lost
                self.lost += record.end - record.start
                return
            self.end = record.end
            if times:
                self.chunks.append(_Bag1Chunk(record.start, times))

    def salvage(self, file: BinaryIO, record: _Record) -> None:
        """Keep what is whole in a chunk that was cut, to stand behind the file's other chunks."""
        if record.op != _CHUNK:
            return
        file.seek(record.data)
        content = file.read(MOST_CHUNK_BYTES)
        codec = CODECS.get(record.fields["compression"].decode(errors="replace"))
        if codec is None:
            return
        data = decompress_as_far_as_it_goes(content, codec, MOST_CHUNK_BYTES)
        times = self._look(data)
        if times:
            self._drop_unindexed()
            size = struct.pack("<I", len(data))
            fields = {"op": bytes([_CHUNK]), "compression": b"none", "size": size}
            self.salvaged = _packed(fields, data)
            self.chunks.append(_Bag1Chunk(-1, times))

    def index(self) -> tuple[int, bytes]:
        """Where the part of the file ends that is shown, and what follows it before the index proper."""
        if not self.chunks:
            return self.end, b""
        if self.salvaged:
            stop = max(self.end, self.indexed_end)
            self.chunks[-1].start = stop
            return stop, self.salvaged + self.chunks[-1].index()
        last = self.chunks[-1]
        if last.indexed == len(last.times):
            return self.indexed_end, b""
        return self.end, last.index()

    def _drop_unindexed(self) -> None:
        """Only the last chunk can get an index behind it in the view."""
        if self.chunks and self.chunks[-1].indexed != len(self.chunks[-1].times):
            self.chunks.pop()

    def _look(self, data: bytes) -> dict[int, list[tuple[int, int, int]]]:
        times: dict[int, list[tuple[int, int, int]]] = {}
        place = 0
        while place < len(data):
            try:
                record = _parse(data, place)
            except (ValueError, KeyError):
                break
            if record.end > len(data):
                break
            if record.op == _CONNECTION:
                self.connections.setdefault(record.number("conn"), data[record.start : record.end])
            elif record.op == _MESSAGE:
                second, nanosecond = struct.unpack("<II", record.fields["time"])
                times.setdefault(record.number("conn"), []).append((second, nanosecond, place))
            place = record.end
        known = self.connections
        return {connection: sorted(entries) for connection, entries in times.items() if connection in known}


def _read(file: BinaryIO, place: int, size: int) -> _Record:
    file.seek(place)
    (length,) = struct.unpack("<I", _exactly(file.read(4), 4))
    if length > min(_MOST_HEADER_BYTES, size - place):
        raise ValueError("a header is larger than what is left")
    file.seek(place)
    record = _parse(_exactly(file.read(8 + length), 8 + length), 0)
    return _Record(record.op, record.fields, place, place + record.data, record.length)


def _exactly(data: bytes, length: int) -> bytes:
    if len(data) < length:
        raise ValueError("cut short")
    return data


def _parse(data: bytes, place: int) -> _Record:
    """A record's header, of a record whose data may not be whole."""
    (length,) = struct.unpack("<I", _exactly(data[place : place + 4], 4))
    end = place + 4 + length
    (size,) = struct.unpack("<I", _exactly(data[end : end + 4], 4))
    fields, at = {}, place + 4
    while at < end:
        (part,) = struct.unpack("<I", _exactly(data[at : at + 4], 4))
        name, equals, value = data[at + 4 : at + 4 + part].partition(b"=")
        if not equals:
            raise ValueError("a field without a name")
        fields[name.decode("latin-1")] = value
        at += 4 + part
    return _Record(int.from_bytes(fields["op"], "little"), fields, place, end + 4, size)


def _packed(fields: Mapping[str, bytes], data: bytes) -> bytes:
    header = b"".join(
        struct.pack("<I", len(name) + 1 + len(value)) + name.encode() + b"=" + value
        for name, value in fields.items()
    )
    return struct.pack("<I", len(header)) + header + struct.pack("<I", len(data)) + data


def _padded(fields: Mapping[str, bytes], length: int) -> bytes:
    room = length - len(_packed(fields, b""))
    if room < 0:
        raise ValueError("its first record is too short")
    return _packed(fields, b" " * room)
