# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt dataset trim`: what LeRobot's own tools lack to edit a dataset."""

from __future__ import annotations

import argparse

REST_S = 2.0  # from here on `hpt quality` points rests out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    actions = parser.add_subparsers(dest="dataset_action", metavar="ACTION", required=True)
    text = "write a dataset again without long rests at the ends of its episodes"
    trim = actions.add_parser("trim", help=text, description=text)
    trim.add_argument("dataset", metavar="DATASET", help="folder that `hpt convert` or `hpt import` wrote")
    trim.add_argument("--out", required=True, metavar="DIR", help="folder of the new dataset")
    trim.add_argument(
        "--rest",
        type=float,
        default=REST_S,
        metavar="S",
        help="cut rests longer than this at start and end, but for half a second",
    )
    trim.add_argument("--overwrite", action="store_true", help="replace the dataset at --out")


def run(args: argparse.Namespace) -> int:
    """Trim and print what was cut; returns 0."""
    import tempfile
    from pathlib import Path

    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.dataset import open_dataset
    from hpt_ros.dataset.trim import trim_dataset
    from hpt_ros.errors import Code, HptError, format_count

    if Path(args.out).resolve() == Path(args.dataset).resolve():
        raise HptError(
            Code.CONFLICT,
            "--out",
            args.out,
            problem="is the dataset {value} itself",
            remedy="give another folder",
        )
    with tempfile.TemporaryDirectory() as folder, Terminal() as terminal:
        dataset = open_dataset(args.dataset, cache_root=folder)
        ends = trim_dataset(
            dataset,
            args.out,
            args.rest,
            overwrite=args.overwrite,
            progress=lambda done, total: terminal.bar("trimming", done, total),
        )
    lengths = {episode.index: episode.length for episode in dataset.episodes}
    cut = [end for end in ends if end.stop - end.start < lengths[end.episode]]
    ticks = sum(lengths[end.episode] - (end.stop - end.start) for end in cut)
    print(
        f"{args.out}: {format_count(len(ends), 'episode')}, {dataset.length - ticks} of {dataset.length} ticks; rests "
        f"were cut off {format_count(len(cut), 'episode')} ({ticks * dataset.embodiment.dt_s:.1f} s)"
    )
    return 0
