# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt study`: a grid of training runs, drawn."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hpt_ros.cli.cluster import add_ray, check_ray
from hpt_ros.devices import DEFAULT_DEVICE, DEVICE_HELP, choose_device
from hpt_ros.errors import Code, HptError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("study", type=Path, metavar="STUDY.yaml", help="what is varied")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the runs; a study begun there goes on",
    )
    parser.add_argument(
        "--scenes",
        type=int,
        metavar="N",
        help="instead of the study's evaluate.scenes; those that are run stay",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="list the cells, and check their data, recipes and weights"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="cells side by side, each in a process of one thread",
    )
    add_ray(parser, "cells")
    parser.add_argument("--device", default=DEFAULT_DEVICE, help=DEVICE_HELP)


def run(args: argparse.Namespace) -> int:
    """Run the cells that are not done, and write table and figure; returns 0, or 1 when a loss became infinite."""
    from hpt_ros.cli.training import unless_diverged

    return unless_diverged("hpt study", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    from contextlib import closing
    from dataclasses import replace

    from hpt_ros.cli.interruption import interrupt_on_signals
    from hpt_ros.cli.output import make_folder
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.studies.cell import read_result, require_same, require_trainable
    from hpt_ros.studies.closed_loop import require_judgeable
    from hpt_ros.studies.config import cells_of, load_study
    from hpt_ros.studies.execution import CellJob, run_in_processes, run_on_ray
    from hpt_ros.studies.pool import Pool
    from hpt_ros.studies.running import budget_of, is_done, run_cell, write_results

    if args.workers < 1:
        raise HptError(Code.OUT_OF_RANGE, "--workers", args.workers, expected="at least 1")
    check_ray(args, "cells")
    study = load_study(args.study)
    if args.scenes is not None:
        if study.evaluate is None:
            raise HptError(
                Code.MISSING, f"study {str(args.study)!r}", "evaluate", remedy="add it, or leave --scenes out"
            )
        if args.scenes < 0:
            raise HptError(Code.OUT_OF_RANGE, "--scenes", args.scenes, expected="at least 0")
        study = replace(study, evaluate=replace(study.evaluate, scenes=args.scenes))
    device = choose_device(args.device).name
    cells = cells_of(study)
    pool = Pool(study)
    require_trainable(study, [cell for cell in cells if read_result(cell, args.out) is None], pool)
    require_judgeable(study, cells, pool)
    print(budget_of(study, cells, args.out), flush=True)
    if args.dry_run:
        print("\n".join(cell.name for cell in cells))
        return 0
    make_folder(args.out, args.out)
    require_same(study, args.out)
    left = [cell for cell in cells if not is_done(study, cell, args.out)]
    try:
        with interrupt_on_signals(), Terminal() as terminal:
            if args.ray or args.workers > 1:
                jobs = [CellJob(study, cell, args.out.absolute(), device) for cell in left]
                running = run_on_ray(jobs, args.ray) if args.ray else run_in_processes(jobs, args.workers)
                with closing(running) as done:
                    for number, cell in enumerate(done if jobs else (), start=1):
                        to_go = budget_of(study, cells, args.out).to_go
                        terminal.say(f"{number} of {len(left)} done: {cell.name}; CPU time to go {to_go}")
            else:
                for number, cell in enumerate(left, start=1):
                    to_go = budget_of(study, cells, args.out).to_go
                    terminal.say(f"cell {number} of {len(left)}: {cell.name}; CPU time to go {to_go}")
                    run_cell(study, cell, args.out, pool, _Quiet(terminal), device)
    finally:
        table = write_results(study, cells, args.out)
    if table is not None:
        print(table)
        print(f"figures: {args.out}/*.svg, tables: {args.out / 'results.md'}")
    return 0


class _Quiet:
    """Shows the progress of a cell, and not its sentences."""

    def __init__(self, terminal: Any) -> None:
        self._terminal = terminal

    def say(self, sentence: str) -> None:
        """Drop the line."""

    def bar(self, label: str, done: int, total: int, note: str = "") -> None:
        """Show how far the run is."""
        if not label.startswith("decoding"):
            self._terminal.bar(label, done, total, note)
