# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A scripted teleoperator: it scoops kibble from the bin and pours it into the bowl.

It stands for the person who demonstrates: it knows the bowl's place (privileged; a policy must see it) and speaks
joint targets, as a leader arm does. Pure: no ROS, no MuJoCo, and time is an argument.

The path is made to be imitated: the arm goes once from right to left over the scene,
enters the bin at its near end and leaves it at the far end, so no arm pose calls for two different next moves,
and nothing waits until the pour is over.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from hpt_ros.sim.arm import ToolKinematics
from hpt_ros.sim.movement import HEADING, PITCH, STANDARD_SPREAD, Demonstration, Move, Spread, X, Y, Z, around
from hpt_ros.sim.panda import PANDA, POSTURE_RAD

Array = npt.NDArray[np.float64]

# The scoop's lip in the flange frame; scoop.xml draws the same (a test compares). Columns: x to the front of the
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
SCOOP: Final = ToolKinematics(PANDA, LIP_IN_FLANGE)

# Where the bin stands in the scene (a test compares with scene.xml): centre in m, direction of the dig in rad.
BIN_XY_M: Final = (0.445, -0.335)
BIN_HEADING_RAD: Final = np.deg2rad(-19.0)


def _moves(bowl_xy_m: Array, bin_heading_rad: float, v: Spread, rng: np.random.Generator) -> list[Move]:
    """The submovements of one demonstration; all numbers are m, rad and s, settled by trying them in the scene."""

    dig_heading = around(rng, bin_heading_rad, v.angle_rad)
    forward = np.array([np.cos(bin_heading_rad), np.sin(bin_heading_rad)])
    left = np.array([-forward[1], forward[0]])
    centre = np.array(BIN_XY_M)
    enter = centre + forward * around(rng, -0.030, v.place_m) + left * around(rng, 0.0, v.place_m)
    leave = centre + forward * around(rng, 0.058, 0.4 * v.place_m) + left * around(rng, 0.0, v.place_m)
    dig_pitch = around(rng, np.deg2rad(30.0), v.angle_rad)
    dig_height = around(rng, 0.0125, v.contact_m)
    carry_height = around(rng, 0.26, v.height_m)
    pour_heading = around(rng, 0.5 * float(np.arctan2(bowl_xy_m[1], bowl_xy_m[0])), v.angle_rad)
    pour_forward = np.array([np.cos(pour_heading), np.sin(pour_heading)])
    # Kibble leaves the lip with some speed: the lip stays short of the bowl's middle.
    pour = bowl_xy_m + rng.uniform(-v.place_m, v.place_m, 2) - 0.035 * pour_forward
    level = around(rng, np.deg2rad(-5.0), v.angle_rad)
    return [
        Move(0.0, 1.6, (X, Y, HEADING, PITCH), (*enter, dig_heading, dig_pitch)),
        Move(0.0, 1.2, (Z,), (0.12,)),
        Move(0.8, 1.2, (Z,), (dig_height,)),
        Move(1.5, 1.5, (X, Y), tuple(leave)),
        Move(2.4, 1.5, (PITCH,), (level,)),
        Move(2.55, 1.7, (Z,), (carry_height,)),
        Move(3.8, 2.3, (X, Y, HEADING), (*pour, pour_heading)),
        Move(5.2, 1.8, (Z,), (around(rng, 0.115, 0.5 * v.height_m),)),
        Move(5.0, 2.4, (PITCH,), (around(rng, np.deg2rad(46.0), v.angle_rad),)),
    ]


class ScriptedTeleoperator(Demonstration):
    """One demonstration, planned at construction.

    Args:
        bowl_xy_m: the bowl's place (2,) in the world, m.
        start_rad: the arm's joint angles (N,) at time 0.
        seed: draws what differs from one demonstration to the next; the same seed gives the same one.
        spread: how much demonstrations differ.
        hold_s: how long the last pose is held before `done`.
        bin_heading_rad: direction of the dig.
        kinematics: of arm and scoop.
        posture_rad: the arm's elbow branch (N,).

    Raises:
        HptError: the bowl is out of reach, or the plan needs more than half of the arm's limits.
    """

    def __init__(
        self,
        bowl_xy_m: Array,
        start_rad: Array,
        *,
        seed: int = 0,
        spread: Spread = STANDARD_SPREAD,
        hold_s: float = 0.6,
        bin_heading_rad: float = BIN_HEADING_RAD,
        kinematics: ToolKinematics = SCOOP,
        posture_rad: Array = POSTURE_RAD,
    ) -> None:
        rng = np.random.default_rng(seed)
        moves = _moves(np.asarray(bowl_xy_m, np.float64), bin_heading_rad, spread, rng)
        tempo = around(rng, 1.0, spread.tempo)
        super().__init__(
            moves, kinematics, posture_rad, np.asarray(start_rad, np.float64), tempo=tempo, hold_s=hold_s,
            subject=f"the scripted demonstration for a bowl at {np.round(bowl_xy_m, 3).tolist()} m",
        )  # fmt: skip
