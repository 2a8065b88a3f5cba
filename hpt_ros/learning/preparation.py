# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a run and its dry run do alike before there is a network: tell of the data, and take its statistics."""

from __future__ import annotations

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError, format_count
from hpt_ros.learning.mixture import Mixture
from hpt_ros.learning.recipe import Recipe
from hpt_ros.learning.reporter import Reporter
from hpt_ros.learning.statistics import training_statistics
from hpt_ros.model import Statistics


class PreparationError(HptError):
    """The data do not allow what the recipe asks for."""


def tell_of(mixture: Mixture, report: Reporter) -> None:
    """Say a line about each dataset."""
    several = len(mixture.members) > 1
    for member in mixture.members:
        name = f"{member.name}, {100 * member.fraction:.1f} % of the samples" if several else "data"
        failed = f", {member.failed} that failed are left out" if member.failed else ""
        report.say(
            f"{name}: {member.dataset.summary()}; {format_count(len(member.split.train), 'episode')} "
            f"to train on, {len(member.split.validation)} to validate{failed}"
        )
    robots = mixture.robots.values()
    if len({robot.dt_s for robot in robots}) > 1:
        spans = "; ".join(f"{robot.name} {spans_text(robot)}" for robot in robots)
        report.say(f"rates differ, and nothing is resampled: {spans}")


def spans_text(robot: Embodiment) -> str:
    """What a robot's ticks are in time, as "10 Hz, observes 2 ticks (0.1 s), chunks of 4 (0.4 s)"."""
    seen, ahead = robot.observation_horizon, robot.action.horizon
    return (
        f"{robot.tick_hz:g} Hz, observes {format_count(seen, 'tick')} ({(seen - 1) * robot.dt_s:.2g} s), "
        f"chunks of {ahead} ({ahead * robot.dt_s:.2g} s)"
    )


def statistics_of(mixture: Mixture, recipe: Recipe) -> dict[str, dict[str, Statistics]]:
    """Return the statistics of each robot's training episodes, over all its datasets.

    Raises:
        PreparationError: nothing is held out to tell when to stop early.
    """
    if recipe.early_stopping and not any(member.split.validation for member in mixture.members):
        raise PreparationError(
            Code.CONFLICT, "early_stopping", recipe.early_stopping,
            problem="is {value}, but no dataset has an episode to validate on",
            remedy="record more episodes, or set early_stopping to 0",
        )  # fmt: skip
    return {
        name: training_statistics(
            [(member.dataset, member.split) for member in mixture.of(name)],
            recipe.policy.with_streams_of(robot).modalities,
            recipe.statistics,
        )
        for name, robot in mixture.robots.items()
    }
