# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The page of replays: errors, seams and limits of each dimension, and what was predicted beside what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpt_ros.embodiment import Embodiment
from hpt_ros.evaluation.replay import Figures, Replay
from hpt_ros.report.charts import Line, draw_histogram, draw_lines
from hpt_ros.report.page import number, percent, render

MOST_EPISODES = 6
MOST_DIMENSIONS = 16
MOST_CHUNKS = 24  # of an episode that are drawn
MOST_STEPS = 12


def replay_page(
    title: str,
    robot: Embodiment,
    replays: Sequence[Replay],
    figures: Figures,
    facts: Sequence[tuple[str, str]],
) -> str:
    """Return the page's text.

    Args:
        title: of it.
        robot: the policy's.
        replays: of all episodes; those with faults and the largest errors are drawn.
        figures: over all of them.
        facts: what the controller did.
    """
    errors, dims = figures.errors, robot.space.elements
    shown = np.unique(np.linspace(0, len(errors) - 1, MOST_STEPS).round().astype(int)).tolist()
    most = errors.max(initial=0.0) or 1.0
    rows = [
        {
            "name": name,
            "unit": unit,
            "mean": number(float(errors[:, index].mean())),
            "steps": [(number(float(errors[k, index])), f"{errors[k, index] / most:.2f}") for k in shown],
            "jump_mean": number(float(figures.jump_mean[index])),
            "jump_max": number(float(figures.jump_max[index])),
            "outside": percent(float(figures.outside[index])),
            "too_fast": percent(float(figures.too_fast[index])),
            "bad": bool(figures.outside[index] or figures.too_fast[index]),
        }
        for index, (name, unit) in enumerate(dims)
    ]
    times = [k * robot.dt_s for k in range(len(errors))]
    over_chunk = draw_lines(
        [Line(name, times, errors[:, index]) for index, (name, _) in enumerate(dims[:MOST_DIMENSIONS])],
        label="error over the chunk", x_label="time in the chunk, s", y_label="mean error", zero=True,
    )  # fmt: skip
    means = np.array([_mean_error(item) for item in replays])
    ordered = sorted(range(len(replays)), key=lambda index: (not replays[index].fault, -means[index]))
    return render(
        "hpt_ros.evaluation",
        "replay.html",
        title=title,
        robot=robot,
        replays=replays,
        ticks=figures.ticks,
        heads=[f"{k} ({k * robot.dt_s:.1f} s)" for k in shown],
        rows=rows,
        over_chunk=over_chunk,
        spread=draw_histogram(means, label="mean error of each episode", low=0.0),
        facts=facts,
        worst=[_episode(replays[index], means[index], robot) for index in ordered[:MOST_EPISODES]],
    )


def _mean_error(item: Replay) -> float:
    return float(np.nanmean(np.abs(item.chunks - item.recorded)))


def _episode(item: Replay, mean: float, robot: Embodiment) -> dict[str, Any]:
    first = item.ticks[0]
    times = (item.ticks - first) * robot.dt_s
    horizon = item.chunks.shape[1]
    chosen = np.unique(np.linspace(0, len(item.ticks) - 1, MOST_CHUNKS).round().astype(int))
    charts = []
    for index, (name, unit) in enumerate(robot.space.elements[:MOST_DIMENSIONS]):
        x = np.full((len(chosen), horizon + 1), np.nan)  # a gap after each chunk
        y = np.full_like(x, np.nan)
        x[:, :-1] = times[chosen, None] + np.arange(horizon) * robot.dt_s
        y[:, :-1] = item.chunks[chosen, :, index]
        x[:, :-1][~np.isfinite(item.recorded[chosen, :, index])] = np.nan
        lines = [
            Line("recorded", times, item.recorded[:, 0, index], colour=0),
            Line("predicted", x.reshape(-1), y.reshape(-1), colour=1),
        ]
        title = f"{name}, {unit}" if unit else name
        # Where the control vector has the same elements, what would have been commanded fits in.
        if len(item.commands) and robot.space.names == robot.action.names:
            inside = item.times_s <= times[-1]
            lines.append(
                Line("commanded", item.times_s[inside], item.commands[inside, index], colour=2, kind="thin")
            )
        charts.append((title, draw_lines(lines, label=title, x_label="s", height=150)))
    return {
        "name": item.name,
        "mean": number(mean),
        "fault": item.fault,
        "holds": item.holds,
        "charts": charts,
    }
