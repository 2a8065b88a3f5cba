"""What the arm's controller does with commands: a joint trajectory controller in small, with time as an argument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from hpt_ros.errors import HptError, did_you_mean
from hpt_ros.sim.panda import JOINT_NAMES, LOWER_RAD, UPPER_RAD, VELOCITY_RAD_S

Array = npt.NDArray[np.float64]

_VELOCITY_SLACK: Final = 1.01  # rounding of message times is no violation


@dataclass(slots=True)
class FollowerCounters:
    """What happened to the commands so far; each is a count of messages.

    Attributes:
        accepted: commands taken.
        refused: commands refused as malformed.
        late: commands whose last point's time had passed when they came; the arm goes there at once.
        position_limit: accepted commands with a point outside a joint's position limits (it is cut at the limit).
        velocity_limit: accepted commands that ask more of a joint than its velocity limit (followed as they are).
    """

    accepted: int = 0
    refused: int = 0
    late: int = 0
    position_limit: int = 0
    velocity_limit: int = 0


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a command.

    Attributes:
        time_s: when it is to be reached.
        positions_rad: joint angles (7,), in the order of the command's names.
    """

    time_s: float
    positions_rad: Sequence[float] | Array


@dataclass(slots=True)
class TrajectoryFollower:
    """Turns joint trajectories into a target for each moment.

    From where the target is when a command comes, it goes in straight lines (in joint space) through the command's
    points, reaching each at its time, and then holds the last one. A new command replaces what is left of the old.

    Args:
        hold_rad: the target before any command (7,).
    """

    hold_rad: Array
    counters: FollowerCounters = field(default_factory=FollowerCounters)
    _times_s: Array = field(init=False)
    _points_rad: Array = field(init=False)

    def __post_init__(self) -> None:
        self.reset(self.hold_rad)

    def reset(self, hold_rad: Array) -> None:
        """Forget all commands and hold these joint angles (7,)."""
        self._times_s = np.zeros(1)
        self._points_rad = np.array(hold_rad, dtype=np.float64)[None]

    def target(self, time_s: float) -> Array:
        """The target at this moment (7,), rad."""
        times = self._times_s
        if time_s >= times[-1]:
            return np.array(self._points_rad[-1])
        after = int(np.searchsorted(times, time_s, side="right"))
        if after == 0:
            return np.array(self._points_rad[0])
        share = (time_s - times[after - 1]) / (times[after] - times[after - 1])
        return np.asarray((1.0 - share) * self._points_rad[after - 1] + share * self._points_rad[after])

    def command(self, now_s: float, names: Sequence[str], points: Sequence[Point]) -> None:
        """Take a new command.

        Args:
            now_s: the present moment.
            names: the joints, all seven, in any order.
            points: at least one, at increasing times.

        Raises:
            HptError: wrong names or sizes, a number that is not finite, times that do not increase; the old command
                goes on.
        """
        try:
            order, times, values = _checked(names, points)
        except HptError:
            self.counters.refused += 1
            raise
        values = values[:, order]
        start = self.target(now_s)
        inside = np.clip(values, LOWER_RAD, UPPER_RAD)
        self.counters.position_limit += int((inside != values).any())
        self.counters.accepted += 1
        ahead = times > now_s
        if not ahead.any():
            self.counters.late += 1
            self._times_s, self._points_rad = np.array([now_s]), inside[-1:]
            return
        self._times_s = np.concatenate([[now_s], times[ahead]])
        self._points_rad = np.concatenate([start[None], inside[ahead]])
        speed = np.abs(np.diff(self._points_rad, axis=0)) / np.diff(self._times_s)[:, None]
        self.counters.velocity_limit += int((speed > _VELOCITY_SLACK * VELOCITY_RAD_S).any())


def _checked(names: Sequence[str], points: Sequence[Point]) -> tuple[list[int], Array, Array]:
    """The column of each joint, the times (P,) and the positions (P, 7) of a command, or an HptError."""
    for name in names:
        if name not in JOINT_NAMES:
            raise HptError(
                f"the joint trajectory names the joint {name!r}, which this arm lacks; send {', '.join(JOINT_NAMES)}"
                f"{did_you_mean(name, JOINT_NAMES)}"
            )
    if sorted(names) != sorted(JOINT_NAMES):
        raise HptError(
            f"the joint trajectory names {len(names)} joints ({', '.join(names)}), but each of the arm's "
            f"{len(JOINT_NAMES)} joints was expected once; send {', '.join(JOINT_NAMES)}"
        )
    if not points:
        raise HptError("the joint trajectory has no points, but at least one was expected; send one point")
    for index, point in enumerate(points):
        if len(point.positions_rad) != len(names):
            raise HptError(
                f"point {index} of the joint trajectory has {len(point.positions_rad)} positions for {len(names)} "
                "joints; send one position for each joint"
            )
    times = np.array([point.time_s for point in points], dtype=np.float64)
    values = np.array([point.positions_rad for point in points], dtype=np.float64)
    if not np.isfinite(values).all():
        index, column = np.argwhere(~np.isfinite(values))[0]
        raise HptError(
            f"point {index} of the joint trajectory wants {names[column]} at {values[index, column]}, but a finite "
            "angle in rad was expected; the command is refused"
        )
    if (np.diff(times) <= 0).any():
        raise HptError(
            "the times of the joint trajectory's points do not increase; give each point a later time_from_start"
        )
    return [list(names).index(name) for name in JOINT_NAMES], times, values
