# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A chunk of actions with times, and the smooth curve through it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.refusals import Why
from hpt_ros.errors import Code, HptError, Refusal

Vector = NDArray[np.float64]

NS_PER_S = 1_000_000_000


class ChunkError(HptError):
    """A chunk that must not be executed: wrong size or not finite."""


def shape_refusal(values: Vector, dim: int) -> Refusal | None:
    """Return why values are no chunk for `dim` commanded dimensions; None if they are."""
    shape = np.shape(values)
    if len(shape) == 2 and shape[0] > 0 and shape[1] == dim:
        return None
    return Refusal(
        Why.WRONG_SIZE, "a chunk's shape", shape, problem="is {value}", expected=f"(horizon, {dim})",
        remedy="check the policy",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reference:
    """Where the policy wants the robot at one time: position and velocity, (dim,) each, in the action's unit."""

    position: Vector
    velocity: Vector


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Actions i = 0..H-1 for the times observation_ns + i * dt_s.

    Between actions the curve is the cubic Hermite interpolant with Catmull-Rom slopes, limited so that it never
    leaves the range of the two actions around it (three times the smaller secant, and zero at a turning point; de Boor
    and Swartz, "Piecewise monotone interpolation", 1977). Position and velocity are continuous.

    Attributes:
        observation_ns: tick of the observation behind it; time of action 0.
        dt_s: seconds from one action to the next.
        values: (H, dim), in the action's unit.
        number: the caller's count of chunks.
    """

    observation_ns: int
    dt_s: float
    values: Vector
    number: int = 0
    _slopes: Vector = field(init=False, repr=False)

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        if values.ndim != 2 or 0 in values.shape:
            raise ChunkError(
                Code.WRONG_SHAPE, "a chunk's shape", values.shape, expected="(horizon, dim)",
                remedy="check the policy's output",
            )  # fmt: skip
        if not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0]
            raise ChunkError(
                Code.NOT_FINITE, "a chunk",
                problem=f"has the value {values[row, column]} for action {row}, dimension {column}",
                expected="finite numbers", remedy="check the policy's weights and inputs",
            )  # fmt: skip
        if not self.dt_s > 0.0:
            raise ChunkError(
                Code.OUT_OF_RANGE, "a chunk's dt_s", self.dt_s, expected="more than 0 s",
                remedy="check the tick_hz",
            )  # fmt: skip
        values.setflags(write=False)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "_slopes", _slopes(values))

    def future_refusal(self, now_ns: int) -> Refusal:
        """Return why it is refused as one of the future."""
        ahead_s = (self.observation_ns - now_ns) / NS_PER_S
        return Refusal(
            Why.FUTURE, "a chunk", ahead_s, problem=f"is of an observation {ahead_s:.3f} s in the future",
            remedy="synchronise the clocks of cameras and policy",
        )  # fmt: skip

    def late_refusal(self) -> Refusal:
        """Return why it is refused as late."""
        return Refusal(
            Why.LATE, "a chunk", self.horizon,
            problem="of {value} actions came after the time of its last action, or is older than the one in use",
            remedy="make the policy faster or its horizon longer",
        )  # fmt: skip

    @property
    def horizon(self) -> int:
        """Number of actions."""
        return int(self.values.shape[0])

    @property
    def dim(self) -> int:
        """Length of one action."""
        return int(self.values.shape[1])

    @property
    def cover_s(self) -> float:
        """Time from the first action to the last."""
        return (self.horizon - 1) * self.dt_s

    @property
    def end_ns(self) -> int:
        """Time of the last action."""
        return self.time_ns(self.horizon - 1)

    def time_ns(self, index: int) -> int:
        """Time of action `index`."""
        return self.observation_ns + round(index * self.dt_s * NS_PER_S)

    def actions_before(self, time_ns: int) -> int:
        """Number of actions whose time lies before `time_ns`."""
        elapsed = (time_ns - self.observation_ns) / (self.dt_s * NS_PER_S)
        # A nanosecond of slack, because the times of actions are rounded to one.
        return min(max(math.ceil(elapsed - 1.0 / (self.dt_s * NS_PER_S)), 0), self.horizon)

    def at(self, time_ns: int) -> Reference:
        """The curve at a time: held before the first action, going on straight after the last."""
        x = (time_ns - self.observation_ns) / (self.dt_s * NS_PER_S)
        if x <= 0.0:
            return Reference(
                self.values[0].copy(), np.zeros(self.dim) if x < 0.0 else self._slopes[0] / self.dt_s
            )
        last = self.horizon - 1
        if x >= last:
            velocity = self._slopes[last]
            return Reference(self.values[last] + (x - last) * velocity, velocity / self.dt_s)
        index = int(x)
        u = x - index
        p0, p1, m0, m1 = (
            self.values[index],
            self.values[index + 1],
            self._slopes[index],
            self._slopes[index + 1],
        )
        rise = p1 - p0
        position = p0 + u * (m0 + u * ((3.0 * rise - 2.0 * m0 - m1) + u * (m0 + m1 - 2.0 * rise)))
        velocity = m0 + u * (2.0 * (3.0 * rise - 2.0 * m0 - m1) + u * 3.0 * (m0 + m1 - 2.0 * rise))
        return Reference(position, velocity / self.dt_s)

    def hold_at(self, time_ns: int) -> Vector:
        """The newest action at or before a time, for dimensions that are never averaged, (dim,)."""
        index = min(max(self.actions_before(time_ns + 1) - 1, 0), self.horizon - 1)
        held: Vector = self.values[index]
        return held


def _slopes(values: Vector) -> Vector:
    """Slope per step at each action, (H, dim)."""
    if values.shape[0] == 1:
        return np.zeros_like(values)
    secants = np.diff(values, axis=0)
    slopes = np.empty_like(values)
    slopes[0], slopes[-1] = secants[0], secants[-1]
    before, after = secants[:-1], secants[1:]
    bound = np.where(before * after > 0.0, 3.0 * np.minimum(np.abs(before), np.abs(after)), 0.0)
    slopes[1:-1] = np.clip((before + after) / 2.0, -bound, bound)
    return slopes
