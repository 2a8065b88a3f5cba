# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Decompression and YAML that a hostile file cannot blow up: every size is bounded before it is believed.

A few kilobytes of zstd, LZ4 or bzip2 can become terabytes, and a size that a file claims is only a claim.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from hpt_ros.errors import Code
from rosbag_tools.errors import BagError

# The most that one chunk or message may hold: several raw pictures of 8K. Recorders make chunks of about 1 MiB.
MOST_CHUNK_BYTES = 512 << 20
# Chunks that overlap in time are held together by a reader; recorders' chunks overlap by a message or two.
MOST_HELD_BYTES = 1 << 30
MOST_METADATA_BYTES = 16 << 20
MOST_NESTING = 50  # of YAML; metadata has 6
_STEP_BYTES, _FILE_STEP_BYTES, _SMALL_STEP_BYTES = 4 << 20, 1 << 16, 1 << 12
_AT_ONCE: Any = pa.Codec("zstd")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # without libyaml: slower, but the same


def decompress(data: bytes | memoryview, codec: str, most: int = MOST_CHUNK_BYTES) -> bytes:
    """What was compressed, if it is no larger than `most` bytes.

    Args:
        data: one or more frames.
        codec: "zstd", "lz4" or "bz2".
        most: bytes.

    Raises:
        BagError: it is larger.
        OSError: the data is damaged.
    """
    parts, total = [], 0
    with pa.CompressedInputStream(pa.BufferReader(data), codec) as stream:
        # By steps: what the stream is asked for it allocates at once.
        while part := stream.read(min(_STEP_BYTES, most + 1 - total)):
            parts.append(part)
            total += len(part)
            if total > most:
                raise BagError(
                    Code.OUT_OF_RANGE, f"{len(data)} bytes of {codec}", most,
                    problem="become more than {value}, the most that was expected",
                    remedy="the file is damaged or hostile: leave it out",
                )  # fmt: skip
    return parts[0] if len(parts) == 1 else b"".join(parts)


def decompress_chunk(data: bytes | memoryview, claimed: int, codec: str) -> bytes:
    """A chunk of an MCAP file, which claims how large it is.

    Raises:
        BagError: it claims more than `MOST_CHUNK_BYTES`, or is larger than it claims.
        OSError: the data is damaged.
    """
    if claimed > MOST_CHUNK_BYTES:
        raise BagError(
            Code.OUT_OF_RANGE, "a chunk", claimed, problem="claims {value} bytes",
            expected=f"{MOST_CHUNK_BYTES} at most", remedy="the file is damaged or hostile: leave it out",
        )  # fmt: skip
    if codec == "zstd" and 0 < claimed <= _STEP_BYTES:
        # An eighth faster than by steps. It fails unless there are just as many bytes; steps tell what is wrong.
        with contextlib.suppress(OSError):
            found: bytes = _AT_ONCE.decompress(data, claimed, asbytes=True)
            return found
    return decompress(data, codec, claimed) if claimed else b""


def decompress_as_far_as_it_goes(data: bytes, codec: str, most: int) -> bytes:
    """The beginning of what was compressed, of data that was cut short; `most` bytes of it."""
    found = bytearray()
    if not codec:
        return data[:most]
    with pa.CompressedInputStream(pa.BufferReader(data), codec) as stream:
        try:
            # Small steps: one that fails gives nothing.
            while part := stream.read(
                min(_SMALL_STEP_BYTES, most - len(found), MOST_CHUNK_BYTES - len(found))
            ):
                found += part
        except OSError:
            pass
    return bytes(found)


def decompress_file(source: Path, place: Path, most: int) -> bool:
    """Decompress a zstd file as far as it goes; returns whether it was complete.

    Raises:
        BagError: it becomes larger than `most` bytes, or the disk is full.
    """
    written = 0
    with pa.CompressedInputStream(pa.OSFile(str(source)), "zstd") as stream, place.open("wb") as file:
        while True:
            try:
                part = stream.read(_FILE_STEP_BYTES)  # a step that fails gives nothing
            except OSError:
                return False
            if not part:
                return True
            written += len(part)
            if written > most:
                raise BagError(
                    Code.OUT_OF_RANGE, f"file {str(source)!r}", most,
                    problem="becomes more than {value} bytes, the most that was expected and that there is room for",
                    remedy="it is damaged or hostile, or the disk of the temporary folder is too full",
                )  # fmt: skip
            file.write(part)


def load_yaml(text: str) -> Any:
    """Plain values out of YAML that is not nested deeply.

    Raises:
        ValueError: it is nested more deeply than `MOST_NESTING`: libyaml's loader recurses in C, and would crash the
            process on thousands of levels.
        yaml.YAMLError: it is no YAML.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MOST_NESTING:
                raise ValueError(f"nested more deeply than {MOST_NESTING} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return yaml.load(text, Loader=_LOADER)  # noqa: S506, a safe one
