# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt study`: a grid of training runs, drawn."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_ros.devices import DEFAULT_DEVICE, DEVICE_HELP, choose_device

if TYPE_CHECKING:
    from hpt_ros.studies.config import Cell, StudyConfig


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
        "--dry-run", action="store_true", help="list the cells, and check their data, recipes and weights"
    )
    parser.add_argument("--device", default=DEFAULT_DEVICE, help=DEVICE_HELP)


def run(args: argparse.Namespace) -> int:
    """Run the cells that are not done, and write table and figure; returns 0, or 1 when a loss became infinite."""
    from hpt_ros.cli.finetune import unless_diverged

    return unless_diverged("hpt study", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    import json

    from hpt_ros.cli.output import make_folder
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.studies.cell import read_result, require_same, require_trainable, train_cell
    from hpt_ros.studies.config import cells_of, load_study
    from hpt_ros.studies.figures import draw_losses
    from hpt_ros.studies.pool import Pool
    from hpt_ros.studies.results import losses_table, write_text

    study = load_study(args.study)
    device = choose_device(args.device).name
    cells = cells_of(study)
    pool = Pool(study)
    require_trainable(study, [cell for cell in cells if read_result(cell, args.out) is None], pool)
    print(_budget(study, cells, args.out), flush=True)
    if args.dry_run:
        print("\n".join(cell.name for cell in cells))
        return 0
    make_folder(args.out, args.out)
    require_same(study, args.out)
    results = []
    try:
        with Terminal() as terminal:
            for number, cell in enumerate(cells):
                if read_result(cell, args.out) is None:
                    to_go = _budget(study, cells, args.out).to_go
                    terminal.say(f"cell {number + 1} of {len(cells)}: {cell.name}; CPU time to go {to_go}")
                results.append(train_cell(study, cell, args.out, pool, _Quiet(terminal), device))
    finally:
        if results:
            write_text(args.out / "results.json", json.dumps(results, indent=1) + "\n")
            write_text(args.out / "results.md", losses_table(results, study.x))
            draw_losses(args.out, results, study.x)
    print(losses_table(results, study.x))
    print(f"figure: {args.out / 'figure.svg'}, results: {args.out / 'results.json'}")
    return 0


@dataclass(frozen=True, slots=True)
class _Budget:
    """What a study takes, for people."""

    cells: int
    done: int
    so_far: str
    to_go: str

    def __str__(self) -> str:
        return (
            f"{self.cells} cells, {self.done} of them done; CPU time so far {self.so_far}, to go {self.to_go}"
        )


def _budget(study: StudyConfig, cells: list[Cell], out: Path) -> _Budget:
    from hpt_ros.studies.budget import TRAINING, as_hours, read_pace
    from hpt_ros.studies.cell import samples_left

    pace = read_pace([out / cell.name for cell in cells])
    left = [samples_left(study, cell, out) for cell in cells]
    to_go = pace.left_s({TRAINING: sum(left)})
    return _Budget(
        cells=len(cells),
        done=left.count(0),
        so_far=as_hours(sum(pace.cpu_s.values())),
        to_go="known after the first cell" if to_go is None else f"about {as_hours(to_go)}",
    )


class _Quiet:
    """Shows the progress of a cell, and not its sentences."""

    def __init__(self, terminal: Any) -> None:
        self._terminal = terminal

    def say(self, sentence: str) -> None:
        """Drop the line."""

    def bar(self, label: str, done: int, total: int, note: str = "") -> None:
        """Show how far the run is."""
        if label == "training":
            self._terminal.bar(label, done, total, note)
