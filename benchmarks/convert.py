"""Conversion against its parts, side by side in one run: ``.venv/bin/python benchmarks/convert.py BAG...``.

Rows: reading with `rosbags` alone (the floor), decoding alone, encoding alone, and `hpt convert` with one and two
workers. The ratio is to the slower of decoding and encoding alone; every row handles the same bags. Any bags that
carry their embodiment will do, e.g. ``hpt_demo/bags`` of ``hpt demo --full``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rosbags.highlevel import AnyReader

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import HptError
from hpt_ros.observation import decode
from rosbag_tools.convert import Options, convert
from rosbag_tools.reader import Bag, find_bags
from rosbag_tools.video import SegmentWriter


def read_alone(bags: list[Path]) -> int:
    """Read every message with rosbags, without deserialising; returns the bytes."""
    total = 0
    for path in bags:
        with AnyReader([path]) as reader:
            for _, _, data in reader.messages():
                total += len(data)
    return total


def decode_alone(bags: list[Path], robot: Embodiment) -> dict[str, list[NDArray[np.uint8]]]:
    """Read and decode every picture; returns them, so that encoding alone has something to encode."""
    streams = {stream.topic: stream for stream in robot.image_streams}
    pictures: dict[str, list[NDArray[np.uint8]]] = {topic: [] for topic in streams}
    for path in bags:
        with Bag.open(path) as bag:
            for message in bag.messages(list(streams)):
                pictures[message.topic].append(decode(streams[message.topic], message.content))
    return pictures


def encode_alone(pictures: dict[str, list[NDArray[np.uint8]]], robot: Embodiment, folder: Path) -> None:
    """Encode the pictures as conversion would."""
    for index, frames in enumerate(pictures.values()):
        height, width = frames[0].shape[:2]
        writer = SegmentWriter(folder / f"{index}.mp4", round(robot.tick_hz), height, width)
        for frame in frames:
            writer.add(frame)
        writer.close()


def timed(work: Callable[[], object], repeats: int) -> float:
    """Median wall seconds."""
    seconds = []
    for _ in range(repeats):
        start_s = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start_s)
    return float(np.median(seconds))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bags", nargs="+", metavar="BAG")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    try:
        bags = find_bags(args.bags)
        with Bag.open(bags[0]) as bag:
            robot = Embodiment.loads(bag.embodiment_text(), where=f"the embodiment in {bags[0]}")
        megabytes = read_alone(bags) / 1e6
        pictures = decode_alone(bags, robot)
    except HptError as error:
        print(f"convert.py: error: {error}", file=sys.stderr)
        return 2
    frames = sum(len(values) for values in pictures.values())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def whole(workers: int) -> Callable[[], object]:
            options = Options(workers=workers, overwrite=True)
            return lambda: convert([str(path) for path in bags], folder / "dataset", robot, options)

        rows = {
            "read with rosbags alone": timed(lambda: read_alone(bags), args.repeats),
            "decode alone": timed(lambda: decode_alone(bags, robot), args.repeats),
            "encode alone": timed(lambda: encode_alone(pictures, robot, folder), args.repeats),
            "hpt convert, 1 worker": timed(whole(1), args.repeats),
            "hpt convert, 2 workers": timed(whole(2), args.repeats),
        }
    bound_s = max(rows["decode alone"], rows["encode alone"])
    table = Table(title=f"{len(bags)} bags, {megabytes:.0f} MB, {frames} pictures; medians of {args.repeats}")
    for column in ("what", "MB/s", "pictures/s", "time over the slower of decode and encode alone"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for what, seconds in rows.items():
        table.add_row(
            what, f"{megabytes / seconds:.1f}", f"{frames / seconds:.0f}", f"{seconds / bound_s:.2f}"
        )
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
