"""`hpt view DATASET`: look at one episode, in Rerun where it is installed, else as a film."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_ros.errors import HptError
from hpt_ros.extras import require_extra

if TYPE_CHECKING:
    from hpt_ros.learning import Dataset, Episode

HELP = "open an episode of a dataset in Rerun, or write it as a film"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "dataset", metavar="DATASET", help="LeRobotDataset v3.0 folder, as `hpt convert` writes it"
    )
    parser.add_argument(
        "--episode", type=int, default=0, metavar="N", help="number of the episode (default 0)"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--film", metavar="FILE", help="write an MP4 film, whether Rerun is installed or not")
    how.add_argument(
        "--save", metavar="FILE", help="write a Rerun recording (.rrd) instead of opening the viewer"
    )


def run(args: argparse.Namespace) -> int:
    """Show the episode; returns 0."""
    from hpt_ros.cli.finetune import Terminal
    from hpt_ros.learning import open_dataset

    dataset = open_dataset(args.dataset)
    episode = _episode(dataset, args.episode)
    has_rerun = importlib.util.find_spec("rerun") is not None
    if args.save:
        require_extra("rerun", extra="rerun", what=f"--save {args.save!r}")
    with Terminal() as report:
        ticks = _reported(_ticks(dataset, episode), episode.length, report)
        if args.film or not has_rerun:
            from hpt_ros.cli.view_film import write_film

            film = _new_file(args.film or f"{dataset.root.name}-episode-{episode.index}.mp4", ".mp4")
            write_film(film, dataset, episode, ticks)
            path: Path | None = film
        else:
            from hpt_ros.cli.view_rerun import show

            path = _new_file(args.save, ".rrd") if args.save else None
            show(dataset, episode, ticks, path)
    print(f"wrote {path}" if path else "sent the episode to the Rerun viewer")
    return 0


def _episode(dataset: Dataset, number: int) -> Episode:
    for episode in dataset.episodes:
        if episode.index == number:
            return episode
    raise HptError(
        f"--episode is {number}, but dataset {str(dataset.root)!r} has the episodes {dataset.episodes[0].index} to "
        f"{dataset.episodes[-1].index}; choose one of them"
    )


def _new_file(name: str, ending: str) -> Path:
    path = Path(name)
    if path.suffix != ending:
        raise HptError(
            f"the file to write is {name!r}, but a name ending in {ending} was expected; rename it"
        )
    if not path.absolute().parent.is_dir():
        raise HptError(f"the folder of {name!r} does not exist; make it, or name another file")
    return path


def _ticks(dataset: Dataset, episode: Episode) -> Iterator[list[Any]]:
    """Each tick's pictures, RGB uint8 (H, W, 3) per view; empty lists for a robot without cameras."""
    from hpt_ros.learning.dataset import decode_video

    films = [
        islice(decode_video(span.path, dataset.embodiment.tick_hz), span.first_frame, None)
        for span in episode.videos
    ]
    for tick in range(episode.length):
        pictures = [next(film, None) for film in films]
        if any(picture is None for picture in pictures):
            raise HptError(
                f"dataset {str(dataset.root)!r}, episode {episode.index}, has no picture for its tick {tick} of "
                f"{episode.length}; a video is cut short, so convert the bags again"
            )
        yield pictures


def _reported(ticks: Iterator[list[Any]], total: int, report: Any) -> Iterator[list[Any]]:
    for done, pictures in enumerate(ticks, start=1):
        yield pictures
        report.bar("drawing", done, total)
