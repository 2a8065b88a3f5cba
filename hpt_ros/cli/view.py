# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt view`: look at one episode of a dataset or a bag, in Rerun where it is installed, else as a video."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_ros.cli.output import make_parent
from hpt_ros.errors import Code, HptError
from hpt_ros.extras import require_extra

if TYPE_CHECKING:
    from hpt_ros.dataset import Dataset, Episode


ENDINGS = (".mp4", ".rrd")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "source",
        metavar="DATASET|BAG",
        help="LeRobotDataset v3.0 folder, as `hpt convert` writes it, or a bag, shown as it would be converted",
    )
    parser.add_argument(
        "--embodiment",
        metavar="FILE",
        help="embodiment file; left out: the one that the bag or dataset carries",
    )
    parser.add_argument("--episode", type=int, default=0, metavar="N", help="number of the episode")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="write an MP4 video (.mp4) or a Rerun recording (.rrd); left out: Rerun's viewer where it is installed, "
        "else a video in the current folder",
    )


def run(args: argparse.Namespace) -> int:
    """Show the episode; returns 0."""
    import tempfile

    from hpt_ros.dataset import open_dataset
    from hpt_ros.embodiment import Embodiment

    ending = Path(args.out).suffix if args.out else ""
    if args.out and ending not in ENDINGS:
        raise HptError(
            Code.INVALID, "--out", args.out, expected=f"a name ending in {' or '.join(ENDINGS)}",
            remedy="rename it",
        )  # fmt: skip
    if ending == ".rrd":
        require_extra("rerun", extra="rerun", what=f"--out {args.out!r}")
    source = Path(args.source)
    if is_bag(source):
        with tempfile.TemporaryDirectory() as folder:
            dataset = open_dataset(_convert(source, args.embodiment, Path(folder)))
            _show(dataset, args)
    else:
        embodiment = Embodiment.load(args.embodiment) if args.embodiment else None
        _show(open_dataset(source, embodiment), args)
    return 0


def _show(dataset: Dataset, args: argparse.Namespace) -> None:
    from hpt_ros.cli.terminal import Terminal

    episode = _episode(dataset, args.episode)
    has_rerun = importlib.util.find_spec("rerun") is not None
    with Terminal() as report:
        ticks = _report(_ticks(dataset, episode), episode.length, report)
        if (args.out or ("" if has_rerun else ".mp4")).endswith(".mp4"):
            from hpt_ros.cli.view_video import write_episode_video

            video = make_parent(Path(args.out or f"{dataset.root.name}-episode-{episode.index}.mp4"))
            write_episode_video(video, dataset, episode, ticks)
            path: Path | None = video
        else:
            from hpt_ros.cli.view_rerun import show

            path = make_parent(Path(args.out)) if args.out else None
            show(dataset, episode, ticks, path)
    print(f"wrote {path}" if path else "sent the episode to the Rerun viewer")


def is_bag(path: Path) -> bool:
    """Whether a path holds a bag; a dataset's folder never does."""
    from hpt_ros.dataset.layout import is_dataset
    from rosbag_tools.errors import BagError
    from rosbag_tools.reading.finding import find_bags

    if is_dataset(path):
        return False
    try:
        return bool(find_bags([path]))
    except BagError:  # what it is instead, opening it as a dataset says
        return False


def _convert(bag: Path, embodiment_file: str | None, folder: Path) -> Path:
    """A dataset of one bag, within `folder`; named after the bag, as its videos are."""
    from hpt_ros.embodiment import Embodiment
    from rosbag_tools.converting.convert import Options, convert

    embodiment = Embodiment.load(embodiment_file) if embodiment_file else None
    dataset = folder / bag.stem
    # Failures are what one wants to look at, and a bag that was cut short is still worth it.
    convert([bag], dataset, embodiment, Options(keep_failures=True, recover=True))
    return dataset


def _episode(dataset: Dataset, number: int) -> Episode:
    for episode in dataset.episodes:
        if episode.index == number:
            return episode
    raise HptError(
        Code.INVALID, "--episode", str(dataset.root),
        problem=f"is {number}, but dataset {{value}} has the episodes {dataset.episodes[0].index} to "
        f"{dataset.episodes[-1].index}", remedy="choose one of them",
    )  # fmt: skip


def _ticks(dataset: Dataset, episode: Episode) -> Iterator[list[Any]]:
    """Each tick's pictures, RGB uint8 (H, W, 3) per view; empty lists for a robot without cameras."""
    from hpt_ros.dataset.video_reader import decode_video

    videos = [
        islice(decode_video(span.path, dataset.embodiment.tick_hz), span.first_frame, None)
        for span in episode.videos
    ]
    for tick in range(episode.length):
        pictures = [next(video, None) for video in videos]
        if any(picture is None for picture in pictures):
            raise HptError(
                Code.DAMAGED, f"dataset {str(dataset.root)!r}, episode {episode.index}",
                problem=f"has no picture for its tick {tick} of {episode.length}",
                remedy="a video is cut short, so convert the bags again",
            )  # fmt: skip
        yield pictures


def _report(ticks: Iterator[list[Any]], total: int, report: Any) -> Iterator[list[Any]]:
    for done, pictures in enumerate(ticks, start=1):
        yield pictures
        report.bar("drawing", done, total)
