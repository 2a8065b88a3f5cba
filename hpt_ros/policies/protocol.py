# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a policy is asked and answers, whatever computes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

Inputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Observation:
    """What a policy is given.

    Attributes:
        stamp_ns: the newest tick's time.
        inputs: as `hpt_ros.observation.assemble` makes them: "image" uint8 (1, T, V, H, W, 3), "state" float32
            (1, T, D), ...
        task: the task's text.
        keys: indices of the T ticks, oldest first; equal ones are the same tick. Empty: not known.
    """

    stamp_ns: int
    inputs: Inputs
    task: str = ""
    keys: tuple[int, ...] = ()


class ChunkPolicy(Protocol):
    """Arrays with a time in, a chunk out; runs on the worker's thread only."""

    def predict(self, observation: Observation) -> NDArray[Any]:
        """The chunk, (horizon, action dim), in the action's unit; action i is for stamp_ns + i * dt."""
        ...

    def reset(self) -> None:
        """Forget past observations: an episode begins."""
        ...


@runtime_checkable
class EncodesAhead(Protocol):
    """A policy that can do a part of its work before a chunk is asked for."""

    def observe(self, observation: Observation) -> None:
        """Take one new tick (T = 1, one key), so that a later `predict` with its key has less to do."""
        ...
