# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Movements of scripted teleoperators: a tool's path made of overlapping minimum-jerk submovements.

They overlap in time (Flash and Henis, "Arm trajectory modifications during reaching towards visual targets", 1991), the
common model of skilled human movement: smooth, and without a stop at the way points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from hpt_ros.errors import Code, HptError
from hpt_ros.sim.arm import Arm, ToolKinematics

Array = npt.NDArray[np.float64]

X, Y, Z, HEADING, PITCH, ROLL = range(6)
SAMPLE_S: Final = 0.02
MISTAKES: Final = 0.04  # ratio of demonstrations that fail as a person's would; our choice
LIMIT_RATIO: Final = 0.5  # of the arm's velocity and acceleration limits that a demonstration may use


@dataclass(frozen=True, slots=True)
class Spread:
    """How far one demonstration may differ from the next; each value is the half-width of a uniform draw.

    Attributes:
        place_m: way points, along and across the tool.
        height_m: height of the carry.
        contact_m: height of the tool where it touches something.
        angle_rad: tilt and heading of the tool.
        tempo: ratio of the duration.
    """

    place_m: float = 0.008
    height_m: float = 0.02
    contact_m: float = 0.002
    angle_rad: float = 0.05
    tempo: float = 0.08


STANDARD_SPREAD: Final = Spread()
NO_SPREAD: Final = Spread(**{item.name: 0.0 for item in fields(Spread)})


@dataclass(frozen=True, slots=True)
class Move:
    """One submovement: which of (x, y, z, heading, pitch, roll) go to `target` from `start_s` for `duration_s`."""

    start_s: float
    duration_s: float
    axes: tuple[int, ...]
    target: tuple[float, ...]

    @property
    def end_s(self) -> float:
        """When it is over."""
        return self.start_s + self.duration_s


def around(rng: np.random.Generator, value: float, half_width: float) -> float:
    """Draw a value uniformly within a half-width of another."""
    return value + half_width * float(rng.uniform(-1.0, 1.0))


def minimum_jerk(ratio: Array) -> Array:
    """Minimum-jerk progress 0..1 over time ratio 0..1 (Flash and Hogan 1985), constant outside."""
    s = np.clip(ratio, 0.0, 1.0)
    return np.asarray(s**3 * (10.0 + s * (-15.0 + 6.0 * s)))


def tool_pose(coordinates: Array) -> Array:
    """World poses (N, 4, 4) of coordinates (N, 6): x, y, z in m, then heading, pitch and roll in rad.

    Heading is about the vertical, pitch is positive nose-down, roll is about the tool's own x axis, right side down.
    """
    heading, pitch, roll = coordinates[:, HEADING], coordinates[:, PITCH], coordinates[:, ROLL]
    ch, sh, cp, sp = np.cos(heading), np.sin(heading), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll)[:, None], np.sin(roll)[:, None]
    left = np.stack([-sh, ch, np.zeros_like(sh)], axis=-1)
    up = np.stack([ch * sp, sh * sp, cp], axis=-1)
    pose = np.tile(np.eye(4), (len(coordinates), 1, 1))
    pose[:, :3, 0] = np.stack([ch * cp, sh * cp, -sp], axis=-1)
    pose[:, :3, 1] = cr * left + sr * up
    pose[:, :3, 2] = cr * up - sr * left
    pose[:, :3, 3] = coordinates[:, :3]
    return pose


def coordinates_of(pose: Array) -> Array:
    """Coordinates (6,) of a pose (4, 4) whose roll is small, as `tool_pose` has them; the roll is taken as 0."""
    heading, pitch = np.arctan2(-pose[0, 1], pose[1, 1]), np.arctan2(-pose[2, 0], pose[2, 2])
    return np.array([*pose[:3, 3], heading, pitch, 0.0])


def superpose(moves: Sequence[Move], times_s: Array, start: Array) -> Array:
    """Coordinates (N, 6) of a tool at these times (N,), whose submovements add up from where it starts (6,)."""
    path = np.empty((len(times_s), 6))
    path[:] = start
    goal = path[0].copy()
    for move in moves:
        axes = list(move.axes)
        delta = np.array(move.target) - goal[axes]
        path[:, axes] += minimum_jerk((times_s[:, None] - move.start_s) / move.duration_s) * delta
        goal[axes] = move.target
    return path


def sample_movement(values: Array, time_s: float) -> Array:
    """Row of values (N, D) that are `SAMPLE_S` apart, at a time: before 0 the first, after the end the last."""
    position = min(max(time_s / SAMPLE_S, 0.0), float(len(values) - 1))
    low = min(int(position), len(values) - 2)
    ratio = position - low
    return np.asarray((1.0 - ratio) * values[low] + ratio * values[low + 1])


def require_within_limits(targets_rad: Array, arm: Arm, subject: str) -> None:
    """Check that joint targets (N, joints), `SAMPLE_S` apart, use at most `LIMIT_RATIO` of an arm's limits.

    Raises:
        HptError: they need more.
    """
    velocity = np.gradient(targets_rad, SAMPLE_S, axis=0)
    acceleration = np.gradient(velocity, SAMPLE_S, axis=0)
    for what, values, limits in (
        ("velocity", velocity, arm.velocity_rad_s),
        ("acceleration", acceleration, arm.acceleration_rad_s2),
    ):
        ratio = np.abs(values).max(axis=0) / limits
        joint = int(ratio.argmax())
        if ratio[joint] > LIMIT_RATIO:
            raise HptError(
                Code.OUT_OF_RANGE, subject,
                problem=f"needs {ratio[joint]:.0%} of the {what} limit of {arm.joint_names[joint]}, but at "
                f"most {LIMIT_RATIO:.0%} is allowed",
                remedy="move things nearer to one another",
            )  # fmt: skip


class Demonstration:
    """A planned demonstration: joint targets of an arm over time.

    Args:
        moves: submovements of the tool; they end the demonstration.
        kinematics: of arm and tool.
        posture_rad: the elbow branch (N,) that the plan stays on.
        start_rad: joint angles (N,) at time 0; what is off the branch there is faded out.
        tempo: ratio by which everything takes longer.
        hold_s: how long the last pose is held before `done`.
        subject: what it is, for errors.

    Raises:
        HptError: it is out of reach, or needs more than `LIMIT_RATIO` of the arm's limits.
    """

    def __init__(
        self,
        moves: Sequence[Move],
        kinematics: ToolKinematics,
        posture_rad: Array,
        start_rad: Array,
        *,
        tempo: float = 1.0,
        hold_s: float = 0.6,
        subject: str = "the scripted demonstration",
    ) -> None:
        move_s = tempo * max(move.end_s for move in moves)
        self.duration_s: float = move_s + hold_s
        count = int(np.ceil(move_s / SAMPLE_S)) + 1
        times_s = np.asarray(np.arange(count) * SAMPLE_S / tempo, np.float64)
        start = coordinates_of(kinematics.pose(start_rad))
        targets = kinematics.inverse(tool_pose(superpose(moves, times_s, start)), posture_rad)
        fade = 1.0 - minimum_jerk(times_s / 1.5)
        self._targets_rad = np.asarray(targets + fade[:, None] * (start_rad - targets[0]))
        require_within_limits(self._targets_rad, kinematics.arm, subject)

    def target(self, time_s: float) -> Array:
        """Joint targets (N,), rad, `time_s` after the start; before 0 the first, after the end the last."""
        return sample_movement(self._targets_rad, time_s)

    def is_done(self, time_s: float) -> bool:
        """Whether the demonstration, with its final hold, is over."""
        return time_s >= self.duration_s
