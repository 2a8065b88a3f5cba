# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Checks of a policy's statistics: against the limits that they are made of, and against a checkpoint's stats.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from hpt_ros.errors import Code
from hpt_ros.model.checkpoint import Checkpoint
from hpt_ros.model.checkpoint_folder import CheckpointError
from hpt_ros.model.normaliser import LimitsNormaliser, NormaliserError, Statistics
from hpt_ros.model.policy import Policy

FIGURES = ("min", "max", "mean", "std")
# Scale and offset in float32 from the same limits, by another order of operations (the released code's).
TOLERANCE = 1e-5


def statistics_in(policy: Policy, name: str) -> Statistics:
    """Return the statistics of one feature that a policy's weights hold, if its scale and offset follow from them.

    Raises:
        NormaliserError: they do not: the normaliser was not fitted to limits, or was altered.
    """
    held = policy.normaliser[name]
    where = f"the statistics of {name!r} in the weights"
    statistics = Statistics(
        **{key: held.input_stats.get_buffer(key).numpy().astype(np.float32) for key in FIGURES}
    )
    again = LimitsNormaliser(held.dim)
    again.set_statistics(statistics, where=where)
    for key in ("scale", "offset"):
        ours, computed = held.get_buffer(key), again.get_buffer(key)
        if not torch.allclose(ours, computed, rtol=TOLERANCE, atol=TOLERANCE):
            index = int((ours - computed).abs().argmax())
            raise NormaliserError(
                Code.DAMAGED,
                f"{where} give dimension {index} the {key} {float(computed[index]):g}, but the weights",
                float(ours[index]), problem="have {value}, so it was not fitted to limits or was altered",
                remedy="only limits can be used",
            )  # fmt: skip
    return statistics


def require_statistics(checkpoint: Checkpoint) -> None:
    """Raise unless stats.json says of every normalised feature what the weights hold.

    Raises:
        HptError: a feature is missing in stats.json, or a figure differs.
    """
    for name in checkpoint.policy.statistics_needed:
        held = statistics_in(checkpoint.policy, name)
        said = checkpoint.stats.get(name)
        if not isinstance(said, Mapping):
            raise CheckpointError(
                Code.MISMATCH, "the checkpoint's stats.json", name,
                problem="has no statistics of {value}, which the policy normalises",
                remedy="the folder was mixed from two checkpoints, copy it again",
            )  # fmt: skip
        for key in FIGURES:
            ours, theirs = getattr(held, key), _numbers(said.get(key))
            if ours.shape != theirs.shape or not np.array_equal(ours, theirs):
                raise CheckpointError(
                    Code.MISMATCH, "the checkpoint's stats.json", name,
                    problem=f"has {key} of {{value}} {_short(theirs)}, but its weights have {_short(ours)}",
                    remedy="the folder was mixed from two checkpoints, copy it again",
                )  # fmt: skip


def _numbers(value: object) -> np.ndarray[Any, np.dtype[np.float32]]:
    try:
        return np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        return np.empty(0, dtype=np.float32)


def _short(values: np.ndarray[Any, np.dtype[np.float32]]) -> str:
    shown = ", ".join(f"{number:g}" for number in values.flat[:4])
    return f"[{shown}{', ...' if values.size > 4 else ''}]"
