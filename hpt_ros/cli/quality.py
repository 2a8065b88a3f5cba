# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt quality`: is a dataset fit to learn from?"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hpt_ros.dataset import Dataset, Episode
    from hpt_ros.dataset.quality.findings import Finding, Quality
    from hpt_ros.dataset.quality.measure import ImageMeasures, ValueMeasures


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder that `hpt convert` wrote")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="REPORT.html",
        help="page to write; replaced if it is there",
    )
    parser.add_argument(
        "--embodiment", type=Path, metavar="FILE", help="embodiment file; left out: the one in the dataset"
    )
    parser.add_argument(
        "--min",
        type=float,
        default=1.0,
        metavar="RATIO",
        help="exit status 1 if a smaller fraction of the episodes than this has no error",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FILE.json",
        help="also write the numbers of the episodes without an error, for --episodes of convert and finetune",
    )
    parser.add_argument("--json", action="store_true", help="also write the figures to REPORT.json")


def run(args: argparse.Namespace) -> int:
    """Measure, write the page and print the findings per check; returns 1 if too many episodes have an error."""
    import tempfile

    from hpt_ros.dataset import open_dataset
    from hpt_ros.embodiment import Embodiment
    from hpt_ros.errors import Code, HptError

    _check_out(args.out, args.dataset)
    if not 0.0 <= args.min <= 1.0:
        raise HptError(
            Code.OUT_OF_RANGE, "--min", args.min, expected="a fraction of the episodes from 0 to 1"
        )
    if args.keep is not None and args.keep.resolve().is_relative_to(args.dataset.resolve()):
        raise HptError(
            Code.CONFLICT,
            "--keep",
            args.keep,
            problem="is {value} inside the dataset",
            remedy="write the list beside it",
        )
    written = [args.out, args.out.with_suffix(".json")] if args.json else [args.out]
    if args.keep is not None and (
        args.keep.is_dir() or args.keep.resolve() in [path.resolve() for path in written]
    ):
        raise HptError(
            Code.CONFLICT, "--keep", args.keep,
            problem=f"is {{value}}, {'a folder' if args.keep.is_dir() else 'to which the report is written'}",
            remedy="give another file",
        )  # fmt: skip
    embodiment = Embodiment.load(args.embodiment) if args.embodiment else None
    with tempfile.TemporaryDirectory() as folder:  # a report leaves no copy of depth and point clouds behind
        quality = _report(args, open_dataset(args.dataset, embodiment, cache_root=folder))
    return 0 if quality.passes(args.min) else 1


def _report(args: argparse.Namespace, dataset: Dataset) -> Quality:
    import itertools
    import json

    import numpy as np

    from hpt_ros.cli.terminal import ResultConsole, Terminal
    from hpt_ros.dataset.quality.checks import assess
    from hpt_ros.dataset.quality.findings import CHECKS
    from hpt_ros.dataset.quality.measure import EpisodeArrays
    from hpt_ros.dataset.quality.page import page
    from hpt_ros.dataset.quality.recorded import read_recorded

    views = [stream.name for stream in dataset.embodiment.image_streams]
    with Terminal() as terminal:
        frames = itertools.count(1)

        def advance() -> None:
            terminal.bar("reading images", next(frames), dataset.length * len(views))

        thumbnails: dict[tuple[int, str], list[bytes]] = {}
        pictures = {
            view: _pictures(dataset, number, advance, thumbnails) for number, view in enumerate(views)
        }
    recorded = read_recorded(dataset.root)
    arrays = [
        EpisodeArrays(
            episode.index,
            episode.task,
            dataset.state[episode.start : episode.stop].astype(np.float64),
            dataset.action[episode.start : episode.stop].astype(np.float64),
            {view: found[subject] for view, found in pictures.items()},
            *_senses(dataset, episode),
            recorded.get(episode.index),
        )
        for subject, episode in enumerate(dataset.episodes)
    ]
    quality = assess(dataset.embodiment, arrays)
    texts = {args.out: page(quality, str(args.dataset), thumbnails)}
    if args.json:
        texts[args.out.with_suffix(".json")] = json.dumps(quality.as_mapping(), indent=1) + "\n"
    if args.keep:
        texts[args.keep] = json.dumps(quality.keep()) + "\n"
    for path, text in texts.items():
        _write(path, text)
    console = ResultConsole(highlight=False, markup=False, soft_wrap=True)
    console.print(dataset.summary())
    for key, check in CHECKS.items():
        if found := quality.of(key):
            console.print(f"{check.severity}: {check.title}: {len(found)}; {_list(found)}")
    if not quality.findings:
        console.print("nothing found")
    for reason in dict.fromkeys(quality.not_assessed.values()):
        names = [CHECKS[key].title for key, why in quality.not_assessed.items() if why == reason]
        console.print(f"not assessed: {', '.join(names)}: {reason}")
    if args.keep:
        console.print(f"keep {len(quality.keep())} of {len(quality.episodes)} episodes")
    console.print(f"report: {', '.join(str(path) for path in texts)}")
    return quality


def _senses(
    dataset: Dataset, episode: Episode
) -> tuple[dict[str, ValueMeasures], dict[str, NDArray[np.float64]]]:
    """What `EpisodeArrays` takes of modalities that are neither pictures nor state."""
    import numpy as np

    from hpt_ros.dataset.layout import features_of
    from hpt_ros.dataset.quality.measure import measure_values

    sensed, vectors = {}, {}
    for name, feature in features_of(dataset.embodiment).items():
        if name not in dataset.arrays:
            continue
        values = dataset.arrays[name][episode.start : episode.stop]
        joined, name = not feature.stream, feature.stream or feature.modality
        if joined or feature.is_large:  # an array of one axis, such as a fingertip's, may well stay the same
            sensed[name] = measure_values(values)
        if not feature.is_large:
            vectors[name] = values.astype(np.float64)
    return sensed, vectors


def _list(found: list[Finding]) -> str:
    first = found[0]
    subject = f"episode {first.episode}" if first.episode >= 0 else "all episodes"
    return f"the first: {subject}, {first.text}"


def _check_out(out: Path, dataset: Path) -> None:
    from hpt_ros.errors import Code, HptError
    from hpt_ros.report.page import require_html

    require_html("--out", out)
    if out.resolve().is_relative_to(dataset.resolve()):
        raise HptError(
            Code.CONFLICT, "--out", str(out),
            problem=f"is {{value}} inside the dataset {str(dataset)!r}, but a dataset holds nothing else",
            remedy="write the report beside it",
        )  # fmt: skip


def _write(path: Path, text: str) -> None:
    from hpt_ros.cli.output import make_parent
    from hpt_ros.report.page import write_page

    write_page(make_parent(path), text)


def _pictures(
    dataset: Dataset, view: int, advance: Callable[[], None], thumbnails: dict[tuple[int, str], list[bytes]]
) -> list[ImageMeasures]:
    """Measures of one view's pictures, one entry an episode; each video is decoded once, from its beginning.

    `thumbnails` gets each episode's first, middle and last picture.
    """
    from collections.abc import Iterator

    from hpt_ros.dataset import DatasetError
    from hpt_ros.dataset.quality.measure import measure_images
    from hpt_ros.dataset.video_reader import decode_video
    from hpt_ros.errors import Code
    from hpt_ros.report.images import thumbnail

    name = dataset.embodiment.image_streams[view].name
    # Number of a frame within its video to the episode that shows it.
    wanted: dict[Path, dict[int, int]] = {}
    for episode in dataset.episodes:
        span, last = episode.videos[view], episode.length - 1
        for tick in sorted({0, last // 2, last}):
            wanted.setdefault(span.path, {})[span.first_frame + tick] = episode.index

    def count_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
        for number, frame in enumerate(decode_video(path, dataset.embodiment.tick_hz)):
            if number in wanted[path]:
                thumbnails.setdefault((wanted[path][number], name), []).append(thumbnail(frame))
            advance()
            yield frame

    videos: dict[Path, ImageMeasures] = {}
    found = []
    for episode in dataset.episodes:
        span = episode.videos[view]
        if span.path not in videos:
            videos[span.path] = measure_images(count_frames(span.path))
        whole = videos[span.path]
        stop = span.first_frame + episode.length
        if stop > len(whole.brightness):
            raise DatasetError(
                Code.INVALID, f"video {str(span.path)!r}", len(whole.brightness),
                problem=f"has {{value}} frames, but episode {episode.index} needs {stop}",
                remedy="copy the dataset again or convert its bags again",
            )  # fmt: skip
        found.append(whole.part(span.first_frame, stop))
    return found
