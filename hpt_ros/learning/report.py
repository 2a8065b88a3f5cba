# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The page of a training run: curves, errors, predictions, data and recipe; made again at each validation."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hpt_ros.embodiment import Embodiment
from hpt_ros.learning.evaluation import errors_by_unit
from hpt_ros.learning.initial_weights import RANDOM
from hpt_ros.learning.mixture import Mixture, counts_before
from hpt_ros.learning.model_card import commit
from hpt_ros.learning.predictions import Predicted
from hpt_ros.learning.preparation import spans_text
from hpt_ros.learning.recipe import recipe_mapping
from hpt_ros.learning.statistics import training_statistics
from hpt_ros.modalities import Layout
from hpt_ros.model.normaliser import MIN_RANGE
from hpt_ros.report.charts import Line, draw_lines
from hpt_ros.report.images import inline
from hpt_ros.report.page import number, render
from hpt_ros.structured import dump_yaml

if TYPE_CHECKING:
    from hpt_ros.learning.run_log import RunFacts

MOST_DIMENSIONS = 16  # whose predictions are drawn, of an episode
MOST_STEPS = 12  # of a chunk, in the table of errors
# Where the middle 98 % take up less than this part of the range, a few outliers say what -1 and 1 are; our choice.
NARROW = 0.5
# What moves by less than ten times the range below which it would only be shifted (less than 0.001 of its unit) may
# be noise of a number that does not move, and is stretched to [-1, 1] as others are; our choice.
STILL_RANGE = 10 * MIN_RANGE


def training_page(
    out: Path,
    facts: RunFacts,
    step: int,
    predictions: Sequence[Predicted],
    spread: Sequence[Mapping[str, Any]],
) -> str:
    """Return the page's text.

    Args:
        out: the run's folder, whose metrics.jsonl is drawn.
        facts: of the run.
        step: steps done.
        predictions: episodes that are shown.
        spread: of `spread_of`.
    """
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    logged = [line for line in lines if "lr" in line]
    validated = [line for line in lines if "validation_loss" in line]
    recipe, mixture = facts.recipe, facts.mixture
    errors: Mapping[str, Any] = next(
        (line["validation_errors"] for line in reversed(lines) if "validation_errors" in line), {}
    )
    return render(
        "hpt_ros.learning",
        "training.html",
        title=f"Training of {out.name}",
        step=step,
        recipe=recipe,
        robots=", ".join(mixture.robots),
        tiles=_tiles(step, facts, logged, validated),
        curves=_curves(logged, validated, mixture),
        errors=[_errors(mixture.robots[name], each) for name, each in errors.items()],
        episodes=[_episode(item, several=len(mixture.robots) > 1) for item in predictions],
        members=_members(facts, step),
        statistics=spread,
        still=[entry for entry in spread if entry["still"]],
        kind=recipe.statistics,
        run=[
            ("command", facts.command or "called from Python"),
            ("code", commit()),
            ("PyTorch", torch.__version__),
            ("device", f"{facts.device}, {recipe.precision}, {facts.processes} process(es)"),
            ("trunk", facts.start.trunk or facts.start.init or RANDOM),
            ("image encoder", facts.start.image_encoder or facts.start.init or RANDOM),
        ],
        recipe_text=dump_yaml(recipe_mapping(recipe)),
    )


def _tiles(
    step: int, facts: RunFacts, logged: Sequence[Mapping[str, Any]], validated: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str]]:
    tiles = [(f"{step:,} of {facts.recipe.iterations:,}", "steps")]
    key = "validation_error" if validated and "validation_error" in validated[0] else "validation_loss"
    if validated:
        best = min(validated, key=lambda line: line[key])
        robot = next(iter(facts.mixture.robots.values()))
        unit = f" {robot.action.unit}" if key == "validation_error" else ""
        what = "mean action error" if key == "validation_error" else "validation loss"
        tiles.append((f"{number(best[key])}{unit}", f"best {what}, at step {best['step']:,}"))
        tiles.append((f"{number(validated[-1][key])}{unit}", f"newest {what}"))
    if logged:
        tiles.append((f"{logged[-1]['samples_per_s']:.0f}", "samples/s, newest"))
        tiles.append(
            (f"{100 * logged[-1]['data_wait_ratio']:.1f} %", "of the newest steps' time waiting for data")
        )
    return tiles


def _error_curves(validated: Sequence[Mapping[str, Any]], mixture: Mixture) -> list[tuple[str, str]]:
    """Draw the action errors, a chart for each unit with a line for each embodiment."""
    lines: dict[str, list[Line]] = {}
    for name, robot in mixture.robots.items():
        found = [
            (line["step"], errors_by_unit(robot, line["validation_errors"][name]))
            for line in validated
            if "validation_errors" in line
        ]
        for unit in found[0][1] if found else ():
            label = name if len(mixture.robots) > 1 else ""
            values = [errors[unit] for _, errors in found]
            lines.setdefault(unit, []).append(Line(label, [step for step, _ in found], values))
    charts = []
    for unit, each in lines.items():
        title = f"Mean action error on validation episodes, {unit or 'orientation'}"
        charts.append((title, draw_lines(each, label=title, x_label="step", log_y=True)))
    return charts


def _curves(
    logged: Sequence[Mapping[str, Any]], validated: Sequence[Mapping[str, Any]], mixture: Mixture
) -> list[tuple[str, str]]:
    steps, looked = [line["step"] for line in logged], [line["step"] for line in validated]
    losses = [Line("training", steps, [line["loss"] for line in logged])]
    if validated:
        losses.append(Line("validation", looked, [line["validation_loss"] for line in validated]))
    charts = [
        ("Loss", draw_lines(losses, label="loss over steps", x_label="step", log_y=True)),
    ]
    if several := [line for line in validated if "validation" in line]:
        title = "Validation loss of each embodiment"
        at = [line["step"] for line in several]
        each = [
            Line(name, at, [line["validation"][name]["loss"] for line in several]) for name in mixture.robots
        ]
        charts.append((title, draw_lines(each, label=title, x_label="step", log_y=True)))
    charts += _error_curves(validated, mixture)
    for key, title, scale in (
        ("lr", "Learning rate", 1.0),
        ("samples_per_s", "Samples a second", 1.0),
        ("data_wait_ratio", "Time waiting for data, %", 100.0),
    ):
        values = [scale * line[key] for line in logged]
        charts.append((title, draw_lines([Line("", steps, values)], label=title, x_label="step", zero=True)))
    return charts


def _errors(robot: Embodiment, errors: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return the table and the chart of one embodiment's errors, (K, A)."""
    values, dims = np.array(errors), robot.space.elements
    shown = np.unique(np.linspace(0, len(values) - 1, MOST_STEPS).round().astype(int)).tolist()
    most = values.max(initial=0.0) or 1.0
    rows = [
        {
            "name": name,
            "unit": unit,
            "mean": number(float(values[:, index].mean())),
            "steps": [(number(float(values[k, index])), f"{values[k, index] / most:.2f}") for k in shown],
        }
        for index, (name, unit) in enumerate(dims)
    ]
    times = [k * robot.dt_s for k in range(len(values))]
    chart = draw_lines(
        [Line(name, times, values[:, index]) for index, (name, _) in enumerate(dims[:MOST_DIMENSIONS])],
        label=f"error over the chunk, {robot.name}", x_label="time in the chunk, s", y_label="mean error", zero=True,
    )  # fmt: skip
    return {
        "robot": robot.name,
        "heads": [f"{k} ({k * robot.dt_s:.1f} s)" for k in shown],
        "rows": rows,
        "chart": chart,
    }


def _episode(item: Predicted, *, several: bool) -> dict[str, Any]:
    robot, dt_s = item.robot, item.robot.dt_s
    times = np.arange(len(item.recorded)) * dt_s
    horizon = item.chunks.shape[1]
    charts = []
    for index, (name, unit) in enumerate(robot.space.elements[:MOST_DIMENSIONS]):
        # One line of all chunks, with a gap after each.
        x = np.full((len(item.ticks), horizon + 1), np.nan)
        y = np.full_like(x, np.nan)
        x[:, :-1] = (item.ticks[:, None] + np.arange(horizon)) * dt_s
        y[:, :-1] = item.chunks[:, :, index]
        x[~np.isfinite(y)] = np.nan
        lines = [
            Line("recorded", times, item.recorded[:, index], colour=0),
            Line("predicted", x.reshape(-1), y.reshape(-1), colour=1),
        ]
        title = f"{name}, {unit}" if unit else name
        charts.append((title, draw_lines(lines, label=title, x_label="s", height=150)))
    left_out = robot.action.dim - len(charts)
    return {
        "title": f"Episode {item.episode}{f' of {robot.name}' if several else ''}",
        "task": item.task,
        "views": [
            (
                view,
                [
                    (f"{tick * dt_s:.1f} s", inline(data))
                    for tick, data in zip(item.shown, images, strict=True)
                ],
            )
            for view, images in item.images.items()
        ],
        "charts": charts,
        "left_out": left_out,
    }


def _members(facts: RunFacts, step: int) -> list[dict[str, Any]]:
    mixture, recipe = facts.mixture, facts.recipe
    fractions = np.array([member.fraction for member in mixture.members])
    unit = recipe.batch_size if recipe.mixing == "dataset" else 1
    drawn = counts_before(step * recipe.batch_size // unit, fractions, recipe.seed) * unit
    return [
        {
            "member": member,
            "spans": spans_text(member.dataset.embodiment),
            "ticks": len(member.windows),
            "drawn": int(count),
            "epochs": f"{count / len(member.windows):.1f}",
        }
        for member, count in zip(mixture.members, drawn, strict=True)
    ]


def spread_of(
    mixture: Mixture, name: str, normalised: Container[str], kind: str = "limits"
) -> list[dict[str, Any]]:
    """Return what limits and what quantiles make of each dimension of an embodiment's action and joined vectors.

    Args:
        mixture: whose training episodes count.
        name: of the embodiment.
        normalised: what the run normalises of it.
        kind: of the run's statistics; dimensions that hardly move by these are `still`.
    """
    robot = mixture.robots[name]
    joined = [m.name for m in robot.modalities if m.layout is Layout.JOINED and m.name in normalised]
    data = [(member.dataset, member.split) for member in mixture.of(name)]
    limits, quantiles = (training_statistics(data, joined, kind) for kind in ("limits", "quantiles"))
    found = []
    for what in ("action", *joined):
        names = robot.action.names if what == "action" else robot.names_of(what)
        for index, dimension in enumerate(names):
            low, high = float(limits[what].min[index]), float(limits[what].max[index])
            lower, upper = float(quantiles[what].min[index]), float(quantiles[what].max[index])
            spans = {"limits": high - low, "quantiles": upper - lower}
            ratio = spans["quantiles"] / spans["limits"] if high > low else 1.0
            found.append(
                {
                    "robot": name,
                    "what": what,
                    "name": dimension,
                    "limits": f"{low:.4g} to {high:.4g}",
                    "quantiles": f"{lower:.4g} to {upper:.4g}",
                    "ratio": ratio,
                    "narrow": ratio < NARROW,
                    "still": MIN_RANGE <= spans[kind] < STILL_RANGE,
                }
            )
    return found
