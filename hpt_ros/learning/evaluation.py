# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How far a policy's actions are from those of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment
from hpt_ros.learning.batch_source import BatchSource
from hpt_ros.learning.distributed import Processes
from hpt_ros.learning.mixture import Mixture
from hpt_ros.learning.recipe import Recipe
from hpt_ros.learning.samples import Windows
from hpt_ros.model import MultiPolicy, Policy


@dataclass(frozen=True, slots=True)
class ErrorSums:
    """Sums over samples, which add up over parts of a dataset, datasets and processes."""

    loss: float  # weighted by real steps
    absolute: NDArray[
        np.float64
    ]  # (K, A), of errors of each dimension at each step of the chunk, in its unit
    counts: NDArray[np.float64]  # (K,), real steps

    def __add__(self, other: ErrorSums) -> ErrorSums:
        return ErrorSums(self.loss + other.loss, self.absolute + other.absolute, self.counts + other.counts)

    def over(self, processes: Processes) -> ErrorSums:
        """The sums of all processes."""
        values = torch.from_numpy(np.concatenate([[self.loss], self.counts, self.absolute.reshape(-1)]))
        loss, *rest = processes.sum(values).tolist()
        horizon = len(self.counts)
        return ErrorSums(
            loss, np.array(rest[horizon:]).reshape(self.absolute.shape), np.array(rest[:horizon])
        )

    def means(self) -> tuple[float, NDArray[np.float64]]:
        """Loss, and mean errors (K, A) of each dimension at each step of the chunk."""
        count = float(self.counts.sum())
        return self.loss / max(count, 1.0), self.absolute / np.maximum(self.counts, 1)[:, None]


def error_sums(
    policy: Policy, source: BatchSource, windows: Windows, samples: NDArray[np.int64], batch_size: int
) -> ErrorSums:
    """Loss and absolute errors over some samples.

    The error is of absolute actions, whatever the mode, so that modes can be compared.

    The policy must be in evaluation mode; it is given every modality. Steps beyond an episode's end do not count.
    """
    space = source.dataset.embodiment.space
    horizon, dim = windows.action_horizon, source.dataset.embodiment.action.dim
    sums = ErrorSums(0.0, np.zeros((horizon, dim)), np.zeros(horizon))
    for begin in range(0, len(samples), batch_size):
        batch = source.batch(windows, samples[begin : begin + batch_size])
        real = ~batch.is_pad  # (B, K)
        with torch.inference_mode():
            loss = float(policy.loss(batch.inputs, batch.action, batch.is_pad))
            predicted = policy.predict(batch.inputs).float().cpu().numpy()  # (B, K, A)
        # Errors of deltas add up on a robot, so they do here.
        wanted, given = (space.from_mode(values, batch.state) for values in (batch.action, predicted))
        errors = np.abs(space.shortest(given - wanted)) * real[..., None]
        sums += ErrorSums(loss * float(real.sum()), errors.sum(0), real.sum(0).astype(np.float64))
    return sums


def validate(
    policy: MultiPolicy,
    mixture: Mixture,
    sources: Sequence[BatchSource],
    recipe: Recipe,
    processes: Processes | None = None,
) -> dict[str, Any]:
    """Loss and action error over the episodes held out, as figures for metrics and card; none without episodes.

    Of one embodiment: "validation_loss", and if its action has one unit "validation_error" in it and
    "validation_error_per_step"; radians and metres do not add up. Of several: "validation_loss", the mean over
    embodiments, and under "validation" the loss of each, and its error if its action has one unit. Of both:
    "validation_errors", by embodiment, of each step of the chunk and each dimension.
    """
    processes = processes or Processes()
    found: dict[str, ErrorSums] = {}
    for member, source in zip(mixture.members, sources, strict=True):
        if not member.split.validation:
            return {}
        robot = member.dataset.embodiment
        windows = Windows.of(member.split.validation, robot.observation_horizon, robot.action.horizon)
        count = min(recipe.validation_samples, len(windows))
        samples = np.linspace(0, len(windows) - 1, count).round().astype(np.int64)
        mine = samples[processes.rank :: processes.world]
        size = recipe.micro_batch or recipe.batch_size
        sums = error_sums(policy.single(member.embodiment), source, windows, mine, size).over(processes)
        found[member.embodiment] = found[member.embodiment] + sums if member.embodiment in found else sums
    figures = {name: sums.means() for name, sums in found.items()}
    each = {
        name: [[round(e, 6) for e in step] for step in errors.tolist()]
        for name, (_, errors) in figures.items()
    }
    of_one_unit = {name for name, robot in mixture.robots.items() if len(set(robot.space.units)) == 1}
    if len(figures) == 1:
        ((name, (loss, errors)),) = figures.items()
        measured: dict[str, Any] = {"validation_loss": loss}
        if name in of_one_unit:
            measured["validation_error"] = float(errors.mean())
            measured["validation_error_per_step"] = [round(float(error), 6) for error in errors.mean(1)]
        return measured | {"validation_errors": each}
    return {
        "validation_loss": sum(loss for loss, _ in figures.values()) / len(figures),
        "validation": {
            name: {"loss": loss} | ({"error": float(errors.mean())} if name in of_one_unit else {})
            for name, (loss, errors) in figures.items()
        },
        "validation_errors": each,
    }


def errors_by_unit(robot: Embodiment, errors: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return the mean error of the action's dimensions of each unit; that of elements of an orientation has none.

    Args:
        robot: whose action it is.
        errors: (K, A) of each step of the chunk and each dimension.
    """
    means, units = np.asarray(errors, dtype=float).mean(0), np.array(robot.space.units)
    return {str(unit): float(means[units == unit].mean()) for unit in dict.fromkeys(robot.space.units)}


def errors_text(robot: Embodiment, errors: Sequence[Sequence[float]], digits: int = 4) -> str:
    """Return the mean errors of an action for people, as "0.0120 m, 0.0310 of orientation"."""
    found = errors_by_unit(robot, errors).items()
    return ", ".join(f"{value:.{digits}f} {unit or 'of orientation'}" for unit, value in found)


def summary(measured: Mapping[str, Any], robots: Mapping[str, Embodiment]) -> str:
    """Return what `validate` gave as one line for people."""
    errors = {name: errors_text(robots[name], each) for name, each in measured["validation_errors"].items()}
    if "validation" not in measured:
        ((_, text),) = errors.items()
        return f"validation loss {measured['validation_loss']:.4f}, action error {text}"
    each = ", ".join(
        f"{name} {figures['loss']:.4f} (action error {errors[name]})"
        for name, figures in measured["validation"].items()
    )
    return f"validation loss {measured['validation_loss']:.4f}, the mean of {each}"
