# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Orientations in the control room: unit quaternions x, y, z, w, limited in angular speed and acceleration.

A reference is blended between quaternions as between any vectors, since neighbouring ones are nearly the same; the sign
of each is chosen near the one before (`align`). What is sent is limited here, exactly, whatever the axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.angles import unwrap
from hpt_ros.control.chunk import Vector
from hpt_ros.control.safety import TOLERANCE, fastest_stop

SHORTEST = (
    0.1  # a blend of quaternions shorter than this is between opposite orientations: no direction is left
)
_UNIT = 1e-12  # a quaternion whose squared length is this near 1 is left as it is, bit for bit


def product(a: Vector, b: Vector) -> Vector:
    """Quaternion product a b: first the turn b, then a."""
    return np.concatenate(
        [a[3] * b[:3] + b[3] * a[:3] + np.cross(a[:3], b[:3]), [a[3] * b[3] - a[:3] @ b[:3]]]
    )


def rotation_vector(after: Vector, before: Vector) -> Vector:
    """The rotation vector (3,) in rad, in the fixed frame, that turns one unit quaternion into another; at most pi."""
    between = product(after, np.concatenate([-before[:3], before[3:]]))
    between = -between if between[3] < 0.0 else between
    sine = float(np.linalg.norm(between[:3]))
    if sine == 0.0:
        return np.zeros(3)
    return np.asarray(2.0 * np.arctan2(sine, between[3]) / sine * between[:3])


def rotate(quaternion: Vector, vector: Vector) -> Vector:
    """A unit quaternion turned by a rotation vector (3,), rad, in the fixed frame."""
    angle = float(np.linalg.norm(vector))
    if angle == 0.0:
        return quaternion.copy()
    step = np.concatenate([np.sin(angle / 2.0) / angle * vector, [np.cos(angle / 2.0)]])
    result = product(step, quaternion)
    return np.asarray(result / np.linalg.norm(result))


def rate_of(quaternion: Vector, omega: Vector) -> Vector:
    """Rate of change (4,) of a quaternion at an angular velocity (3,) in rad/s, fixed frame."""
    return 0.5 * product(np.concatenate([omega, [0.0]]), quaternion)


def omega_of(quaternion: Vector, rate: Vector) -> Vector:
    """Angular velocity (3,) of a quaternion of any length and its rate; inverse of `rate_of`."""
    inverse = np.concatenate([-quaternion[:3], quaternion[3:]]) / (quaternion @ quaternion)
    return np.asarray(2.0 * product(rate, inverse)[:3])


def align(
    values: Vector, turns: Sequence[int], start: Vector | None, wraps: NDArray[np.bool_] | None = None
) -> Vector:
    """The same values (H, dim), each near the one before and the first near `start` (dim,).

    Of a quaternion the sign is chosen, of an angle in `wraps` (dim,) the turn. `start` None leaves the first as it is.
    """
    angles = wraps is not None and wraps.any()
    if not turns and not angles:
        return values
    result = values.copy()
    if wraps is not None and angles:
        result[:, wraps] = unwrap(values[:, wraps], (values[0] if start is None else start)[wraps])
    for turn in turns:
        span = slice(turn, turn + 4)
        before = start[span] if start is not None else result[0, span]
        for row in result:
            if row[span] @ before < 0.0:
                row[span] = -row[span]
            before = row[span]
    return result


def distances(a: Vector, b: Vector, turns: Sequence[int]) -> Vector:
    """How far two control vectors (..., dim) are apart; of a quaternion each element has the angle, rad."""
    apart = np.abs(a - b)
    for turn in turns:
        span = slice(turn, turn + 4)
        lengths = np.linalg.norm(a[..., span], axis=-1) * np.linalg.norm(b[..., span], axis=-1)
        cosine = np.abs((a[..., span] * b[..., span]).sum(axis=-1)) / np.maximum(lengths, 1e-300)
        apart[..., span] = (2.0 * np.arccos(np.minimum(cosine, 1.0)))[..., None]
    return np.asarray(apart)


@dataclass(frozen=True, slots=True, eq=False)
class OrientationCommand:
    """A command of an orientation, and which limits changed it.

    Attributes:
        quaternion: (4,), of length 1.
        omega: (3,), angular velocity from the command before to this one, rad/s, fixed frame.
        too_fast: the target could only be reached faster than the speed limit.
        too_sudden: the target needed more than the acceleration limit.
    """

    quaternion: Vector
    omega: Vector
    too_fast: bool = False
    too_sudden: bool = False


class OrientationFilter:
    """Limits a sequence of orientations, one per command period.

    The angular velocity from one SENT command to the next, ``log(q' q^-1) / dt``, stays in the ball ``|w| <= V``, and
    its change in ``|w' - w| <= A dt``. Both balls are convex and braking towards zero stays in both, so there is
    always a legal next command. A target in both passes bit for bit; towards any other the turn is straight, at a
    velocity from which it can come to rest there at `catch_up` of the acceleration limit.
    """

    def __init__(self, velocity: float, acceleration: float, dt_s: float, catch_up: float) -> None:
        """Start without an orientation.

        Args:
            velocity: limit, rad/s.
            acceleration: limit, rad/s^2.
            dt_s: command period.
            catch_up: part of the acceleration limit that is used to catch up.
        """
        self._velocity, self._dt_s = velocity, dt_s
        self._step_v, self._catch_up = acceleration * dt_s, catch_up
        self.quaternion: Vector | None = None
        self.omega: Vector = np.zeros(3)

    @property
    def at_rest(self) -> bool:
        """Whether the last two commands were the same."""
        return not self.omega.any()

    def reset(self, quaternion: Vector) -> None:
        """Begin at rest at an orientation."""
        self.quaternion, self.omega = _unit(quaternion), np.zeros(3)

    def forget(self) -> None:
        """Forget the orientation: no command until `reset`."""
        self.quaternion, self.omega = None, np.zeros(3)

    def apply(self, target: Vector, moving: Vector) -> OrientationCommand:
        """Make the next command.

        Args:
            target: (4,), where to be one period after the last command; not shorter than `SHORTEST`.
            moving: (3,), the target's angular velocity, rad/s; zero if it stands or it is not known.
        """
        last = self._pose()
        target = _unit(target)
        target = -target if target @ last < 0.0 else target
        wanted = rotation_vector(target, last) / self._dt_s
        too_fast = _length(wanted) > self._velocity * (1.0 + TOLERANCE)
        too_sudden = _length(wanted - self.omega) > self._step_v * (1.0 + TOLERANCE)
        if not (too_fast or too_sudden):
            return self._send(target.copy(), wanted)
        moving = _within(moving, self._velocity)
        away = wanted - moving
        room, step_v = np.array(_length(away) * self._dt_s), np.array(self._catch_up * self._step_v)
        fastest = float(fastest_stop(room, step_v, self._dt_s))
        chosen = _within(moving + _within(away, fastest), self._velocity)
        chosen = self.omega + _within(chosen - self.omega, self._step_v)
        turn = self._send(rotate(last, chosen * self._dt_s), chosen)
        return OrientationCommand(turn.quaternion, turn.omega, too_fast, too_sudden)

    def brake(self) -> OrientationCommand:
        """The next command on the shortest path to rest; at rest, the last command again, bit for bit."""
        last = self._pose()
        speed = _length(self.omega)
        left = max(speed - self._step_v, 0.0)
        if left <= self._velocity * TOLERANCE:
            return self._send(last if speed == 0.0 else last.copy(), np.zeros(3))
        omega = self.omega * (left / speed)
        return self._send(rotate(last, omega * self._dt_s), omega)

    def path_to_rest(self) -> Vector:
        """The orientations that `brake` would make from here on, up to the first that stands still, (n, 4), n >= 1."""
        last, speed = self._pose(), _length(self.omega)
        if speed == 0.0:
            return last[None]
        left = speed - np.arange(1, int(np.ceil(speed / self._step_v)) + 2) * self._step_v
        angles = np.cumsum(np.where(left <= self._velocity * TOLERANCE, 0.0, left)) * self._dt_s
        # All about one axis, from the last orientation: the quaternion product with it, for all angles at once.
        axis, sine, cosine = self.omega / speed, np.sin(angles / 2.0)[:, None], np.cos(angles / 2.0)[:, None]
        vector = sine * (axis * last[3] + np.cross(axis, last[:3])) + cosine * last[:3]
        way = np.concatenate([vector, cosine * last[3] - sine * (axis @ last[:3])], axis=1)
        return np.asarray(way / np.linalg.norm(way, axis=1)[:, None])

    def _pose(self) -> Vector:
        if self.quaternion is None:
            raise RuntimeError("TurnFilter.reset comes before the first target")
        return self.quaternion

    def _send(self, quaternion: Vector, omega: Vector) -> OrientationCommand:
        last = self._pose()
        # What the commands really do, not what was meant; but what is meant to be still is still.
        self.omega = rotation_vector(quaternion, last) / self._dt_s if omega.any() else np.zeros(3)
        self.quaternion = quaternion
        return OrientationCommand(quaternion.copy(), self.omega.copy())


def _within(vector: Vector, longest: float) -> Vector:
    length = _length(vector)
    return vector if length <= longest else vector * (longest / length)


def _length(vector: NDArray[np.float64]) -> float:
    return float(np.sqrt(vector @ vector))


def _unit(quaternion: Vector) -> Vector:
    squared = float(quaternion @ quaternion)
    return quaternion if abs(squared - 1.0) <= _UNIT else np.asarray(quaternion / np.sqrt(squared))
