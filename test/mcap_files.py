# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""MCAP files with everything that the format (https://mcap.dev/spec) leaves open."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from zlib import crc32

import lz4.frame
from backports import zstd

from rosbag_tools.reading.mcap_index import MAGIC

PACK = {"": bytes, "zstd": zstd.compress, "lz4": lz4.frame.compress}


@dataclass(frozen=True)
class Layout:
    """What a writer may choose.

    Attributes:
        profile: of the header.
        compression: of the chunks.
        chunks: which messages are in chunks: "all", "none", or all but every third ("mixed").
        message_index, chunk_index, statistics, repeated: whether there are message indexes, chunk indexes, statistics,
            and schemas and channels in the summary.
        per_chunk: messages in a chunk.
    """

    profile: str = "ros2"
    compression: str = ""
    chunks: str = "all"
    message_index: bool = True
    chunk_index: bool = True
    statistics: bool = True
    repeated: bool = True
    per_chunk: int = 50


def record(opcode, content):
    return struct.pack("<BQ", opcode, len(content)) + content


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<I", len(data)) + data


@dataclass(frozen=True)
class OddChannel:
    """Topic, type, encoding of messages, language and text of the definition; no language and text: no schema."""

    topic: str
    type: str
    encoding: str = "cdr"
    schema: str | None = "ros2msg"
    definition: str | bytes = ""
    metadata: bytes = struct.pack("<I", 0)


def write_mcap(path, channels, messages, layout=None):
    """Write a file of messages (index of the channel, log time, bytes), in the order given; returns the path."""
    layout = layout or Layout()
    schemas, defined = b"", b""
    for number, channel in enumerate(channels, 1):
        if channel.schema is not None:
            schemas += record(
                3,
                struct.pack("<H", number)
                + text(channel.type)
                + text(channel.schema)
                + text(channel.definition),
            )
        schema = 0 if channel.schema is None else number
        about = struct.pack("<HH", number, schema) + text(channel.topic) + text(channel.encoding)
        defined += record(4, about + channel.metadata)
    data = bytearray(MAGIC + record(1, text(layout.profile) + text("")) + schemas + defined)
    in_chunks = {"all": lambda _: True, "none": lambda _: False, "mixed": lambda n: n % 3 > 0}[layout.chunks]
    inside = [item for n, item in enumerate(messages) if in_chunks(n)]
    outside = [item for n, item in enumerate(messages) if not in_chunks(n)]
    indexes = b""
    for start in range(0, len(inside), layout.per_chunk):
        part = inside[start : start + layout.per_chunk]
        indexes += _chunk(data, part, layout)
    for item in outside:
        data += _message(*item)
    data += record(15, bytes(4))
    summary = (schemas + defined if layout.repeated else b"") + (indexes if layout.chunk_index else b"")
    if layout.statistics:
        counts = b"".join(
            struct.pack("<HQ", number + 1, sum(item[0] == number for item in messages))
            for number in range(len(channels))
        )
        times = [log_ns for _, log_ns, _ in messages] or [0]
        chunk_count = -(-len(inside) // layout.per_chunk)
        summary += record(
            11,
            struct.pack(
                "<QHIIIIQQI", len(messages), len(channels), len(channels), 0, 0, chunk_count, min(times), max(times),
                len(counts),
            )
            + counts,
        )  # fmt: skip
    start = len(data) if summary else 0
    path.write_bytes(bytes(data) + summary + record(2, struct.pack("<QQI", start, 0, 0)) + MAGIC)
    return path


def _message(number, log_ns, content):
    return record(5, struct.pack("<HIQQ", number + 1, 0, log_ns, log_ns) + content)


def _chunk(data, part, layout):
    """Append a chunk and its message indexes; returns its chunk index."""
    body, places = b"", {}
    for item in part:
        places.setdefault(item[0] + 1, []).append((item[1], len(body)))
        body += _message(*item)
    times = [log_ns for _, log_ns, _ in part]
    packed = PACK[layout.compression](body)
    place = len(data)
    head = struct.pack("<QQQI", min(times), max(times), len(body), crc32(body)) + text(layout.compression)
    data += record(6, head + struct.pack("<Q", len(packed)) + packed)
    length, offsets, behind = len(data) - place, b"", len(data)
    for number, entries in places.items() if layout.message_index else ():
        offsets += struct.pack("<HQ", number, len(data))
        content = b"".join(struct.pack("<QQ", *entry) for entry in entries)
        data += record(7, struct.pack("<HI", number, len(content)) + content)
    return record(
        8,
        struct.pack("<QQQQI", min(times), max(times), place, length, len(offsets))
        + offsets
        + struct.pack("<Q", len(data) - behind)
        + text(layout.compression)
        + struct.pack("<QQ", len(packed), len(body)),
    )
