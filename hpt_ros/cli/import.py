# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt import`: datasets of others (LeRobot, RLDS, HDF5, Zarr) to a dataset to pre-train on."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add = parser.add_argument
    add(
        "source",
        metavar="SOURCE",
        help="LeRobot dataset's folder, a folder with *.tfrecord files (RLDS), HDF5 files, or a Zarr store",
    )
    add("--out", required=True, metavar="DIR", help="folder of the new dataset")
    add("--embodiment", metavar="FILE", help="embodiment file that describes the data; left out: one is made")
    add("--name", default="", metavar="NAME", help="name of the embodiment that is made")
    add(
        "--size",
        metavar="HEIGHTxWIDTH",
        help="size of the pictures, e.g. 224x224; left out: the smallest view's, for all views",
    )
    add("--task", default="", metavar="TEXT", help="task text of episodes that have none")
    add(
        "--fps",
        type=float,
        metavar="HZ",
        help="rows a second, where the data does not state them or is wrong",
    )
    add(
        "--action",
        nargs="+",
        action="extend",
        metavar="COLUMN",
        help="columns that make the action, in this order; left out: action or actions",
    )
    add(
        "--state",
        nargs="*",
        action="extend",
        metavar="COLUMN",
        help="columns that make the state, or none; left out: the usual one of the format",
    )
    add(
        "--depth",
        choices=("rows", "video"),
        default="rows",
        help="how depth is stored: in rows, to the millimetre (default), or as LeRobot's video of 12-bit codes, which "
        "its tools edit: to within 1 mm up to 4 m and 2 mm up to 10 m, and no further",
    )
    add("--skip-bad", action="store_true", help="leave episodes out that cannot be used, and report them")
    add("--overwrite", action="store_true", help="replace the dataset at --out")


def run(args: argparse.Namespace) -> int:
    """Import and print what was taken; returns 0."""
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.dataset.importing.importer import import_dataset
    from hpt_ros.dataset.importing.open import open_source
    from hpt_ros.embodiment import Embodiment
    from hpt_ros.errors import format_count

    embodiment = Embodiment.load(args.embodiment) if args.embodiment else None
    size = _size(args.size) if args.size else None
    source = open_source(args.source, args.fps, args.action, args.state)
    with Terminal() as terminal:
        terminal.bar("importing episodes", 0, None)
        report = import_dataset(
            source,
            args.out,
            embodiment,
            name=args.name,
            size=size,
            task=args.task,
            overwrite=args.overwrite,
            skip_bad=args.skip_bad,
            coded=args.depth == "video",
            progress=lambda done: terminal.bar("importing episodes", done, None),
        )
    print(
        f"{Path(args.out)}: {format_count(report.episodes, 'episode')}, {report.rows} ticks at {source.fps:g} Hz"
    )
    for note in source.notes:
        print(f"  note: {note}")
    if source.labels:
        print(f"  labels kept: {', '.join(f'{name} ({column})' for name, column in source.labels.items())}")
    if source.left_out:
        print(f"  columns left out: {', '.join(source.left_out)}")
    for name, reason in report.skipped.items():
        print(f"  skipped {name}: {reason}")
    return 0


def _size(text: str) -> tuple[int, int]:
    from hpt_ros.errors import Code, HptError

    height, cross, width = text.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise HptError(Code.INVALID, "--size", text, expected="HEIGHTxWIDTH, e.g. 224x224")
    return int(height), int(width)
