# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The simulated arm's controller: joint_trajectory_controller with the shipped file, and counts of its messages."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hpt_ros.errors import Code, HptError
from hpt_ros.resources import config_file
from hpt_ros.sim.controllers import TrajectoryController
from hpt_ros.sim.jtc_config import JtcConfig
from hpt_ros.sim.panda import JOINT_NAMES, LOWER_RAD, UPPER_RAD, VELOCITY_RAD_S
from hpt_ros.sim.trajectory import NS_PER_S, JointState, JointTrajectory, TrajectoryPoint
from hpt_ros.vectors import all_finite, clip

Array = npt.NDArray[np.float64]

Columns = slice | list[int]  # of a message's joints in the arm's order

_VELOCITY_SLACK: Final = 1.01  # rounding of message times is no violation


@dataclass(slots=True)
class FollowerCounters:
    """What happened to the messages so far; each is a count of messages, the last of events.

    Attributes:
        accepted: messages taken.
        refused: messages refused as malformed.
        late: messages refused because their last point's time had passed when they came.
        position_limit: accepted messages with a point outside a joint's position limits (it is cut at the limit).
        velocity_limit: accepted messages that ask more of a joint than its velocity limit (followed as they are).
        given_up: times that the controller gave up a trajectory: timeout, tolerances.
    """

    accepted: int = 0
    refused: int = 0
    late: int = 0
    position_limit: int = 0
    velocity_limit: int = 0
    given_up: int = 0


class TrajectoryFollower:
    """Turns joint trajectories into a target for each cycle, as config/controllers/feed_dog.yaml has it.

    Args:
        hold_rad: joint angles (7,) to hold before any message.
        rate_hz: of `target`'s calls.
    """

    def __init__(self, hold_rad: Array, rate_hz: float) -> None:
        config, _ = JtcConfig.load(config_file("controllers/feed_dog.yaml"))
        self.counters = FollowerCounters()
        self._config, self._rate_hz = config, rate_hz
        self.reset(hold_rad)

    def reset(self, hold_rad: Array) -> None:
        """Forget all messages and hold these joint angles (7,), as a controller that is started there."""
        self._controller = TrajectoryController(self._config, rate_hz=self._rate_hz)
        self._controller.activate(hold_rad, np.zeros(len(JOINT_NAMES)))
        self._target = np.array(hold_rad, dtype=np.float64)

    def target(self, now_ns: int, position_rad: Array, velocity_rad_s: Array) -> Array:
        """The target (7,) of the cycle at `now_ns`, rad, from what is measured (7,)."""
        self._target = self._controller.update(now_ns, position_rad, velocity_rad_s)
        return self._target

    def pop_reason(self) -> str:
        """Why the controller gave a trajectory up since the last call; empty if it did not."""
        events, self._controller.events = self._controller.events, []
        self.counters.given_up += len(events)
        return ", ".join(what for _, what in events)

    def command(self, now_ns: int, message: JointTrajectory) -> None:
        """Take a message with all seven joints in any order.

        Raises:
            HptError: wrong names or sizes, a number that is not finite, times that do not increase, or all points are
                past; the old message goes on.
        """
        try:
            columns = _check(message)
        except HptError:
            self.counters.refused += 1
            raise
        rows = [point.state.positions[columns] for point in message.points]
        values = np.concatenate(rows).reshape(len(rows), -1)
        inside = clip(values, LOWER_RAD, UPPER_RAD)
        within = np.array_equal(inside, values)
        taken = message
        if not within or columns != slice(None):
            points = tuple(
                TrajectoryPoint(
                    point.time_from_start_ns,
                    JointState(
                        row, _take(point.state.velocities, columns), _take(point.state.accelerations, columns)
                    ),
                )
                for point, row in zip(message.points, inside, strict=True)
            )
            taken = JointTrajectory(message.stamp_ns, JOINT_NAMES, points)
        refused = self._controller.receive(taken, now_ns)
        if refused is not None:
            late = refused.code is Code.TIMEOUT
            self.counters.late += late
            self.counters.refused += not late
            raise HptError(
                Code.INVALID, "the arm's controller", problem="refused a joint trajectory", cause=refused,
                remedy="correct the sender",
            )  # fmt: skip
        self.counters.accepted += 1
        self.counters.position_limit += not within
        start_ns = (message.stamp_ns or now_ns) - now_ns
        times = np.array([start_ns + point.time_from_start_ns for point in message.points]) / NS_PER_S
        past = int(times.searchsorted(0.0, side="right"))
        path = np.concatenate([self._target[None], inside[past:]])
        times = np.concatenate([[0.0], times[past:]])
        speed = np.abs(path[1:] - path[:-1]) / (times[1:] - times[:-1])[:, None]
        self.counters.velocity_limit += bool((speed > _VELOCITY_SLACK * VELOCITY_RAD_S).any())


def _take(values: Array | None, columns: Columns) -> Array | None:
    return None if values is None else values[columns]


def _check(message: JointTrajectory) -> Columns:
    """The columns of the joints in a message, or an HptError."""
    names, points = message.names, message.points
    for name in names:
        if name not in JOINT_NAMES:
            raise HptError(
                Code.UNKNOWN, "the joint trajectory", name,
                problem="names the joint {value}, which this arm lacks", known=JOINT_NAMES,
                remedy=f"send {', '.join(JOINT_NAMES)}",
            )  # fmt: skip
    if sorted(names) != sorted(JOINT_NAMES):
        raise HptError(
            Code.INVALID, "the joint trajectory", len(names),
            problem=f"names {{value}} joints ({', '.join(names)})",
            expected=f"each of the arm's {len(JOINT_NAMES)} joints once",
            remedy=f"send {', '.join(JOINT_NAMES)}",
        )  # fmt: skip
    if not points:
        raise HptError(
            Code.WRONG_SHAPE, "the joint trajectory", problem="has no points", expected="at least one",
            remedy="send one point",
        )  # fmt: skip
    for index, point in enumerate(points):
        state = point.state
        for what, values in (
            ("positions", state.positions),
            ("velocities", state.velocities),
            ("accelerations", state.accelerations),
        ):
            if values is None:
                continue
            if values.size != len(names):
                raise HptError(
                    Code.INVALID, f"point {index} of the joint trajectory", values.size,
                    problem=f"has {{value}} {what} for {len(names)} joints",
                    remedy=f"send one of the {what} for each joint",
                )  # fmt: skip
            if not all_finite(values):
                (column, *_) = np.flatnonzero(~np.isfinite(values))
                raise HptError(
                    Code.NOT_FINITE, f"point {index} of the joint trajectory",
                    problem=f"wants {names[column]} at {values[column]} ({what})", expected="a finite number",
                    remedy="the command is refused",
                )  # fmt: skip
    times_ns = [point.time_from_start_ns for point in points]
    if any(later <= earlier for earlier, later in itertools.pairwise(times_ns)):
        raise HptError(
            Code.INVALID, "the times of the joint trajectory's points", problem="do not increase",
            remedy="give each point a later time_from_start",
        )  # fmt: skip
    return slice(None) if names == JOINT_NAMES else [names.index(name) for name in JOINT_NAMES]
