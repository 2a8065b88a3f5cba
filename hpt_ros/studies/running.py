# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A study from its first cell to its tables and figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpt_ros.atomic import write_text
from hpt_ros.evaluation.outcomes import Outcomes
from hpt_ros.learning.reporter import Reporter
from hpt_ros.studies.budget import SCENES, TRAINING, as_hours, read_pace
from hpt_ros.studies.cell import read_result, samples_left, train_cell
from hpt_ros.studies.closed_loop import OUTCOMES, VALIDATION, judge_cell, outcomes_of, seeds_left
from hpt_ros.studies.config import Cell, StudyConfig
from hpt_ros.studies.figures import draw_curves, draw_losses, draw_success
from hpt_ros.studies.pool import Pool
from hpt_ros.studies.results import losses_table
from hpt_ros.studies.success import arms_in, judge, success_table


@dataclass(frozen=True, slots=True)
class Budget:
    """What a study takes.

    Attributes:
        cells: how many there are.
        trained: cells that are.
        scenes_left: that are still to be run.
        spent_s: CPU time of what was done.
        left_s: of what is left, at the pace so far; None while some of it was never done.
    """

    cells: int
    trained: int
    scenes_left: int
    spent_s: float
    left_s: float | None

    @property
    def to_go(self) -> str:
        """For people."""
        return "known once there is a pace" if self.left_s is None else f"about {as_hours(self.left_s)}"

    def __str__(self) -> str:
        scenes = f", {self.scenes_left} scenes to run" if self.scenes_left else ""
        return (
            f"{self.cells} cells, {self.trained} of them trained{scenes}; CPU time so far {as_hours(self.spent_s)}, "
            f"to go {self.to_go}"
        )


def budget_of(study: StudyConfig, cells: Sequence[Cell], out: Path) -> Budget:
    """Return what a study took and will take."""
    pace = read_pace([out / cell.name for cell in cells])
    samples = [samples_left(study, cell, out) for cell in cells]
    scenes: dict[str, int] = {}
    for cell in cells:
        for name, count in seeds_left(study, cell, out).items():
            scenes[f"{SCENES} {name}"] = scenes.get(f"{SCENES} {name}", 0) + count
    return Budget(
        cells=len(cells),
        trained=samples.count(0),
        scenes_left=sum(scenes.values()),
        spent_s=sum(pace.cpu_s.values()),
        left_s=pace.left_s({TRAINING: sum(samples), **scenes}),
    )


def is_done(study: StudyConfig, cell: Cell, out: Path) -> bool:
    """Whether a cell is trained and all its scenes are run."""
    return read_result(cell, out) is not None and not any(seeds_left(study, cell, out).values())


def run_cell(
    study: StudyConfig, cell: Cell, out: Path, pool: Pool, report: Reporter, device: str = "auto"
) -> None:
    """Train a cell and run its scenes; what is done already is left as it is.

    Raises:
        HptError: as `train_cell` and `judge_cell`; KeyboardInterrupt after what was done is saved.
    """
    train_cell(study, cell, out, pool, report, device)
    judge_cell(study, cell, out, report, device)


def write_results(study: StudyConfig, cells: Sequence[Cell], out: Path) -> str | None:
    """Write tables and figures of the cells that are done so far; returns the tables, None without a cell."""
    results: list[dict[str, Any]] = []
    outcomes: dict[str, dict[Cell, dict[str, Outcomes]]] = {OUTCOMES: {}, VALIDATION: {}}
    for cell in cells:
        if (found := read_result(cell, out)) is None:
            continue
        for kind, key in ((OUTCOMES, "success"), (VALIDATION, "validation_success")):
            each = outcomes_of(study, cell, out, kind)
            if each is not None:
                outcomes[kind][cell] = each
                found[key] = {
                    name: {"successes": item.successes, "scenes": len(item.episodes)}
                    for name, item in each.items()
                }
        results.append(found)
    if not results:
        return None
    arms, choosing = (arms_in(outcomes[kind], out / kind) for kind in (OUTCOMES, VALIDATION))
    judged = judge(study, arms, choosing, results)
    table = f"## Validation loss\n\n{losses_table(results, study.x)}"
    if success := success_table(study, judged):
        table = f"## Success in closed loop\n\n{success}\n{table}"
    write_text(out / "results.json", json.dumps(results, indent=1) + "\n")
    write_text(out / "results.md", table)
    draw_losses(out, results, study.x)
    draw_curves(out, results, study.x)
    if any(item.success for _, points in judged for item in points):
        draw_success(out, judged, results, study.x)
    return table
