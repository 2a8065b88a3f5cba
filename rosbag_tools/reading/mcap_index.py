# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What an MCAP file holds and where: from its summary, or by looking through it where that does not tell.

A recorder that was killed, or a copy that was cut short, leaves records without summary and footer; recorders in a
hurry write no summary, chunks without message indexes, or messages outside chunks. The format allows all of them but
the first. Format: https://mcap.dev/spec (magic, then records of one opcode byte and a length of eight bytes, little
endian).
"""

from __future__ import annotations

import io
import struct
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from rosbag_tools.reading.channels import lenient_text
from rosbag_tools.reading.magic import begins_with
from rosbag_tools.reading.safe_decompress import (
    MOST_CHUNK_BYTES,
    decompress_as_far_as_it_goes,
    decompress_chunk,
)

MAGIC = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
MESSAGE_INDEX, CHUNK_INDEX, STATISTICS, DATA_END = 0x07, 0x08, 0x0B, 0x0F
# Channel, sequence number, log time and publish time, before a message's bytes.
MESSAGE_HEAD = 22
_FOOTER_BYTES = 9 + 20 + len(MAGIC)
_MOST_SUMMARY_BYTES = 1 << 30
RECORD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<H4xQ")
_PAIR = struct.Struct("<HQ")


@dataclass(frozen=True, slots=True)
class SchemaRecord:
    """Name, language and text of a type's definition."""

    name: str
    encoding: str
    text: str


@dataclass(frozen=True, slots=True)
class ChannelRecord:
    """Topic and encoding of a channel's messages, and the number of their schema; 0 is none."""

    schema: int
    topic: str
    encoding: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk record.

    Attributes:
        start, length: of its content in the file, behind opcode and length.
        size: of what it holds, uncompressed.
        first_ns, last_ns: log times that it spans.
        channels: whose messages it holds; empty if nothing tells.
        data: what it holds, if the file itself has only a part of it.
        behind: bytes of the message indexes behind it; 0 if nothing tells.
        times: log times by channel in the order of the file, of a chunk that was looked through.
    """

    start: int
    length: int
    size: int
    first_ns: int
    last_ns: int
    channels: frozenset[int] = frozenset()
    data: bytes | None = None
    behind: int = 0
    times: Mapping[int, array[int]] = field(default_factory=dict)


@dataclass
class Index:
    """What a file holds.

    Attributes:
        schemas, channels: by number.
        chunks: in the order of the file.
        loose: log time, channel, start and length of the bytes of each message outside chunks, one after another.
        counts: messages of each channel.
        first_ns, last_ns: log times of the first and last message; undefined without messages.
        lost: bytes of the file in what is not complete.
    """

    schemas: dict[int, SchemaRecord] = field(default_factory=dict)
    channels: dict[int, ChannelRecord] = field(default_factory=dict)
    chunks: list[Chunk] = field(default_factory=list)
    loose: array[int] = field(default_factory=lambda: array("Q"))
    counts: Counter[int] = field(default_factory=Counter)
    first_ns: int = (1 << 64) - 1
    last_ns: int = 0
    lost: int = 0

    def define(self, opcode: int, content: bytes | memoryview) -> None:
        """Take a schema or a channel, if its number is not taken."""
        reader = _Fields(content)
        number = reader.integer(2)
        if opcode == SCHEMA:
            record = SchemaRecord(reader.text(), reader.text(), reader.text())
            self.schemas.setdefault(number, record)
        elif opcode == CHANNEL:
            self.channels.setdefault(number, ChannelRecord(reader.integer(2), reader.text(), reader.text()))

    def count(self, channel: int, log_ns: int) -> None:
        """Count a message that was found."""
        self.counts[channel] += 1
        self.first_ns, self.last_ns = min(self.first_ns, log_ns), max(self.last_ns, log_ns)


class _Fields:
    """Reads the fields of a record one after another; raises ValueError at its end."""

    def __init__(self, content: bytes | memoryview) -> None:
        self._content, self._place = content, 0

    def take(self, length: int) -> bytes | memoryview:
        start, self._place = self._place, self._place + length
        if self._place > len(self._content):
            raise ValueError("a record is shorter than its fields")
        return self._content[start : self._place]

    def integer(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little")

    def read_sized(self) -> bytes | memoryview:
        return self.take(self.integer(4))

    def text(self) -> str:
        return lenient_text(bytes(self.read_sized()))

    def pairs(self) -> Iterator[tuple[int, int]]:
        """A map of channels to offsets or counts."""
        content = self.read_sized()
        if len(content) % _PAIR.size:
            raise ValueError("a record has half an entry of a map")
        return _PAIR.iter_unpack(content)


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


def read_summary(path: Path) -> Index | None:
    """The index of a complete file from its summary; None if that does not tell where every message is.

    Raises:
        ValueError: the summary is damaged.
    """
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        if size < len(MAGIC) + _FOOTER_BYTES:
            raise ValueError("the file is too short for a footer")
        end = file.seek(-_FOOTER_BYTES, io.SEEK_END)
        opcode, length, start, _, _ = struct.unpack("<BQQQI", file.read(_FOOTER_BYTES - len(MAGIC)))
        if (opcode, length) != (FOOTER, 20) or not (start == 0 or len(MAGIC) <= start <= end):
            raise ValueError("its footer is damaged")
        if start == 0 or end - start > _MOST_SUMMARY_BYTES:
            return None
        file.seek(start)
        found = _summary(memoryview(file.read(end - start)), start)
        if found is None:
            return None
        index, indexed = found
        total = sum(index.counts.values())
        if indexed != total:
            # Chunks without message indexes, messages outside chunks, or both.
            _find_loose(index, file, start)
        complete = bool(index.chunks) or len(index.loose) == 4 * total
        return index if complete else None


def _summary(data: memoryview, limit: int) -> tuple[Index, int] | None:
    """What a summary lists, and how many messages the indexes of its chunks have; None if it is not enough."""
    index, indexed, place = Index(), 0, 0
    total = chunk_count = -1
    for opcode, start, length in records_within(data):
        place = start + length
        content = data[start:place]
        if opcode in (SCHEMA, CHANNEL):
            index.define(opcode, content)
        elif opcode == CHUNK_INDEX:
            chunk, count = _read_indexed_chunk(_Fields(content), limit)
            index.chunks.append(chunk)
            indexed += count
        elif opcode == STATISTICS:
            fields = _Fields(content)
            total, _, _, _, _, chunk_count = (fields.integer(size) for size in (8, 2, 4, 4, 4, 4))
            index.first_ns, index.last_ns = fields.integer(8), fields.integer(8)
            index.counts = Counter({channel: count for channel, count in fields.pairs() if count})
    if place != len(data):
        raise ValueError("its summary is damaged")
    known = all(
        channel in index.channels and index.channels[channel].schema in {0, *index.schemas}
        for channel in index.counts
    )
    whole = total == sum(index.counts.values()) and chunk_count == len(index.chunks)
    return (index, indexed) if known and whole else None


def _read_indexed_chunk(fields: _Fields, limit: int) -> tuple[Chunk, int]:
    """A chunk by its index, and how many messages the message indexes behind it have."""
    first_ns, last_ns, start, length = (fields.integer(8) for _ in range(4))
    offsets = dict(fields.pairs())
    behind = fields.integer(8)
    fields.read_sized()
    _, size = fields.integer(8), fields.integer(8)
    if length < 9 or start + length + behind > limit:
        raise ValueError("its summary is damaged: a chunk lies outside the file's data")
    # A message index has 15 bytes and 16 for each message.
    ends = [*sorted(offsets.values())[1:], start + length + behind]
    count = sum(
        (end - at - 15) // 16 for at, end in zip(sorted(offsets.values()), ends, strict=bool(offsets))
    )
    return Chunk(start + 9, length - 9, size, first_ns, last_ns, frozenset(offsets), behind=behind), count


def _find_loose(index: Index, file: BinaryIO, limit: int) -> None:
    """Find messages outside chunks by the heads of the records before `limit`."""
    for opcode, start, length in _records(file, limit):
        if opcode == MESSAGE and length >= MESSAGE_HEAD and start + length <= limit:
            file.seek(start)
            channel, log_ns = _MESSAGE.unpack(file.read(14))
            index.loose.extend((log_ns, channel, start + MESSAGE_HEAD, length - MESSAGE_HEAD))


def look_through(path: Path) -> Index:
    """The index of a file that has no end, or of which the summary does not tell everything.

    Raises:
        ValueError: not even its first record is complete.
    """
    size, end = path.stat().st_size, len(MAGIC)
    index = Index()
    with path.open("rb") as file:
        for opcode, start, length in _records(file, size):
            if end == len(MAGIC) and opcode != HEADER:
                break
            file.seek(start)
            if start + length > size:
                if opcode == CHUNK:
                    _salvage(index, file.read(min(size - start, MOST_CHUNK_BYTES)), start)
                break
            _take(index, opcode, file, start, length)
            end = start + length
    if end == len(MAGIC):
        raise ValueError("not even its first record is complete")
    index.lost += 0 if is_complete(path) else size - end
    return index


def _take(index: Index, opcode: int, file: BinaryIO, start: int, length: int) -> None:
    """Look at a complete record, at whose content the file is."""
    if opcode in (SCHEMA, CHANNEL):
        index.define(opcode, file.read(length))
    elif opcode == MESSAGE and length >= MESSAGE_HEAD:
        channel, log_ns = _MESSAGE.unpack(file.read(14))
        index.count(channel, log_ns)
        index.loose.extend((log_ns, channel, start + MESSAGE_HEAD, length - MESSAGE_HEAD))
    elif opcode == CHUNK:
        try:
            if length > MOST_CHUNK_BYTES:
                raise ValueError("the chunk is too large")
            data = unpack_chunk(file.read(length))
        except Exception:  # whatever a decompressor raises: this one chunk is lost
            index.lost += 9 + length
            return
        _add(index, data, start, length, None)


def _salvage(index: Index, content: bytes, start: int) -> None:
    """Take what is complete in the part of a cut chunk."""
    try:
        size, _, codec, _, at = _chunk_head(content)
        data = decompress_as_far_as_it_goes(content[at:], codec, size)
    except Exception:
        return
    end = max((place + length for _, place, length in records_within(data)), default=0)
    if end:
        _add(index, data[:end], start, end, data[:end])


def _add(index: Index, data: bytes | memoryview, start: int, length: int, own: bytes | None) -> None:
    times: dict[int, array[int]] = {}
    for opcode, place, size in records_within(data):
        if opcode in (SCHEMA, CHANNEL):
            index.define(opcode, data[place : place + size])
        elif opcode == MESSAGE and size >= MESSAGE_HEAD:
            channel, log_ns = _MESSAGE.unpack_from(data, place)
            index.count(channel, log_ns)
            times.setdefault(channel, array("Q")).append(log_ns)
    if times:
        first_ns, last_ns = min(map(min, times.values())), max(map(max, times.values()))
        index.chunks.append(
            Chunk(start, length, len(data), first_ns, last_ns, frozenset(times), own, times=times)
        )


def message_indexes(block: bytes) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """Channel, and log times in the order of the chunk, out of each message index of those behind a chunk."""
    for opcode, start, length in records_within(block):
        size = int.from_bytes(block[start + 2 : start + 6], "little")
        if opcode == MESSAGE_INDEX and size % 16 == 0 and 6 + size <= length:
            entries = np.frombuffer(block, "<u8", size // 8, start + 6).reshape(-1, 2)
            yield (
                int.from_bytes(block[start : start + 2], "little"),
                entries[np.argsort(entries[:, 1], kind="stable"), 0],
            )


def _records(file: BinaryIO, size: int) -> Iterator[tuple[int, int, int]]:
    """Opcode, and start and length of the content, of each record of the data section; the last may not be complete."""
    place = len(MAGIC)
    while place + 9 <= size:
        file.seek(place)
        opcode, length = RECORD.unpack(file.read(9))
        if opcode in (0, FOOTER, DATA_END):
            return
        yield opcode, place + 9, length
        place += 9 + length


def records_within(data: bytes | memoryview) -> Iterator[tuple[int, int, int]]:
    """The same of each complete record in the content of a chunk or in a summary."""
    place = 0
    while place + 9 <= len(data):
        opcode, length = RECORD.unpack_from(data, place)
        if place + 9 + length > len(data):
            return
        yield opcode, place + 9, length
        place += 9 + length


def unpack_chunk(content: bytes) -> bytes | memoryview:
    """What a chunk record holds; a view of the record, if it is not compressed.

    Raises:
        ValueError: its sizes or its checksum do not fit, or it is compressed in a way that the format does not name.
        BagError: it claims more than is believed.
        OSError: it cannot be decompressed.
    """
    size, checksum, codec, stored, at = _chunk_head(content)
    if codec not in ("", "lz4", "zstd"):
        raise ValueError(f"a chunk is compressed with {codec[:40]!r}, but lz4 or zstd was expected")
    if at + stored > len(content) or size > MOST_CHUNK_BYTES:
        raise ValueError(
            f"a chunk claims {size} bytes, compressed to {stored}, in a record of {len(content)}"
        )
    packed = memoryview(content)[at : at + stored]
    data = decompress_chunk(packed, size, codec) if codec else packed
    if len(data) != size:
        raise ValueError(f"a chunk has {len(data)} bytes, but claims {size}")
    if checksum and crc32(data) != checksum:
        raise ValueError("the checksum of a chunk is wrong")
    return data


def _chunk_head(content: bytes) -> tuple[int, int, str, int, int]:
    """Size, checksum, compression, stored size, and where the stored bytes begin in a chunk record's content."""
    size, checksum, length = struct.unpack_from("<16xQII", content)
    codec = content[32 : 32 + length].decode()
    (stored,) = struct.unpack_from("<Q", content, 32 + length)
    return size, checksum, codec, stored, 40 + length
