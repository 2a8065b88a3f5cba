# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The curve that a robot is commanded: a uniform cubic B-spline through time, which ends at rest.

Its control points c_k are commands one period dt apart. Between t_k and t_(k+1) the curve is a mixture of c_(k-1) to
c_(k+2) with weights that are not negative and sum to 1; its velocity is such a mixture of their first differences over
dt, and its acceleration is the straight line between the second differences over dt^2 (de Boor, "A Practical Guide to
Splines", 1978). So limits that hold for the control points and their differences hold at every moment of the curve.

At t_k the curve has

    position      c_k + (c_(k+1) - 2 c_k + c_(k-1)) / 6
    velocity      (c_(k+1) - c_(k-1)) / (2 dt)
    acceleration  (c_(k+1) - 2 c_k + c_(k-1)) / dt^2

and since it is a cubic between any two of these knots, whoever interpolates them by cubics (position and velocity) or
by quintics (acceleration too), as joint_trajectory_controller does, follows exactly this curve.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import NS_PER_S, Reference, Vector
from hpt_ros.vectors import clip

# Knots between which the acceleration is straight to this part of its largest value are left out.
STRAIGHT = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Knots:
    """Points of a curve, at increasing times.

    Attributes:
        times_ns: (n,) int64.
        positions, velocities, accelerations: (n, dim), in the action's unit, per second, per second squared.
    """

    times_ns: NDArray[np.int64]
    positions: Vector
    velocities: Vector
    accelerations: Vector


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """See the module. It is defined from the second control point to the last but one; before and after it stands.

    Attributes:
        start_ns: time of the first control point.
        period_ns: from one control point to the next.
        controls: (m, dim) with m >= 4.
        turns: where quaternions x, y, z, w begin among the dimensions; mixtures of them get the length 1 again.
    """

    start_ns: int
    period_ns: int
    controls: Vector
    turns: tuple[int, ...] = ()

    @property
    def first_ns(self) -> int:
        """Time of the first knot."""
        return self.start_ns + self.period_ns

    @property
    def end_ns(self) -> int:
        """Time of the last knot."""
        return self.start_ns + (len(self.controls) - 2) * self.period_ns

    def at(self, time_ns: int) -> Reference:
        """Position and velocity at a time, (dim,) each; of a quaternion its rate of change."""
        if time_ns < self.first_ns or time_ns > self.end_ns:
            edge = self.controls[1 if time_ns < self.first_ns else -2]
            return Reference(edge.copy(), np.zeros_like(edge))
        index, rest_ns = divmod(time_ns - self.start_ns, self.period_ns)
        if index > len(self.controls) - 3:
            index, rest_ns = index - 1, self.period_ns
        u = rest_ns / self.period_ns
        near = self.controls[index - 1 : index + 3]
        before, here, after, later = near
        # As differences from one control point: at rest they are zero, and the position is it, bit for bit.
        low, high, far = before - here, after - here, later - here
        v = 1.0 - u
        position = here + (v**3 * low + (1.0 + 3.0 * u * (1.0 + u * v)) * high + u**3 * far) / 6.0
        # But for rounding it is there anyway.
        position = clip(position, near.min(axis=0), near.max(axis=0))
        velocity = (-v * v * low + (1.0 + u * (2.0 - 3.0 * u)) * high + u * u * far) / 2.0
        return Reference(*self._of_length_1(position, velocity * (NS_PER_S / self.period_ns)))

    def knots(self, from_ns: int) -> Knots:
        """The knots from the last at or before a time on, without those that a cubic through the others passes."""
        dt_s = self.period_ns / NS_PER_S
        skip = min(max((from_ns - self.first_ns) // self.period_ns, 0), len(self.controls) - 3)
        controls = self.controls[skip:]
        second = controls[2:] - 2.0 * controls[1:-1] + controls[:-2]
        before, here, after = controls[:-2], controls[1:-1], controls[2:]
        kept = np.arange(len(second))
        if len(second) > 2:
            bend = np.abs(second[2:] - 2.0 * second[1:-1] + second[:-2]).max(axis=1)
            keep = bend > STRAIGHT * np.abs(second).max()
            if not keep.all():
                kept = np.concatenate([kept[:1], kept[1:-1][keep], kept[-1:]])
                second, before, here, after = second[kept], before[kept], here[kept], after[kept]
        times_ns = self.first_ns + skip * self.period_ns + kept * self.period_ns
        lowest, highest = (
            np.minimum(np.minimum(before, here), after),
            np.maximum(np.maximum(before, here), after),
        )
        positions = clip(here + second / 6.0, lowest, highest)
        return Knots(times_ns, positions, (after - before) / (2.0 * dt_s), second / dt_s**2)

    def later(self, by_ns: int) -> Curve:
        """The same curve at later times."""
        return self if not by_ns else replace(self, start_ns=self.start_ns + by_ns)

    def of(self, part: slice) -> Curve:
        """The curve of some dimensions."""
        inside = tuple(turn - part.start for turn in self.turns if part.start <= turn < part.stop)
        return replace(self, controls=self.controls[:, part], turns=inside)

    def _of_length_1(self, position: Vector, velocity: Vector) -> tuple[Vector, Vector]:
        """Quaternions of length 1, and their rates of change along the sphere."""
        for turn in self.turns:
            span = slice(turn, turn + 4)
            length = float(np.linalg.norm(position[span]))
            unit = position[span] / length
            rate = velocity[span] / length
            if velocity[span].any():
                position[span], velocity[span] = unit, rate - unit * (unit @ rate)
        return position, velocity
