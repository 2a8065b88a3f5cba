# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Conversion against its parts, side by side in one run: ``.venv/bin/python benchmarks/convert.py [BAG...]``.

Rows: reading with `rosbags` alone, decoding alone, reading everything with the same decoding, encoding alone, and
`hpt convert` with one and two workers. The ratios are to the slower of decoding and encoding alone, and to the slower
of reading everything and encoding; they handle the very pictures that the dataset gets, on one core, as one worker's
own reading and each of its encoders do. Reading everything parses the joints and commands too, which the first bound
leaves out, and which is most of the work where pictures are small.

Without bags it makes some (`CASES`, by `camera_bags`), and measures memory for a bag and for one of three times the
length too. Any bags that carry their embodiment will do, e.g. ``hpt_demo/bags`` of ``hpt demo --full``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import camera_bags
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rosbags.highlevel import AnyReader

from hpt_ros.dataset.video import SegmentWriter
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import HptError
from hpt_ros.observation import decode, decode_on_one_thread
from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.converting.memory import reuse_freed_memory
from rosbag_tools.reading.finding import find_bags
from rosbag_tools.reading.reader import Bag


@dataclass(frozen=True)
class Seconds:
    """Of wall time, and of processor time."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Case:
    """Bags to make: so many, so long, of such cameras."""

    name: str
    bags: int
    duration_s: float
    cameras: int
    raw: bool
    height: int = 480
    width: int = 640
    tick_hz: float = 30.0

    def make(self, folder: Path) -> Path:
        path = folder / self.name.replace(" ", "_").replace(",", "")
        path.mkdir()
        robot = camera_bags.robot(
            self.cameras, raw=self.raw, height=self.height, width=self.width, tick_hz=self.tick_hz
        )
        for index in range(self.bags):
            camera_bags.write_bag(path, f"bag_{index:03d}", robot, self.duration_s, seed=index)
        return path


CASES = (
    Case("two cameras of 640x480, JPEG", 2, 15.0, 2, raw=False),
    Case("one camera of 640x480, JPEG", 2, 20.0, 1, raw=False),
    Case("two cameras of 640x480, raw", 2, 15.0, 2, raw=True),
    Case("small bags: 8 s, two cameras of 128x96, raw, at 10 Hz", 20, 8.0, 2, True, 96, 128, 10.0),
)
MEMORY_S = (20.0, 60.0)


def read_alone(bags: list[Path]) -> int:
    """Read every message with rosbags, without deserialising; returns the bytes."""
    total = 0
    for path in bags:
        with AnyReader([path]) as reader:
            for _, _, data in reader.messages():
                total += len(data)
    return total


def decode_alone(
    bags: list[Path], robot: Embodiment, *, everything: bool = False
) -> dict[str, list[NDArray[np.uint8]]]:
    """Read the pictures and decode one a tick; returns them, so that encoding alone has something to encode.

    With `everything`, the messages of all other topics are parsed too.
    """
    others = [*(stream.topic for stream in robot.state_streams), robot.action.topic] if everything else []
    streams = {stream.topic: stream for stream in robot.image_streams}
    pictures: dict[str, list[NDArray[np.uint8]]] = {topic: [] for topic in streams}
    for path in bags:
        seen = dict.fromkeys(streams, 0)
        with Bag.open(path) as bag:
            for message in bag.messages([*streams, *others]):
                if message.topic not in streams:
                    continue
                stream = streams[message.topic]
                if seen[message.topic] % max(1, round(stream.rate_hz / robot.tick_hz)) == 0:
                    pictures[message.topic].append(decode(stream, message.content))
                seen[message.topic] += 1
    return pictures


def encode_alone(pictures: dict[str, list[NDArray[np.uint8]]], robot: Embodiment, folder: Path) -> None:
    """Encode the pictures as conversion would, one view after the other."""
    for index, frames in enumerate(pictures.values()):
        height, width = frames[0].shape[:2]
        writer = SegmentWriter(folder / f"{index}.mp4", round(robot.tick_hz), height, width)
        for frame in frames:
            writer.add(frame)
        writer.close()


def timed(work: Callable[[], object], repeats: int) -> Seconds:
    """Medians of what it took; processor time does not depend on what else the machine does, or hardly."""
    found = []
    for _ in range(repeats):
        start_s, cpu_s = time.perf_counter(), _cpu_s()
        work()
        found.append((time.perf_counter() - start_s, _cpu_s() - cpu_s))
    wall_s, cpu_s = np.median(found, axis=0)
    return Seconds(float(wall_s), float(cpu_s))


def _cpu_s() -> float:
    """Processor time of this process, all of its threads, and the processes that it waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(title: str, bags: list[Path], repeats: int, console: Console) -> None:
    """Print the table of these bags."""
    with Bag.open(bags[0]) as bag:
        robot = Embodiment.loads(bag.embodiment_text() or "", where=f"the embodiment in {bags[0]}")
    decode_on_one_thread()
    reuse_freed_memory()  # as conversion does, so that the bounds have it too
    megabytes = read_alone(bags) / 1e6
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def convert_all(workers: int) -> Callable[[], object]:
            options = Options(workers=workers, overwrite=True)
            return lambda: convert([str(path) for path in bags], folder / "dataset", robot, options)

        rows = {
            "read with rosbags alone": timed(lambda: read_alone(bags), repeats),
            "decode alone": timed(lambda: decode_alone(bags, robot), repeats),
            "read everything, and decode": timed(lambda: decode_alone(bags, robot, everything=True), repeats),
        }
        pictures = decode_alone(bags, robot)
        count = sum(len(values) for values in pictures.values())
        rows["encode alone"] = timed(lambda: encode_alone(pictures, robot, folder), repeats)
        pictures.clear()
        rows["hpt convert, 1 worker"] = timed(convert_all(1), repeats)
        rows["hpt convert, 2 workers"] = timed(convert_all(2), repeats)
    bound_s = max(rows["decode alone"].wall, rows["encode alone"].wall)
    all_s = max(rows["read everything, and decode"].wall, rows["encode alone"].wall)
    table = Table(
        title=f"{title}: {len(bags)} bags, {megabytes:.0f} MB, {count} pictures; medians of {repeats}"
    )
    bounds = (
        "time over the slower of decode and encode alone",
        "time over the slower of reading everything and encode",
    )
    for column in ("what", "s", "CPU s", "MB/s", "pictures/s", *bounds):
        table.add_column(column, justify="left" if column == "what" else "right")
    for what, took in rows.items():
        seconds = took.wall
        table.add_row(
            what,
            f"{seconds:.2f}",
            f"{took.cpu:.2f}",
            f"{megabytes / seconds:.1f}",
            f"{count / seconds:.0f}",
            f"{seconds / bound_s:.2f}",
            f"{seconds / all_s:.2f}",
        )
    console.print(table)


def peak_mb(bag: Path, out: Path) -> float:
    """Convert a bag and return the most memory that this process ever held; for a process of its own."""
    convert([bag], out)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def measure_memory(folder: Path, console: Console) -> None:
    """Print the peak of memory for bags of different length."""
    table = Table(title="memory of hpt convert, one bag, two cameras of 640x480, raw")
    for column in ("length of the bag, s", "bag, MB", "peak, MB"):
        table.add_column(column, justify="right")
    for seconds in MEMORY_S:
        path = Case(f"memory {seconds:g}", 1, seconds, 2, raw=True).make(folder)
        size_mb = sum(file.stat().st_size for file in path.rglob("*.mcap")) / 1e6
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            peak = pool.submit(peak_mb, path / "bag_000", folder / f"out {seconds:g}").result()
        table.add_row(f"{seconds:g}", f"{size_mb:.0f}", f"{peak:.0f}")
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bags", nargs="*", metavar="BAG", help="left out: bags are made")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", type=int, metavar="N", help="the N-th of CASES alone, from 0")
    parser.add_argument("--memory", action="store_true", help="memory alone")
    args = parser.parse_args()
    console = Console(width=120)
    try:
        if args.bags:
            measure("given", find_bags(args.bags), args.repeats, console)
            return 0
        with tempfile.TemporaryDirectory() as name:
            if not args.memory:
                for case in CASES if args.case is None else [CASES[args.case]]:
                    measure(case.name, find_bags([case.make(Path(name))]), args.repeats, console)
            if args.case is None:
                measure_memory(Path(name), console)
    except HptError as error:
        print(f"convert.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
