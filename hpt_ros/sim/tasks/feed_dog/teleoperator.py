# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A scripted teleoperator: it scoops kibble from the bin and pours it into the bowl.

It stands for the person who demonstrates: it knows the bowl's place (privileged; a policy must see it) and speaks
joint targets, as a leader arm does. Pure: no ROS, no MuJoCo, and time is an argument.

The path is a superposition of minimum-jerk submovements that overlap in time (Flash and Henis, "Arm trajectory
modifications during reaching towards visual targets", 1991), the common model of skilled human movement: smooth, and
without a stop at the way points. It is also made to be imitated: the arm goes once from right to left over the scene,
enters the bin at its near end and leaves it at the far end, so no arm pose calls for two different next moves,
and nothing waits until the pour is over.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from hpt_ros.errors import Code, HptError
from hpt_ros.sim.panda import ACCELERATION_RAD_S2, VELOCITY_RAD_S, ToolKinematics

Array = npt.NDArray[np.float64]

# The scoop's lip in the flange frame; feed_dog.xml draws the same (a test compares). Columns: x to the front of the
# scoop, 82 degrees between handle and floor plate; y to its left; z up out of it.
_HANDLE_RAD: Final = np.deg2rad(82.0)
LIP_IN_FLANGE: Final[Array] = np.array(
    [
        [
            np.sin(_HANDLE_RAD),
            0.0,
            np.cos(_HANDLE_RAD),
            0.1 * np.sin(_HANDLE_RAD) - 0.016 * np.cos(_HANDLE_RAD),
        ],
        [0.0, -1.0, 0.0, 0.0],
        [
            np.cos(_HANDLE_RAD),
            0.0,
            -np.sin(_HANDLE_RAD),
            0.11 + 0.1 * np.cos(_HANDLE_RAD) + 0.016 * np.sin(_HANDLE_RAD),
        ],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
SCOOP: Final = ToolKinematics(LIP_IN_FLANGE)

# Where the bin stands in the scene (a test compares with feed_dog.xml): centre in m, direction of the dig in rad.
BIN_XY_M: Final = (0.445, -0.335)
BIN_HEADING_RAD: Final = np.deg2rad(-19.0)

# The elbow branch that the redundant degree of freedom stays on.
POSTURE_RAD: Final[Array] = np.array([-0.1, 0.1, 0.0, -2.2, 0.0, 2.3, 0.0])

SAMPLE_S: Final = 0.02
LIMIT_SHARE: Final = 0.5  # share of the arm's velocity and acceleration limits that a demonstration may use


@dataclass(frozen=True, slots=True)
class Variation:
    """How far one demonstration may differ from the next; each value is the half-width of a uniform draw.

    Attributes:
        place_m: way points, along and across the scoop.
        height_m: height of the carry.
        dig_height_m: height of the dig above the bin's floor.
        angle_rad: tilt and heading of the scoop.
        tempo: share of the duration.
    """

    place_m: float = 0.008
    height_m: float = 0.02
    dig_height_m: float = 0.002
    angle_rad: float = 0.05
    tempo: float = 0.08


NO_VARIATION: Final = Variation(**{item.name: 0.0 for item in fields(Variation)})


def scoop_pose(x_m: Array, y_m: Array, z_m: Array, heading_rad: Array, pitch_rad: Array) -> Array:
    """World poses (N, 4, 4) of the lip; `pitch_rad` is positive nose-down, `heading_rad` is about the vertical."""
    ch, sh, cp, sp = np.cos(heading_rad), np.sin(heading_rad), np.cos(pitch_rad), np.sin(pitch_rad)
    pose = np.tile(np.eye(4), (len(ch), 1, 1))
    pose[:, :3, 0] = np.stack([ch * cp, sh * cp, -sp], axis=-1)
    pose[:, :3, 1] = np.stack([-sh, ch, np.zeros_like(sh)], axis=-1)
    pose[:, :3, 2] = np.stack([ch * sp, sh * sp, cp], axis=-1)
    pose[:, :3, 3] = np.stack([x_m, y_m, z_m], axis=-1)
    return pose


def minimum_jerk(share: Array) -> Array:
    """Minimum-jerk progress 0..1 over time share 0..1 (Flash and Hogan 1985), constant outside."""
    s = np.clip(share, 0.0, 1.0)
    return np.asarray(s**3 * (10.0 + s * (-15.0 + 6.0 * s)))


@dataclass(frozen=True, slots=True)
class _Move:
    """One submovement: which of (x, y, z, heading, pitch) go to `target` from `start_s` for `duration_s`."""

    start_s: float
    duration_s: float
    axes: tuple[int, ...]
    target: tuple[float, ...]


_X, _Y, _Z, _HEADING, _PITCH = range(5)


def _moves(bowl_xy_m: Array, variation: Variation, rng: np.random.Generator) -> list[_Move]:
    """The submovements of one demonstration; all numbers are m, rad and s, settled by trying them in the scene."""

    def around(value: float, half_width: float) -> float:
        return value + half_width * float(rng.uniform(-1.0, 1.0))

    v = variation
    dig_heading = around(BIN_HEADING_RAD, v.angle_rad)
    forward = np.array([np.cos(BIN_HEADING_RAD), np.sin(BIN_HEADING_RAD)])
    left = np.array([-forward[1], forward[0]])
    centre = np.array(BIN_XY_M)
    enter = centre + forward * around(-0.030, v.place_m) + left * around(0.0, v.place_m)
    leave = centre + forward * around(0.058, 0.4 * v.place_m) + left * around(0.0, v.place_m)
    dig_pitch = around(np.deg2rad(30.0), v.angle_rad)
    dig_height = around(0.0125, v.dig_height_m)
    carry_height = around(0.26, v.height_m)
    pour_heading = around(0.5 * float(np.arctan2(bowl_xy_m[1], bowl_xy_m[0])), v.angle_rad)
    pour_forward = np.array([np.cos(pour_heading), np.sin(pour_heading)])
    # Kibble leaves the lip with some speed: the lip stays short of the bowl's middle.
    pour = bowl_xy_m + rng.uniform(-v.place_m, v.place_m, 2) - 0.035 * pour_forward
    level = around(np.deg2rad(-5.0), v.angle_rad)
    return [
        _Move(0.0, 1.6, (_X, _Y, _HEADING, _PITCH), (*enter, dig_heading, dig_pitch)),
        _Move(0.0, 1.2, (_Z,), (0.12,)),
        _Move(0.8, 1.2, (_Z,), (dig_height,)),
        _Move(1.5, 1.5, (_X, _Y), tuple(leave)),
        _Move(2.4, 1.5, (_PITCH,), (level,)),
        _Move(2.55, 1.7, (_Z,), (carry_height,)),
        _Move(3.8, 2.3, (_X, _Y, _HEADING), (*pour, pour_heading)),
        _Move(5.2, 1.8, (_Z,), (around(0.115, 0.5 * v.height_m),)),
        _Move(5.0, 2.4, (_PITCH,), (around(np.deg2rad(46.0), v.angle_rad),)),
    ]


class ScriptedTeleoperator:
    """One demonstration, planned at construction.

    Args:
        bowl_xy_m: the bowl's place (2,) in the world, m.
        start_rad: the arm's joint angles (7,) at time 0.
        seed: draws the variation; the same seed gives the same demonstration.
        variation: how much demonstrations differ.
        hold_s: how long the last pose is held before `done`.

    Raises:
        HptError: the bowl is out of reach, or the plan needs more than `LIMIT_SHARE` of the arm's limits.
    """

    def __init__(
        self,
        bowl_xy_m: Array,
        start_rad: Array,
        *,
        seed: int = 0,
        variation: Variation | None = None,
        hold_s: float = 0.6,
    ) -> None:
        spread = Variation() if variation is None else variation
        rng = np.random.default_rng(seed)
        moves = _moves(np.asarray(bowl_xy_m, np.float64), spread, rng)
        tempo = 1.0 + spread.tempo * float(rng.uniform(-1.0, 1.0))
        move_s = tempo * max(move.start_s + move.duration_s for move in moves)
        self.duration_s: float = move_s + hold_s
        count = int(np.ceil(move_s / SAMPLE_S)) + 1
        times_s = np.arange(count) * SAMPLE_S
        self._targets_rad = self._plan(
            moves, np.asarray(times_s / tempo, np.float64), np.asarray(start_rad, np.float64)
        )
        self._require_within_limits(bowl_xy_m)

    def _plan(self, moves: list[_Move], times_s: Array, start_rad: Array) -> Array:
        pose = SCOOP.pose(start_rad)
        scoop = np.empty((len(times_s), 5))
        scoop[:] = (*pose[:3, 3], np.arctan2(-pose[0, 1], pose[1, 1]), np.arctan2(-pose[2, 0], pose[2, 2]))
        goal = scoop[0].copy()
        for move in moves:
            axes = list(move.axes)
            delta = np.array(move.target) - goal[axes]
            scoop[:, axes] += minimum_jerk((times_s[:, None] - move.start_s) / move.duration_s) * delta
            goal[axes] = move.target
        targets = SCOOP.inverse(scoop_pose(*scoop.T), POSTURE_RAD)
        # The start may sit off the planned branch (jitter, a roll of the scoop): that offset is faded out.
        fade = 1.0 - minimum_jerk(times_s / 1.5)
        return np.asarray(targets + fade[:, None] * (start_rad - targets[0]))

    def _require_within_limits(self, bowl_xy_m: Array) -> None:
        velocity = np.gradient(self._targets_rad, SAMPLE_S, axis=0)
        acceleration = np.gradient(velocity, SAMPLE_S, axis=0)
        for what, values, limits in (
            ("velocity", velocity, VELOCITY_RAD_S),
            ("acceleration", acceleration, ACCELERATION_RAD_S2),
        ):
            share = np.abs(values).max(axis=0) / limits
            joint = int(share.argmax())
            if share[joint] > LIMIT_SHARE:
                raise HptError(
                    Code.OUT_OF_RANGE,
                    f"the scripted demonstration for a bowl at {np.round(bowl_xy_m, 3).tolist()} m",
                    problem=f"needs {share[joint]:.0%} of the {what} limit of panda_joint{joint + 1}, but at "
                    f"most {LIMIT_SHARE:.0%} is allowed",
                    remedy="move the bowl nearer or start nearer to the bin",
                )  # fmt: skip

    def target(self, time_s: float) -> Array:
        """Joint targets (7,), rad, `time_s` after the start; before 0 the first, after the end the last."""
        place = min(max(time_s / SAMPLE_S, 0.0), float(len(self._targets_rad) - 1))
        low = min(int(place), len(self._targets_rad) - 2)
        share = place - low
        return np.asarray((1.0 - share) * self._targets_rad[low] + share * self._targets_rad[low + 1])

    def done(self, time_s: float) -> bool:
        """Whether the demonstration, with its final hold, is over."""
        return time_s >= self.duration_s
