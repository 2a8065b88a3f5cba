# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt import`: datasets of others (LeRobot v2 and v3, RLDS) to a dataset to pre-train on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpt_ros.dataset.importing.importer import Source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add = parser.add_argument
    add("source", metavar="SOURCE", help="LeRobot dataset's folder, or a folder with *.tfrecord files (RLDS)")
    add("--out", required=True, metavar="DIR", help="folder of the new dataset")
    add("--embodiment", metavar="FILE", help="embodiment file that describes the data; left out: one is made")
    add("--name", default="", metavar="NAME", help="name of the embodiment that is made")
    add(
        "--size",
        metavar="HEIGHTxWIDTH",
        help="size of the pictures, e.g. 224x224; left out: the smallest view's, for all views",
    )
    add("--task", default="", metavar="TEXT", help="task text of episodes that have none")
    add("--fps", type=float, metavar="HZ", help="steps a second, which RLDS does not say")
    add(
        "--action",
        nargs="+",
        default=["action"],
        metavar="COLUMN",
        help="RLDS: columns that make the action",
    )
    add(
        "--state",
        nargs="*",
        default=["observation/state"],
        metavar="COLUMN",
        help="RLDS: columns that make the state, or none",
    )
    add("--skip-bad", action="store_true", help="leave episodes out that cannot be used, and report them")
    add("--overwrite", action="store_true", help="replace the dataset at --out")


def run(args: argparse.Namespace) -> int:
    """Import and print what was taken; returns 0."""
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.dataset.importing.importer import import_dataset
    from hpt_ros.embodiment import Embodiment

    embodiment = Embodiment.load(args.embodiment) if args.embodiment else None
    size = _size(args.size) if args.size else None
    source = _source(args)
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
            progress=lambda done: terminal.bar("importing episodes", done, None),
        )
    print(f"{Path(args.out)}: {report.episodes} episodes, {report.rows} ticks at {source.fps:g} Hz")
    if source.left_out:
        print(f"  columns left out: {', '.join(source.left_out)}")
    for name, reason in report.skipped.items():
        print(f"  skipped {name}: {reason}")
    return 0


def _source(args: argparse.Namespace) -> Source:
    from hpt_ros.dataset.importing.lerobot import LeRobotSource
    from hpt_ros.dataset.importing.rlds import RldsSource
    from hpt_ros.dataset.layout import INFO, is_dataset
    from hpt_ros.errors import Code, HptError

    root = Path(args.source)
    if not root.exists():
        raise HptError(Code.NOT_FOUND, f"the dataset {str(root)!r}", remedy="give its folder")
    if is_dataset(root):
        if args.fps is not None:
            raise HptError(
                Code.UNEXPECTED, "--fps", args.fps,
                problem=f"is {{value}}, but the LeRobot dataset {str(root)!r} says its own",
            )  # fmt: skip
        return LeRobotSource(root)
    if args.fps is None or not 1.0 <= args.fps <= 1000.0:
        raise HptError(
            Code.MISSING, "--fps",
            problem=f"is {args.fps}, but 1 to 1000 steps a second were expected for RLDS, which does not say "
            "it", remedy=f"add --fps HZ (or give a LeRobot dataset's folder, with {INFO})",
        )  # fmt: skip
    return RldsSource(root, args.fps, args.action, args.state)


def _size(text: str) -> tuple[int, int]:
    from hpt_ros.errors import Code, HptError

    height, cross, width = text.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise HptError(
            Code.INVALID, "--size", text, problem="is {value}, but HEIGHTxWIDTH was expected, e.g. 224x224"
        )
    return int(height), int(width)
