# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Success of the arms of a study in closed loop, and what it gains over that of the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpt_ros.evaluation.arms import Arm, Comparison, compare, successes_of
from hpt_ros.evaluation.outcomes import Outcomes
from hpt_ros.evaluation.statistics import Interval, PairedComparison
from hpt_ros.studies.config import AXES, Cell, EvaluationConfig, StudyConfig
from hpt_ros.studies.results import Line, Point, Result, lines_of

_NO_ARM = ("start", "trunk")  # what an arm's baseline may differ in


@dataclass(frozen=True, slots=True)
class Judged:
    """What a point's arm did.

    Attributes:
        point: the cells.
        success: by environment; also of suites, and of all if there are several.
        gains: the comparison with the baseline, by the same names; none of the baseline itself, or without one.
        to_choose_by: success on validation scenes by environment, suite and all; none without.
    """

    point: Point
    success: Mapping[str, Interval]
    gains: Mapping[str, PairedComparison]
    to_choose_by: Mapping[str, Interval]


def arms_in(outcomes: Mapping[Cell, Mapping[str, Outcomes]], folder: Path) -> dict[str, Arm]:
    """Return the arms by their names.

    Args:
        outcomes: of the cells whose scenes are all run, by environment.
        folder: that they are from.
    """
    runs: dict[str, dict[str, list[Outcomes]]] = {}
    for cell, each in outcomes.items():
        for name, found in each.items():
            runs.setdefault(cell.arm, {}).setdefault(name, []).append(found)
    return {
        arm: Arm(folder / arm, {name: tuple(each) for name, each in found.items()})
        for arm, found in runs.items()
    }


def judge(
    study: StudyConfig, arms: Mapping[str, Arm], choosing: Mapping[str, Arm], results: Sequence[Result]
) -> list[tuple[Line, list[Judged]]]:
    """Return what the arms of each line did, as far as their scenes are run.

    Args:
        study: its configuration.
        arms: by name.
        choosing: the same on validation scenes.
        results: of the cells that are trained.
    """
    found = []
    for line in lines_of(results, study.x):
        judged = []
        for point in line.points:
            name = Cell.of(point.results[0]).arm
            if name not in arms and name not in choosing:
                continue
            baseline = _baseline_of(study, point.results[0], results)
            gains = {}
            if baseline and baseline != name and name in arms and baseline in arms:
                gains = _gains(compare(arms[baseline], arms[name]))
            judged.append(
                Judged(
                    point,
                    successes_of(arms[name]) if name in arms else {},
                    gains,
                    successes_of(choosing[name]) if name in choosing else {},
                )
            )
        if judged:
            found.append((line, judged))
    return found


def _gains(comparison: Comparison) -> dict[str, PairedComparison]:
    return {row.name: row.paired for row in comparison.rows}


def _baseline_of(study: StudyConfig, result: Result, results: Sequence[Result]) -> str:
    """Return the name of the arm that differs from a cell's in its start alone; empty if there is none, or several."""
    same = {
        Cell.of(other).arm: other
        for other in results
        if other["start"] == study.compared_with
        and all(other[axis] == result[axis] for axis in AXES if axis not in _NO_ARM)
    }
    if len(same) > 1:  # several trunks
        same = {name: other for name, other in same.items() if other["trunk"] == result["trunk"]}
    return next(iter(same)) if len(same) == 1 else ""


def success_table(study: StudyConfig, judged: Sequence[tuple[Line, Sequence[Judged]]]) -> str:
    """Return the success as Markdown; empty without any.

    Args:
        study: its configuration.
        judged: of `judge`.
    """
    config = study.evaluate
    if config is None or not judged:
        return ""
    names: dict[str, None] = {}
    for _, points in judged:
        for item in points:
            names |= dict.fromkeys((*item.success, *item.to_choose_by))
    heads = ["", study.x, "seeds"]
    heads += ["success on validation scenes"] if config.validation_scenes else []
    heads += ["success", "95 % interval"] if config.scenes else []
    comparing = bool(config.scenes and study.compared_with and len(study.starts) > 1)
    if comparing:
        heads += [f"less {study.compared_with}, points", "95 % interval", "scenes won", "lost"]
    parts = [
        f"Checkpoint: {config.checkpoint}"
        + (f", scenes {config.seeds[0]} to {config.seeds[-1]} of each environment." if config.scenes else ".")
    ]
    for name in reversed(names):  # all of them before each
        rows = [f"### {name}", "", "| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
        for line, points in judged:
            rows += [_row(config, line, item, name, comparing) for item in points]
        parts.append("\n".join(rows))
    parts.append(
        "Success: Wilson's interval of one training seed; of several, and over environments, a bootstrap over training "
        "seeds and scenes. Differences: a paired bootstrap over the same scenes and over training seeds."
    )
    return "\n\n".join(parts) + "\n"


def _row(config: EvaluationConfig, line: Line, item: Judged, name: str, comparing: bool) -> str:
    cells = [line.name, str(item.point.x), str(len(item.point.results))]
    if config.validation_scenes:
        found = item.to_choose_by.get(name)
        cells.append("" if found is None else f"{100 * found.estimate:.1f} %")
    if config.scenes:
        cells += _interval(item.success.get(name), "{:.1f} %", "{:.1f} to {:.1f}")
    if comparing:
        paired = item.gains.get(name)
        cells += _interval(paired.difference if paired else None, "{:+.1f}", "{:+.1f} to {:+.1f}")
        cells += ["", ""] if paired is None else [str(paired.only_b), str(paired.only_a)]
    return "| " + " | ".join(cells) + " |"


def _interval(found: Interval | None, estimate: str, bounds: str) -> list[str]:
    if found is None:
        return ["", ""]
    return [estimate.format(100 * found.estimate), bounds.format(100 * found.lower, 100 * found.upper)]
