# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""MCAP files without an end or an index, as a view that a reader accepts; nothing is copied.

A recorder that was killed, or a copy that was cut short, leaves records without summary and footer. The view is the
file's whole records, what is whole in a chunk that was cut, and a summary made by looking through all chunks.
Format: https://mcap.dev/spec (magic, then records of one opcode byte and a length of eight bytes, little endian).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from rosbag_tools.bounded import MOST_CHUNK_BYTES, decompress_as_far_as_it_goes, decompress_chunk
from rosbag_tools.views import Recovered, View, begins_with

MAGIC = b"\x89MCAP0\r\n"
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
_CHUNK_INDEX, _STATISTICS, _DATA_END = 0x08, 0x0B, 0x0F
_FOOTER_BYTES = 9 + 20 + len(MAGIC)
_NO_TIME = (1 << 63) - 1


def is_mcap(path: Path) -> bool:
    """True if the file begins like MCAP."""
    return begins_with(path, MAGIC)


def is_complete(path: Path) -> bool:
    """True if the file ends as MCAP must."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        if size < 2 * len(MAGIC):
            return False
        file.seek(-len(MAGIC), io.SEEK_END)
        return file.read() == MAGIC


def has_index(path: Path) -> bool:
    """True if a complete file's footer says where its summary is: recorders in a hurry write none."""
    with path.open("rb") as file:
        if file.seek(0, io.SEEK_END) < _FOOTER_BYTES:
            return True  # no footer at all, so let the reader say so
        file.seek(-_FOOTER_BYTES, io.SEEK_END)
        return any(file.read(17)[9:])


def recover_mcap(path: Path) -> Recovered:
    """Look through a file that has no end or no index.

    Raises:
        ValueError: not even its first record is whole.
    """
    size, end, rest = path.stat().st_size, len(MAGIC), b""
    found = _Summary()
    with path.open("rb") as file:
        for opcode, start, length in _records(file, size):
            if not found.began and opcode != _HEADER:
                break
            file.seek(start)
            if start + length > size:
                rest = found.salvage(opcode, file.read(min(size - start, MOST_CHUNK_BYTES)), end)
                break
            found.take(opcode, file, start, length)
            end = start + length
    if not found.began:
        raise ValueError("not even its first record is whole")
    lost = found.lost if is_complete(path) else found.lost + size - end
    return Recovered(View(path, end, rest + found.written(end + len(rest))), lost)


def _records(file: BinaryIO, size: int) -> Iterator[tuple[int, int, int]]:
    """Opcode, and start and length of the content, of each record of the data section; the last may not be whole."""
    place = len(MAGIC)
    while place + 9 <= size:
        file.seek(place)
        opcode, length = struct.unpack("<BQ", file.read(9))
        if opcode in (0, _FOOTER, _DATA_END):
            return
        yield opcode, place + 9, length
        place += 9 + length


def _inner(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The same of each whole record in a chunk."""
    place = 0
    while place + 9 <= len(data):
        opcode, length = struct.unpack_from("<BQ", data, place)
        if place + 9 + length > len(data):
            return
        yield opcode, place + 9, length
        place += 9 + length


def _record(opcode: int, content: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(content)) + content


@dataclass(frozen=True)
class _Chunk:
    """A chunk record: where it is, how it is compressed, and which messages it holds, by channel."""

    start: int
    length: int
    codec: bytes
    stored: int
    size: int
    first: int
    last: int
    counts: dict[int, int]

    def index(self) -> bytes:
        # A reader takes the number of messages from the lengths of the message indices that the offsets tell apart,
        # 15 bytes and 16 for each message, and never looks at what is there.
        end, places = self.start + self.length, b""
        at = end
        for channel, count in self.counts.items():
            places += struct.pack("<HQ", channel, at)
            at += 15 + 16 * count
        return _record(
            _CHUNK_INDEX,
            struct.pack("<QQQQI", self.first, self.last, self.start, self.length, len(places))
            + places
            + struct.pack("<QI", at - end, len(self.codec))
            + self.codec
            + struct.pack("<QQ", self.stored, self.size),
        )


@dataclass
class _Summary:
    """What a summary says, gathered record by record."""

    began: bool = False
    lost: int = 0
    schemas: dict[bytes, bytes] = field(default_factory=dict)
    channels: dict[bytes, bytes] = field(default_factory=dict)
    chunks: list[_Chunk] = field(default_factory=list)

    def take(self, opcode: int, file: BinaryIO, start: int, length: int) -> None:
        """Look at a whole record, at whose content the file is."""
        if opcode == _HEADER:
            self.began = True
        elif opcode in (_SCHEMA, _CHANNEL):
            self._define(opcode, file.read(length))
        elif opcode == _CHUNK:
            try:
                codec, stored, size, at = _chunk_head(file.read(min(length, 4096)))
                file.seek(start + at)
                compressed = file.read(stored) if at + stored <= length else b""
                data = decompress_chunk(compressed, size, codec.decode()) if codec else compressed
                if len(data) != size:
                    raise ValueError("the chunk has not the size that it claims")
            except Exception:  # whatever a decompressor says: this one chunk is lost
                self.lost += 9 + length
                return
            self._add(data, start - 9, 9 + length, codec, stored)

    def salvage(self, opcode: int, content: bytes, at: int) -> bytes:
        """What is whole in the part of a cut chunk, as a chunk record to stand at offset `at`; empty if nothing is."""
        if opcode != _CHUNK:
            return b""
        try:
            codec, _, size, start = _chunk_head(content)
            data = decompress_as_far_as_it_goes(content[start:], codec.decode(), size)
        except Exception:
            return b""
        end = max((place + length for _, place, length in _inner(data)), default=0)
        if not end:
            return b""
        record = _record(_CHUNK, struct.pack("<QQQIIQ", 0, 0, end, 0, 0, end) + data[:end])
        self._add(data[:end], at, len(record), b"", end)
        return record

    def _define(self, opcode: int, content: bytes) -> None:
        (self.schemas if opcode == _SCHEMA else self.channels).setdefault(content[:2], content)

    def _add(self, data: bytes, start: int, length: int, codec: bytes, stored: int) -> None:
        counts: dict[int, int] = {}
        first, last = _NO_TIME, 0
        for opcode, place, size in _inner(data):
            if opcode in (_SCHEMA, _CHANNEL):
                self._define(opcode, data[place : place + size])
            elif opcode == _MESSAGE and size >= 22:
                channel, log_ns = struct.unpack_from("<H4xQ", data, place)
                counts[channel] = counts.get(channel, 0) + 1
                first, last = min(first, log_ns), max(last, log_ns)
        if counts:
            self.chunks.append(_Chunk(start, length, codec, stored, len(data), first, last, counts))

    def written(self, at: int) -> bytes:
        """Summary, footer and magic, to stand at offset `at`; no summary where there are no chunks."""
        if not self.chunks:  # messages may lie outside chunks, where the reader has to look for them itself
            return _record(_FOOTER, struct.pack("<QQI", 0, 0, 0)) + MAGIC
        counts: dict[int, int] = {}
        for chunk in self.chunks:
            for channel, count in chunk.counts.items():
                counts[channel] = counts.get(channel, 0) + count
        statistics = struct.pack(
            "<QHIIIIQQI",
            sum(counts.values()), len(self.schemas), len(self.channels), 0, 0, len(self.chunks),
            min(chunk.first for chunk in self.chunks), max(chunk.last for chunk in self.chunks), 10 * len(counts),
        ) + b"".join(struct.pack("<HQ", channel, count) for channel, count in counts.items())  # fmt: skip
        parts = [_record(_SCHEMA, content) for content in self.schemas.values()]
        parts += [_record(_CHANNEL, content) for content in self.channels.values()]
        parts += [chunk.index() for chunk in self.chunks]
        parts += [_record(_STATISTICS, statistics), _record(_FOOTER, struct.pack("<QQI", at, 0, 0)), MAGIC]
        return b"".join(parts)


def _chunk_head(content: bytes) -> tuple[bytes, int, int, int]:
    """Compression, stored size, size, and where the compressed bytes begin in a chunk record's content."""
    size, length = struct.unpack_from("<16xQ4xI", content)
    codec = content[32 : 32 + length]
    (stored,) = struct.unpack_from("<Q", content, 32 + length)
    return codec, stored, size, 40 + length
