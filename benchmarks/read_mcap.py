# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Our MCAP reader against the `mcap` package, side by side: ``.venv/bin/python benchmarks/read_mcap.py``.

Rows: large messages, and many small ones, in chunks of zstd, checksums checked by both; then files as recorders leave
them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from mcap.exceptions import McapError
from mcap.reader import NonSeekingReader, SeekingReader
from mcap.writer import CompressionType, IndexType, Writer
from rich.console import Console
from rich.table import Table

from rosbag_tools.reading.bag_files import open_files

START_NS = 1_700_000_000_000_000_000
REPEATS = 5
Read = Callable[[Path], Iterator[object]]


def make(
    path: Path, messages: int, size: int, *, indexes: IndexType = IndexType.ALL, checksums: bool = True
) -> Path:
    """A file of messages of random bytes of which a quarter is used, at 100 Hz."""
    random = np.random.default_rng(0)
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD, index_types=indexes, enable_crcs=checksums)
        writer.start("ros2", "benchmark")
        schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data\n")
        channel = writer.register_channel("/data", "cdr", schema)
        for number in range(messages):
            at_ns = START_NS + number * 10_000_000
            writer.add_message(channel, at_ns, random.integers(0, 64, size, np.uint8).tobytes(), at_ns)
        writer.finish()  # type: ignore[no-untyped-call]
    return path


def ours(path: Path) -> Iterator[object]:
    """Messages that our reader gives."""
    with open_files([path], recover=True) as files:
        yield from files.messages(files.channels)


def package(path: Path) -> Iterator[object]:
    """Messages that the package gives: by its index, or else by looking through."""
    with path.open("rb") as file:
        try:
            reader = SeekingReader(file, validate_crcs=True)
            summary = reader.get_summary()
        except McapError:
            summary = None
        if summary is not None and summary.chunk_indexes:
            yield from reader.iter_messages()
            return
        file.seek(0)
        yield from NonSeekingReader(file, validate_crcs=True).iter_messages()


def best_s(read: Read, path: Path) -> float:
    """The shortest of some times."""
    times_s = []
    for _ in range(REPEATS):
        start_s = time.perf_counter()
        sum(1 for _ in read(path))
        times_s.append(time.perf_counter() - start_s)
    return min(times_s)


def describe_read(read: Read, path: Path) -> str:
    """How many messages, and what was raised."""
    count = 0
    try:
        for _ in read(path):
            count += 1
    except Exception as error:
        return f"{count}, then {type(error).__name__}"
    return str(count)


def main() -> None:
    """Measure and print."""
    console, table = Console(width=120), Table("file", "ours", "mcap", "ratio")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name, count, size in (
            ("300 messages of 900 kB", 300, 900_000),
            ("100,000 of 200 B", 100_000, 200),
        ):
            path = make(scratch / f"{size}.mcap", count, size)
            times_s = best_s(ours, path), best_s(package, path)
            table.add_row(name, *(f"{value:.3f} s" for value in times_s), f"{times_s[1] / times_s[0]:.1f}")
        intact = make(scratch / "whole.mcap", 5000, 2000).read_bytes()
        for name, data in (
            ("cut at 60 %", intact[: int(0.6 * len(intact))]),
            (
                "a byte in the middle changed",
                intact[: len(intact) // 2] + b"\0\xff" + intact[len(intact) // 2 + 2 :],
            ),
        ):
            path = scratch / "odd.mcap"
            path.write_bytes(data)
            table.add_row(
                f"5000 of 2 kB, {name}", describe_read(ours, path), describe_read(package, path), ""
            )
        path = make(scratch / "bare.mcap", 5000, 2000, indexes=IndexType.NONE)
        table.add_row(
            "5000 of 2 kB, without any index",
            describe_read(ours, path),
            describe_read(package, path),
            "",
        )
    console.print(table)


if __name__ == "__main__":
    main()
