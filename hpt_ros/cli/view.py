"""`hpt view`: look at one episode of a dataset or a bag, in Rerun where it is installed, else as a film."""

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

HELP = "open an episode of a dataset or a bag in Rerun, or write it as a film"


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
        help="for a bag: its embodiment file; left out: the one that it carries",
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
    import tempfile

    from hpt_ros.learning import open_dataset

    if args.save:
        require_extra("rerun", extra="rerun", what=f"--save {args.save!r}")
    source = Path(args.source)
    if is_bag(source):
        with tempfile.TemporaryDirectory() as folder:
            dataset = open_dataset(_converted(source, args.embodiment, Path(folder)))
            _show(dataset, args)
    elif args.embodiment:
        raise HptError(
            f"--embodiment is given for {args.source!r}, which is no bag; a dataset carries its own: leave it out"
        )
    else:
        _show(open_dataset(source), args)
    return 0


def _show(dataset: Dataset, args: argparse.Namespace) -> None:
    from hpt_ros.cli.finetune import Terminal

    episode = _episode(dataset, args.episode)
    has_rerun = importlib.util.find_spec("rerun") is not None
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


def is_bag(path: Path) -> bool:
    """Whether a path holds a bag; a dataset's folder never does."""
    from rosbag_tools.errors import BagError
    from rosbag_tools.reader import find_bags

    if (path / "meta" / "info.json").exists():
        return False
    try:
        return bool(find_bags([path]))
    except BagError:  # what it is instead, opening it as a dataset says
        return False


def _converted(bag: Path, embodiment_file: str | None, folder: Path) -> Path:
    """A dataset of one bag, within `folder`; named after the bag, as its films are."""
    from hpt_ros.embodiment import Embodiment
    from rosbag_tools.convert import Options, convert

    embodiment = Embodiment.load(embodiment_file) if embodiment_file else None
    place = folder / bag.stem
    # Failures are what one wants to look at, and a bag that was cut short is still worth it.
    convert([bag], place, embodiment, Options(keep_failures=True, recover=True))
    return place


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
