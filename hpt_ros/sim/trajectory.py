# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A joint trajectory and how joint_trajectory_controller samples it: linear, cubic or quintic between its points.

After ros2_controllers' trajectory.cpp (`Trajectory::sample`, `interpolate_between_points`), which is the same in
2.54.0 (Humble), 4.42.1 (Jazzy), 5.17.0 (Kilted) and 6.9.0 (Rolling, August 2026) but for details that do not matter
here (effort, points without positions). The polynomials are the ones that meet the position, the velocity and, if
both points have one, the acceleration of both ends.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
NS_PER_S: Final = 1_000_000_000


class JointState(NamedTuple):
    """What joints do or are to do at one moment; a tuple, since a controller makes a thousand of them a second.

    Attributes:
        positions: (N,) rad or m.
        velocities: (N,) per second; None: not known, and not used in interpolation.
        accelerations: (N,) per second squared; None as for velocities.
    """

    positions: Array
    velocities: Array | None = None
    accelerations: Array | None = None


class TrajectoryPoint(NamedTuple):
    """One point of a trajectory; a tuple, as `JointState`.

    Attributes:
        time_from_start_ns: when it is to be reached, after the trajectory's start.
        state: what the joints are to do there, in the order of the trajectory's names.
    """

    time_from_start_ns: int
    state: JointState


@dataclass(frozen=True, slots=True)
class JointTrajectory:
    """trajectory_msgs/JointTrajectory as arrays.

    Attributes:
        stamp_ns: when it starts, on the controller's clock; 0: when the controller first samples it.
        names: of the joints, in any order.
        points: at increasing times.
    """

    stamp_ns: int
    names: tuple[str, ...]
    points: tuple[TrajectoryPoint, ...]

    @property
    def duration_ns(self) -> int:
        """Time of the last point after the start."""
        return self.points[-1].time_from_start_ns

    @classmethod
    def of(cls, message: Any) -> JointTrajectory:
        """From any object with the fields of trajectory_msgs/msg/JointTrajectory."""
        stamp, points = message.header.stamp, message.points
        fields = [point.positions for point in points]
        fields += [point.velocities for point in points]
        fields += [point.accelerations for point in points]
        rows, count = _rows(fields), len(points)
        return cls(
            stamp.sec * NS_PER_S + stamp.nanosec,
            tuple(message.joint_names),
            tuple(
                TrajectoryPoint(
                    point.time_from_start.sec * NS_PER_S + point.time_from_start.nanosec,
                    JointState(
                        position,
                        velocity if velocity.size else None,
                        acceleration if acceleration.size else None,
                    ),
                )
                for point, position, velocity, acceleration in zip(
                    points, rows[:count], rows[count : 2 * count], rows[2 * count :], strict=True
                )
            ),
        )


def _rows(fields: Sequence[Sequence[float]]) -> list[Array]:
    """Return an array of each field of floats; where rclpy or an encoder has arrays of one length, made at once."""
    arrays = [field for field in fields if type(field) is array and field.typecode == "d"]
    if arrays and len(arrays) == len(fields) and len(set(map(len, arrays))) == 1 and len(arrays[0]):
        return list(np.frombuffer(b"".join(arrays)).reshape(len(fields), -1))
    return [np.array(field, dtype=np.float64) for field in fields]


# Row k: what the k-th derivative puts before t^(n-k), for n = 0 ... 5.
_FACTORS: Final = np.array([[1.0] * 6, [0, 1, 2, 3, 4, 5], [0, 0, 2, 6, 12, 20]], dtype=np.float64)
_EXPONENTS: Final = np.arange(6)
_AHEAD: Final = (
    8  # states of a segment that are worked out at once, ours: commands at 50 Hz replace it after 8 cycles
)


class Segment:
    """The way from one state to another, which is reached after `duration_s`.

    Linear where one of the two has no velocity, cubic where both have, quintic where both have an acceleration too.
    """

    def __init__(self, start: JointState, end: JointState, duration_s: float) -> None:
        """Work out the polynomials, which a controller asks for several states of."""
        self._start = start.positions
        self._slope: Array | None = None
        if start.velocities is None or end.velocities is None:
            zero = np.zeros_like(self._start)
            self._slope = (end.positions - self._start) / duration_s if duration_s else zero
        else:
            self._coefficients = np.array(_coefficients(start, end, duration_s))

    def at(self, elapsed_s: float) -> JointState:
        """Return the state that long after the start."""
        return self.states([elapsed_s])[0]

    def states(self, elapsed_s: Sequence[float]) -> list[JointState]:
        """Return the states that long after the start; several at once cost little more than one."""
        if self._slope is not None:
            slope, zero = self._slope, np.zeros_like(self._start)
            return [JointState(self._start + slope * elapsed, slope, zero) for elapsed in elapsed_s]
        count = len(self._coefficients)
        powers = np.array(elapsed_s)[:, None] ** _EXPONENTS[:count]
        derivatives = np.zeros((len(elapsed_s), 3, count))
        derivatives[:, 0] = powers
        derivatives[:, 1, 1:] = _FACTORS[1, 1:count] * powers[:, :-1]
        derivatives[:, 2, 2:] = _FACTORS[2, 2:count] * powers[:, :-2]
        return [JointState(*state) for state in derivatives @ self._coefficients]


def interpolate(start: JointState, end: JointState, elapsed_s: float, duration_s: float) -> JointState:
    """Return the state `elapsed_s` after `start` on the way to `end`, see `Segment`."""
    return Segment(start, end, duration_s).at(elapsed_s)


def _coefficients(start: JointState, end: JointState, duration_s: float) -> list[Array]:
    """Return what is before each power of the time, (N,) each: four if an acceleration is missing, else six."""
    assert start.velocities is not None
    assert end.velocities is not None
    p0, p1, zero = start.positions, end.positions, np.zeros_like(start.positions)
    v0, v1 = start.velocities, end.velocities
    if start.accelerations is None or end.accelerations is None:
        coefficients = [p0, v0, zero, zero]
        if duration_s:
            away, d = p1 - p0, duration_s
            coefficients[2] = (3.0 * away - (2.0 * v0 + v1) * d) / d**2
            coefficients[3] = (-2.0 * away + (v0 + v1) * d) / d**3
    else:
        a0, a1 = start.accelerations, end.accelerations
        coefficients = [p0, v0, 0.5 * a0, zero, zero, zero]
        if duration_s:
            away, d = p1 - p0, duration_s
            coefficients[3] = (20.0 * away - (12.0 * v0 + 8.0 * v1) * d + (a1 - 3.0 * a0) * d**2) / (
                2.0 * d**3
            )
            coefficients[4] = (-30.0 * away + (16.0 * v0 + 14.0 * v1) * d + (3.0 * a0 - 2.0 * a1) * d**2) / (
                2.0 * d**4
            )
            coefficients[5] = (12.0 * away - 6.0 * (v0 + v1) * d + (a1 - a0) * d**2) / (2.0 * d**5)
    return coefficients


class SampledTrajectory:
    """A trajectory under way: where it starts in time, and from which state it is entered.

    Args:
        trajectory: its joints in the controller's order.
        splines: False gives the next point instead of interpolating (`interpolation_method: none`).
        period_ns: after which it will probably be sampled again; 0: not known.
    """

    def __init__(self, trajectory: JointTrajectory, *, splines: bool = True, period_ns: int = 0) -> None:
        self.points = trajectory.points
        self.start_ns = trajectory.stamp_ns
        self.sampled = False
        self._splines, self._period_ns = splines, period_ns
        self._before_ns = 0
        self._before: JointState | None = None
        self._segment: tuple[int, Segment] | None = None  # the last one asked for, by the number of its end
        self._states: dict[int, JointState] = {}  # of it, by the time from its start in ns
        self._last: tuple[int, tuple[JointState, int]] | None = None  # and the last state, by its time

    def enter(self, time_ns: int, state: JointState, wraps: npt.NDArray[np.bool_] | None = None) -> None:
        """Set the state before the first point.

        Velocities and accelerations that the first point has and `state` lacks are taken as zero. Joints in `wraps`
        (continuous ones) are entered from the turn nearest to the first point.
        """
        first = self.points[0].state
        size = state.positions.size
        if state.velocities is None and first.velocities is not None:
            state = state._replace(velocities=np.zeros(size))
        if state.accelerations is None and first.accelerations is not None:
            state = state._replace(accelerations=np.zeros(size))
        if wraps is not None and wraps.any():
            away = first.positions - state.positions
            short = np.remainder(away + np.pi, 2.0 * np.pi) - np.pi
            ambiguous = np.abs(np.abs(short) - np.pi) < 1e-9
            short = np.where(ambiguous, np.copysign(np.abs(short), away), short)
            state = state._replace(positions=np.where(wraps, first.positions - short, state.positions))
        self._before_ns, self._before = time_ns, state
        self._segment = self._last = None

    def sample(self, time_ns: int) -> tuple[JointState, int] | None:
        """The state at `time_ns` and the number of the next point (that of points: it is past the last one).

        The first call starts a trajectory whose stamp is 0. None: the time is before the state that it is entered
        from.
        """
        if not self.sampled:
            self.sampled = True
            if self.start_ns == 0:
                self.start_ns = time_ns
        if self._before is None or time_ns < self._before_ns:
            return None
        if self._last is None or self._last[0] != time_ns:
            self._last = time_ns, self._sample(self._before, time_ns)
        return self._last[1]

    def _sample(self, before: JointState, time_ns: int) -> tuple[JointState, int]:
        since_ns = time_ns - self.start_ns
        first = self.points[0]
        if since_ns < first.time_from_start_ns:
            if not self._splines:
                return before, 0
            elapsed_ns = time_ns - self._before_ns
            whole_ns = self.start_ns + first.time_from_start_ns - self._before_ns
            return self._between(before, first.state, elapsed_ns, whole_ns, 0), 0
        last = len(self.points) - 1
        for index in range(last):
            a, b = self.points[index], self.points[index + 1]
            if since_ns < b.time_from_start_ns:
                if not self._splines:
                    return b.state, index + 1
                elapsed_ns = since_ns - a.time_from_start_ns
                whole_ns = b.time_from_start_ns - a.time_from_start_ns
                return self._between(a.state, b.state, elapsed_ns, whole_ns, index + 1), index + 1
        end = self.points[last].state
        zero = np.zeros_like(end.positions)
        return JointState(
            end.positions,
            zero if end.velocities is None else end.velocities,
            zero if end.accelerations is None else end.accelerations,
        ), last + 1

    def _between(
        self, a: JointState, b: JointState, elapsed_ns: int, whole_ns: int, number: int
    ) -> JointState:
        """Return a state of the segment that ends at the point of a number."""
        if self._segment is None or self._segment[0] != number:
            self._segment, self._states = (number, Segment(a, b, whole_ns / NS_PER_S)), {}
        if (state := self._states.get(elapsed_ns)) is None:
            last_ns = min(whole_ns, elapsed_ns + _AHEAD * self._period_ns)
            times_ns = range(elapsed_ns, max(last_ns, elapsed_ns + 1), self._period_ns or whole_ns)
            states = self._segment[1].states([time_ns / NS_PER_S for time_ns in times_ns])
            self._states = dict(zip(times_ns, states, strict=True))
            state = states[0]
        return state
