# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The last gate before a command is sent: nothing beyond a limit passes, and nothing within the limits is touched."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import Vector
from hpt_ros.control.refusals import Why
from hpt_ros.errors import Code, HptError, Refusal
from hpt_ros.vectors import all_finite, clip

# Limits are compared with this much slack, relative, so that rounding does not make a command at its limit illegal.
# Outputs keep position limits exactly, and velocity and acceleration limits to within three times this.
TOLERANCE = 1e-9
# Part of the acceleration limit that is used to catch up with a reference that ran away; the rest lets the reference
# itself accelerate meanwhile. Our choice.
CATCH_UP = 0.5
# Up to where numbers of a dimension without position limits are exact enough for its other limits, ours: a joint at
# 3 rad/s is there after 9 hours in one direction.
ENDLESS = 1e5


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """Limits of each commanded dimension, (dim,) each: action's unit, per second, per second squared.

    A dimension without position limits, such as a continuous joint, has lower -inf and upper inf.

    Attributes:
        jerk: (dim,) per second cubed, infinite where there is none; None: there is none at all.
        rates: dimensions that are velocities themselves (a base's): lower and upper are of the velocity, `velocity` is
            the largest acceleration, and at rest they are zero.
    """

    lower: Vector
    upper: Vector
    velocity: Vector
    acceleration: Vector
    jerk: Vector | None = None
    rates: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.jerk is not None:
            jerk = np.array(self.jerk, dtype=np.float64)
            if jerk.shape != np.shape(self.lower) or not (jerk > 0.0).all():
                raise HptError(
                    Code.OUT_OF_RANGE, "limits' jerk", jerk.tolist(),
                    expected="one number above 0 per dimension",
                )  # fmt: skip
            jerk.setflags(write=False)
            object.__setattr__(self, "jerk", jerk)
        for name in ("lower", "upper", "velocity", "acceleration"):
            value = np.array(getattr(self, name), dtype=np.float64)
            unlimited = value == {"lower": -np.inf, "upper": np.inf}.get(name, np.nan)
            good = np.isfinite(value) | unlimited
            if value.shape != np.shape(self.lower) or value.ndim != 1 or not good.all():
                raise HptError(
                    Code.NOT_FINITE, "limits", value.tolist(), problem=f"have {name} {{value}}",
                    expected="one finite number per dimension",
                )  # fmt: skip
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        if (self.lower >= self.upper).any() or (self.velocity <= 0).any() or (self.acceleration <= 0).any():
            raise HptError(
                Code.OUT_OF_RANGE, "limits",
                problem="need lower < upper, and velocity and acceleration above 0",
                remedy="correct the embodiment",
            )  # fmt: skip

    def scale(self, velocity: float, acceleration: float) -> Limits:
        """These limits with that part of the velocities and accelerations."""
        own = np.ones(self.dim)
        own[list(self.rates)] = velocity
        first, second = np.full(self.dim, velocity), np.full(self.dim, acceleration)
        first[list(self.rates)] = acceleration
        return Limits(
            self.lower * own, self.upper * own, self.velocity * first, self.acceleration * second, self.jerk,
            self.rates,
        )  # fmt: skip

    def taps(self, period_s: float) -> int:
        """Of a moving average of commands that keeps the jerk limits, 1 where there are none (`MotionPlan`)."""
        if self.jerk is None:
            return 1
        return max(1, int(np.ceil((2.0 * self.acceleration / (self.jerk * period_s)).max() - 1e-9)))

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        return int(self.lower.size)


@dataclass(frozen=True, slots=True, eq=False)
class LimitedCommand:
    """A command that is within all limits, and which limits changed it.

    Attributes:
        position, velocity: (dim,).
        position_clamped: a target lay beyond a position limit.
        velocity_clamped: a target could only be reached faster than a velocity limit.
        acceleration_clamped: a target needed more than an acceleration limit.
        slowed: a target was slowed so that the robot can still stop before a position limit.
    """

    position: Vector
    velocity: Vector
    position_clamped: bool = False
    velocity_clamped: bool = False
    acceleration_clamped: bool = False
    slowed: bool = False


class SafetyFilter:
    """Limits a sequence of targets, one per command period.

    Velocity and acceleration are first and second differences of the SENT commands: v' = (q' - q) / dt,
    a' = (v' - v) / dt. The measured pose lags and would let errors grow. For each dimension the velocities that
    are allowed next form an interval:

    * ``|v'| <= V`` and ``|v' - v| <= A dt``,
    * the robot can stop before the position limit: with full braking from v', which loses A dt per command, the way
      ``v' dt + (v' - A dt) dt + ...`` fits into what is left. This is the exact condition, not the usual v^2 / 2A
      (which is stricter by about v dt / 2): whoever can stay within the limits at all is not slowed.

    Braking as hard as allowed always satisfies all of them, so the interval is never empty, whatever came before.

    A target outside is approached at one common fraction of the velocity towards it, so that the direction is retained;
    where braking leaves no common fraction, each dimension does what it can. Dimensions in `apart` (grippers) have a
    fraction each, so that a closing gripper does not stop the arm. Towards a target that is far away the velocity also
    stays such that it can come to rest there at half the acceleration limit. A target that stands still is overshot by
    at most about 4 A dt^2 (3 mrad at 7.5 rad/s^2 and 100 Hz), because a target that one legal command reaches is
    passed on unchanged even if the next must brake.
    """

    def __init__(self, limits: Limits, dt_s: float, apart: NDArray[np.bool_] | None = None) -> None:
        """Start without a pose; call `reset` before the first target.

        Args:
            limits: what must hold.
            dt_s: command period.
            apart: (dim,) true for dimensions with a fraction of their own.
        """
        if not dt_s > 0.0:
            raise HptError(
                Code.OUT_OF_RANGE, "the command period", problem=f"is {dt_s} s", expected="more than 0 s",
                remedy="correct the command rate",
            )  # fmt: skip
        self.limits, self.dt_s = limits, dt_s
        self._apart = np.zeros(limits.dim, dtype=bool) if apart is None else apart
        self._step_v = limits.acceleration * dt_s  # largest change of velocity per command
        reach = np.maximum(np.abs(limits.lower), np.abs(limits.upper))
        rounding = 4.0 * np.finfo(float).eps * np.where(np.isfinite(reach), reach, ENDLESS) / dt_s
        self._slack = TOLERANCE * self._step_v + rounding
        self._position: Vector | None = None
        self._velocity = np.zeros(limits.dim)

    @property
    def position(self) -> Vector | None:
        """The command that was sent last, (dim,); None before `reset`."""
        return self._position

    @property
    def velocity(self) -> Vector:
        """Difference of the last two commands over the period, (dim,)."""
        return self._velocity

    @property
    def at_rest(self) -> bool:
        """Whether the last two commands were the same."""
        return not self._velocity.any()

    def reset(self, position: Vector) -> None:
        """Begin at rest at a pose, e.g. the measured one; what lies outside the position limits is taken to them."""
        self._position = np.clip(position, self.limits.lower, self.limits.upper)
        self._velocity = np.zeros(self.limits.dim)

    def take(self, position: Vector) -> LimitedCommand:
        """Make a command of a position that the caller knows to be within all limits."""
        velocity = (position - self._pose()) / self.dt_s
        return self._send(position, velocity, velocity)

    def restore(self, position: Vector, velocity: Vector) -> None:
        """Take the last command back: `position` and `velocity` are those before it."""
        self._position, self._velocity = position, velocity

    def forget(self) -> None:
        """Forget the pose: no command until `reset`."""
        self._position = None
        self._velocity = np.zeros(self.limits.dim)

    def apply(self, target: Vector, velocity: Vector | None = None) -> LimitedCommand | None:
        """Make the next command.

        Args:
            target: where to be one period after the last command, (dim,).
            velocity: of the target, (dim,), if known; it is caught up with without lag, and passed on.

        Returns:
            The command, or None if the target was refused: nothing is to be sent, and nothing has changed.
        """
        last = self._pose()
        dim = self.limits.dim
        if target_refusal(target, dim) is not None:
            return None
        known = velocity is not None and target_refusal(velocity, dim) is None
        moving = velocity if velocity is not None and known else np.zeros(dim)
        moving = clip(moving, -self.limits.velocity, self.limits.velocity)
        inside = clip(target, self.limits.lower, self.limits.upper)
        wanted = (inside - last) / self.dt_s
        low, high = self._interval(last)
        # A legal target passes bit for bit; the velocity passed on is its own then.
        passed = inside == target
        clamped = not all(passed.tolist())
        if velocity is None:
            sent = wanted
        else:
            sent = np.where(passed, moving, wanted) if clamped else moving
        # Of so few numbers Python's own arithmetic is quicker than NumPy's, and nearly every target is legal.
        if all(
            lowest - slack <= speed <= highest + slack
            for speed, lowest, highest, slack in zip(
                wanted.tolist(), low.tolist(), high.tolist(), self._slack.tolist(), strict=True
            )
        ):
            return self._send(inside, wanted, sent, position_clamped=clamped)
        legal = (wanted >= low - self._slack) & (wanted <= high + self._slack)
        legal = np.where(self._apart, legal, legal[~self._apart].all())
        too_fast = np.abs(wanted) > self.limits.velocity + self._slack
        too_sudden = np.abs(wanted - self._velocity) > self._step_v + self._slack
        slowed = ((wanted > high + self._slack) | (wanted < low - self._slack)) & ~too_fast & ~too_sudden
        chosen = np.where(legal, wanted, self._limit(self._approach(wanted, moving), low, high))
        reached = clip(last + chosen * self.dt_s, self.limits.lower, self.limits.upper)
        return self._send(
            np.where(legal, inside, reached),
            chosen,
            np.where(legal, sent, chosen),
            position_clamped=clamped,
            velocity_clamped=bool(too_fast.any()),
            acceleration_clamped=bool(too_sudden.any()),
            slowed=bool(slowed.any()),
        )

    def brake(self) -> LimitedCommand:
        """The next command on the shortest path to rest; at rest, the last command again, bit for bit."""
        last = self._pose()
        low, high = self._interval(last)
        velocity = self._velocity - clip(self._velocity, -self._step_v, self._step_v)
        velocity = clip(velocity, low, high)
        # What rounding leaves of a velocity that one period's braking takes away is rest.
        velocity = np.where(np.abs(velocity) <= self._slack, 0.0, velocity)
        position = clip(last + velocity * self.dt_s, self.limits.lower, self.limits.upper)
        return self._send(position, velocity, velocity)

    def path_to_rest(self) -> Vector:
        """The commands that `brake` would make from here on, up to the first that stands still, (n, dim), n >= 1."""
        last = self._pose()
        speed = np.abs(self._velocity)
        count = math.ceil((speed / self._step_v).max(initial=0.0) - TOLERANCE)
        left = speed - np.arange(1, count + 2)[:, None] * self._step_v
        velocities = np.sign(self._velocity) * np.where(left <= self._slack, 0.0, left)
        way = last + np.cumsum(velocities, axis=0) * self.dt_s
        return clip(way, self.limits.lower, self.limits.upper)

    def _pose(self) -> Vector:
        if self._position is None:
            raise RuntimeError("SafetyFilter.reset comes before the first target")
        return self._position

    def _interval(self, last: Vector) -> tuple[Vector, Vector]:
        """Lowest and highest velocity allowed next, (dim,) each; where rounding makes them cross, position wins."""
        room = np.array([self.limits.upper - last, last - self.limits.lower])
        up, down = fastest_stop(room, self._step_v, self.dt_s)
        down = -down
        low = np.maximum(self._velocity - self._step_v, -self.limits.velocity)
        high = np.minimum(self._velocity + self._step_v, self.limits.velocity)
        return clip(low, down, up), clip(high, down, up)

    def _approach(self, wanted: Vector, moving: Vector) -> Vector:
        """The velocity to ask for: straight towards the target, not faster than one can come to rest on it."""
        relative = wanted - moving
        # The gap before this period's movement of the target, which `moving` takes care of.
        fastest = fastest_stop(np.abs(relative) * self.dt_s, CATCH_UP * self._step_v, self.dt_s)
        ratio = np.ones_like(relative)
        np.divide(fastest, np.abs(relative), out=ratio, where=np.abs(relative) > fastest)
        return moving + self._common(ratio) * relative

    def _limit(self, wanted: Vector, low: Vector, high: Vector) -> Vector:
        """`wanted` times one fraction within the interval, or each dimension as near as it can."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            largest = np.where(wanted > 0.0, high / wanted, np.where(wanted < 0.0, low / wanted, 1.0))
        largest = np.minimum(np.where(np.isfinite(largest), largest, 1.0), 1.0)
        scaled = self._common(largest) * wanted
        fits = (scaled >= low - self._slack) & (scaled <= high + self._slack) & (largest > 0.0)
        together = fits[~self._apart].all()
        keep = np.where(self._apart, fits, together)
        return clip(np.where(keep, scaled, wanted), low, high)

    def _common(self, ratio: Vector) -> Vector:
        """The smallest ratio for all dimensions but those apart, which keep their own."""
        together = ratio[~self._apart]
        return np.where(self._apart, ratio, together.min() if together.size else 1.0)

    def _send(
        self,
        position: Vector,
        velocity: Vector,
        sent_velocity: Vector,
        *,
        position_clamped: bool = False,
        velocity_clamped: bool = False,
        acceleration_clamped: bool = False,
        slowed: bool = False,
    ) -> LimitedCommand:
        # The velocity that the commands really have, not the one meant: rounding must not add up. But a dimension
        # meant to be still is still.
        last = self._pose()
        moved = (position - last) / self.dt_s
        moved[velocity == 0.0] = 0.0
        self._velocity = moved
        self._position = position
        return LimitedCommand(
            position.copy(),
            sent_velocity.copy(),
            position_clamped,
            velocity_clamped,
            acceleration_clamped,
            slowed,
        )


def target_refusal(target: Vector, dim: int) -> Refusal | None:
    """Return why a target for `dim` dimensions must not be sent at all; None if it may be (within limits)."""
    if np.shape(target) != (dim,):
        return Refusal(
            Why.WRONG_SIZE, "a target's shape", np.shape(target), f"({dim},)", problem="is {value}"
        )
    if not all_finite(target):
        which = int(np.argmin(np.isfinite(target)))
        return Refusal(Why.NOT_FINITE, "a target", which, problem="is not finite in its dimension {value}")
    return None


def fastest_stop(room: Vector, step_v: Vector, dt_s: float) -> Vector:
    """Largest velocity v' of the next period from which one can stop within `room` by losing step_v per period.

    With n full periods of braking to come the way is dt ((n + 1) v' - step_v n (n + 1) / 2), where
    n step_v <= v' < (n + 1) step_v; n is the largest integer with step_v dt n (n + 1) / 2 <= room.
    """
    endless = np.isinf(room)
    room = np.maximum(room, 0.0)
    some = endless.any()
    if some:
        room = np.where(endless, 0.0, room)
    n = np.floor((np.sqrt(1.0 + 8.0 * room / (step_v * dt_s)) - 1.0) / 2.0)
    fastest = (room / dt_s + step_v * n * (n + 1.0) / 2.0) / (n + 1.0)
    return np.where(endless, np.inf, fastest) if some else fastest
