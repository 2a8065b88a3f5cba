# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How far a policy's actions are from those of a dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hpt_ros.learning.recipe import Recipe
from hpt_ros.learning.samples import Split, Windows
from hpt_ros.learning.source import Source
from hpt_ros.model import Policy


def action_error(
    policy: Policy, source: Source, windows: Windows, samples: NDArray[np.int64], batch_size: int
) -> tuple[float, NDArray[np.float64]]:
    """Loss, and mean error of the chunk's steps (K,) in the action's unit, over some samples.

    The error is of absolute actions, whatever the mode, so that modes can be compared.

    The policy must be in evaluation mode; it is given every modality. Steps beyond an episode's end do not count.
    """
    space = source.dataset.embodiment.space
    absolute = np.zeros(windows.action_horizon)
    counts = np.zeros(windows.action_horizon)
    loss = 0.0
    for place in range(0, len(samples), batch_size):
        chosen = samples[place : place + batch_size]
        batch = source.batch(windows, chosen)
        with torch.inference_mode():
            loss += float(policy.loss(batch.inputs, batch.action, batch.is_pad)) * len(chosen)
            predicted = policy.predict(batch.inputs).float().cpu().numpy()  # (B, K, A)
        real = ~batch.is_pad  # (B, K)
        # Errors of deltas add up on a robot, so they do here.
        wanted, given = (space.from_mode(values, batch.state) for values in (batch.action, predicted))
        absolute += (np.abs(given - wanted).mean(2) * real).sum(0)
        counts += real.sum(0)
    return loss / len(samples), absolute / np.maximum(counts, 1)


def validate(policy: Policy, source: Source, split: Split, recipe: Recipe) -> dict[str, Any]:
    """Loss and action error over the episodes kept aside, as figures for metrics and card; none without episodes."""
    if not split.validation:
        return {}
    robot = source.dataset.embodiment
    windows = Windows.of(split.validation, robot.observation_horizon, robot.action.horizon)
    count = min(recipe.validation_samples, len(windows))
    samples = np.linspace(0, len(windows) - 1, count).round().astype(np.int64)
    loss, errors = action_error(policy, source, windows, samples, recipe.batch_size)
    return {
        "validation_loss": loss,
        "validation_error": float(errors.mean()),
        "validation_error_per_step": [round(float(error), 6) for error in errors],
    }
