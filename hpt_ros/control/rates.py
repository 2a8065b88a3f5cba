# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Velocities as commands, of a base: limited in themselves and in how they change; rest is zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpt_ros.control.chunk import Vector
from hpt_ros.control.safety import TOLERANCE


@dataclass(frozen=True, slots=True, eq=False)
class Rate:
    """A command of velocities, and which limits changed it.

    Attributes:
        value, change: (n,) the velocities, and their change from the command before, per second.
        clamped: a target lay beyond a velocity limit.
        too_sudden: a target needed more than an acceleration limit.
    """

    value: Vector
    change: Vector
    clamped: bool = False
    too_sudden: bool = False


class RateFilter:
    """Limits a sequence of velocities, one per command period.

    Each stays within its lower and upper limit, and changes by at most A dt from one SENT command to the next. Both are
    intervals that hold zero and the way to it, so there is always a legal next command, and braking always ends.
    """

    def __init__(self, lower: Vector, upper: Vector, acceleration: Vector, dt_s: float) -> None:
        """Start at rest.

        Args:
            lower, upper: (n,) limits of the velocities, lower <= 0 <= upper.
            acceleration: (n,) largest change per second.
            dt_s: command period.
        """
        self._lower, self._upper = lower, upper
        self._step, self._dt_s = acceleration * dt_s, dt_s
        self.value: Vector = np.zeros(lower.size)
        self.change: Vector = np.zeros(lower.size)

    @property
    def at_rest(self) -> bool:
        """Whether the last command is zero."""
        return not self.value.any()

    def reset(self) -> None:
        """Begin at rest."""
        self.value, self.change = np.zeros(self.value.size), np.zeros(self.value.size)

    def apply(self, target: Vector) -> Rate:
        """Make the next command, as near as can be to a finite target (n,)."""
        inside = np.clip(target, self._lower, self._upper)
        slack = TOLERANCE * self._step
        legal = np.abs(inside - self.value) <= self._step + slack
        near = np.clip(inside, self.value - self._step, self.value + self._step)
        return self._send(
            np.where(legal, inside, np.clip(near, self._lower, self._upper)),
            clamped=bool((inside != target).any()),
            too_sudden=not bool(legal.all()),
        )

    def brake(self) -> Rate:
        """The next command on the shortest way to zero."""
        return self._send(self._nearer_zero(1))

    def path_to_rest(self) -> Vector:
        """The commands that `brake` would make from here on, up to the first that is all zero, (m, n), m >= 1."""
        count = int(np.ceil((np.abs(self.value) / self._step).max(initial=0.0) - TOLERANCE))
        return self._nearer_zero(np.arange(1.0, max(count, 1) + 1.0)[:, None])

    def _nearer_zero(self, steps: Vector | int) -> Vector:
        left = np.abs(self.value) - steps * self._step
        return np.asarray(np.sign(self.value) * np.where(left <= TOLERANCE * self._step, 0.0, left))

    def _send(self, value: Vector, *, clamped: bool = False, too_sudden: bool = False) -> Rate:
        self.value, self.change = value, (value - self.value) / self._dt_s
        return Rate(value.copy(), self.change.copy(), clamped, too_sudden)
