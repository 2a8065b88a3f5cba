# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Losses and gradients that are no finite numbers: noticed before anything is saved, and traced to their samples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpt_ros.errors import Code, HptError
from hpt_ros.learning.distributed import Processes
from hpt_ros.learning.mixture import Mixture

FILE = "diverged.json"  # in the run's folder: every sample of the batch
NAMED = 4  # episodes in the sentence; the file has all


class DivergedError(HptError):
    """The loss or its gradient became infinite or no number; what was saved before is sound."""


class DivergenceWatch:
    """Holds the losses of the steps since the last `check`, on the device: looking at each would stop it every step."""

    def __init__(self, mixture: Mixture, out: Path, processes: Processes, *, lr: float) -> None:
        self._mixture, self._out, self._processes, self._lr = mixture, out, processes, lr
        self._seen: list[tuple[int, tuple[int, NDArray[np.int64]] | None, Tensor]] = []

    def add_loss(self, step: int, member: int, samples: NDArray[np.int64], loss: Tensor) -> None:
        """Note the loss of some samples of a member of the mixture at a step."""
        self._seen.append((step, (member, samples), loss))

    def add_gradient(self, step: int, norm: Tensor) -> None:
        """Note the norm of all gradients at a step."""
        self._seen.append((step, None, norm))

    def check(self) -> None:
        """Forget what was noted, if all of it is finite. All processes call it, and all raise if one does.

        Raises:
            DivergedError: it is not; it names dataset, episodes and ticks, and `FILE` in the run's folder has them all.
        """
        seen, self._seen = self._seen, []
        sound = not seen or bool(torch.isfinite(torch.stack([value for *_, value in seen])).all())
        if not self._processes.any(not sound):
            return
        there = (self._out / "last").is_dir()
        advice = f"look at these, lower lr ({self._lr:g}), and " + (
            f"go on from the checkpoints in {str(self._out)!r}, which are from before it, with --init"
            if there
            else "start again: nothing had been saved yet"
        )
        if sound:
            raise DivergedError(
                Code.NOT_FINITE, "the loss of another process", problem="is not finite", remedy=advice
            )
        step, where, value = next(item for item in seen if not bool(torch.isfinite(item[2])))
        batch = [item[1] for item in seen if item[0] == step and item[1] is not None]
        found = [self._name(member, samples) for member, samples in ([where] if where else batch)]
        record = {
            "step": step + 1,
            "of": "loss" if where else "gradient",
            "value": str(float(value)),
            "batch": found,
        }
        noted = ""
        try:
            (self._out / FILE).write_text(json.dumps(record, indent=1), encoding="utf-8")
            noted = f" (all samples: {str(self._out / FILE)!r})"
        except OSError:  # a full disk must not hide what happened
            pass
        raise DivergedError(
            Code.NOT_FINITE, f"the {record['of']} of step {step + 1}", float(value),
            problem=f"is {{value}} with {'; '.join(map(_sentence, found))}{noted}",
            remedy=advice,
        )  # fmt: skip

    def _name(self, member: int, samples: NDArray[np.int64]) -> dict[str, Any]:
        """Dataset, and the ticks of each episode that the samples are at."""
        of = self._mixture.members[member]
        index = {episode.start: episode.index for episode in of.split.train}
        episodes: dict[int, list[int]] = {}
        for sample in samples.tolist():
            first = int(of.windows.first(sample))
            episodes.setdefault(index[first], []).append(int(of.windows.tick(sample)) - first)
        return {"dataset": of.name, "episodes": {key: sorted(episodes[key]) for key in sorted(episodes)}}


def _sentence(found: Mapping[str, Any]) -> str:
    episodes = found["episodes"]
    named = ", ".join(
        f"episode {index} at tick{'s' if len(ticks) > 1 else ''} {', '.join(map(str, ticks[:NAMED]))}"
        f"{' ...' if len(ticks) > NAMED else ''}"
        for index, ticks in list(episodes.items())[:NAMED]
    )
    more = f" and {len(episodes) - NAMED} more episodes" if len(episodes) > NAMED else ""
    return f"dataset {found['dataset']!r}, {named}{more}"
