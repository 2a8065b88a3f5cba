# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The task `sweep_leftovers`: kibble lies about, and is to be swept together onto the dog's mat."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from hpt_ros.sim.arm import ToolKinematics
from hpt_ros.sim.dog import REST_M_S, wag
from hpt_ros.sim.environment import Outcome
from hpt_ros.sim.movement import HEADING, MISTAKES, Demonstration, Move, Spread, X, Y, Z, around
from hpt_ros.sim.physics import Physics
from hpt_ros.sim.table_task import TableTask
from hpt_ros.sim.variation import STANDARD, Variation

Array = npt.NDArray[np.float64]

# Kibble is scattered over this region, m, no two pieces nearer to one another than this.
SCATTER_X_M: Final = (0.38, 0.60)
SCATTER_Y_M: Final = (-0.28, -0.04)
APART_M: Final = 0.032
# The mat's middle, m, and half of its length and width.
MAT_X_M: Final = (0.45, 0.53)
MAT_Y_M: Final = (0.18, 0.25)
MAT_HALF_M: Final = np.array([0.125, 0.100])
RADIUS_M: Final = 0.012  # of a piece
_DOG_FROM_MAT_M: Final = np.array([-0.06, 0.26, 0.0])
_DOG_YAW_RAD: Final = np.deg2rad(-62.0)
_START: Final = np.array([0.36, -0.36, 0.20, 0.0, 0.0, 0.0])
_BEFORE_M: Final = 0.06  # from behind the last piece a stroke begins, and the mat's middle it ends


class SweepLeftoversTask(TableTask):
    """Sweep scattered kibble together onto the mat; see `TableTask`.

    Attributes:
        needed: ratio of the pieces that must rest on the mat.
    """

    name = "sweep_leftovers"
    version = "1"
    instruction = "sweep the kibble together onto the dog's mat"
    time_limit_s = 16.0
    tool_part, tool_site = "brush.xml", "brush_edge"
    tool_in_flange = np.array([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0.17], [0, 0, 0, 1]])
    coloured = ("mat", "brush")
    count = 16
    piece = "leftover"
    needed = 0.85

    def __init__(self, physics: Physics, kinematics: ToolKinematics, variation: Variation = STANDARD) -> None:
        super().__init__(physics, kinematics, variation)
        self._mat_yaw_rad = 0.0

    def reset(self, seed: int) -> None:
        """Scatter the kibble, and put the mat and the dog where `seed` has them."""
        rng = np.random.default_rng(seed)
        physics = self.physics
        mat = np.array([self.draw_in_range(rng, *MAT_X_M), self.draw_in_range(rng, *MAT_Y_M), 0.0])
        self._mat_yaw_rad = self.variation.orientation_rad * float(rng.uniform(-1.0, 1.0))
        physics.put_arm(self.start_rad(_START, rng))
        physics.place("mat", mat, self._mat_yaw_rad)
        physics.place("dog", mat + _DOG_FROM_MAT_M, _DOG_YAW_RAD)
        poses = np.zeros((physics.piece_count, 7))
        poses[:, 2:4] = RADIUS_M, 1.0
        for index in range(len(poses)):
            poses[index, :2] = self._free_spot(rng, poses[:index, :2])
        physics.put_pieces(poses)
        self.animate()
        physics.settle()

    def _free_spot(self, rng: np.random.Generator, taken: Array) -> Array:
        """Draw a spot (2,) that is not taken; where there are too many pieces, the best of many."""
        spots = np.array(
            [
                [self.draw_in_range(rng, *SCATTER_X_M), self.draw_in_range(rng, *SCATTER_Y_M)]
                for _ in range(40)
            ]
        )
        if not len(taken):
            return np.asarray(spots[0])
        nearest = np.linalg.norm(spots[:, None] - taken[None], axis=2).min(axis=1)
        free = np.flatnonzero(nearest > APART_M)
        return np.asarray(spots[free[0] if len(free) else nearest.argmax()])

    def keep_out(self) -> list[tuple[float, float, float]]:
        """Leave the arm, the kibble, its way to the mat, and the dog alone."""
        x, y, _ = self.physics.body_position("mat")
        dog = self.physics.body_position("dog")
        pieces = self.physics.piece_poses[:, :2].mean(axis=0)
        return [
            (0.0, 0.0, 0.2), (float(pieces[0]), float(pieces[1]), 0.24), (x, y, 0.2),
            (float(pieces[0] + x) / 2, float(pieces[1] + y) / 2, 0.2), (float(dog[0]), float(dog[1]), 0.17),
        ]  # fmt: skip

    def animate(self) -> None:
        """Wag the dog's tail, quickly when there is kibble on the mat."""
        wag(self.physics, _DOG_YAW_RAD, self.pieces_on_mat() > 0)

    def pieces_on_mat(self) -> int:
        """Pieces of kibble that rest on the mat now."""
        physics = self.physics
        c, s = np.cos(self._mat_yaw_rad), np.sin(self._mat_yaw_rad)
        off = physics.piece_poses[:, :2] - physics.body_position("mat")[:2]
        inside = (np.abs(off @ np.array([[c, -s], [s, c]])) < MAT_HALF_M).all(axis=1)
        return int((inside & (physics.piece_speeds_m_s < REST_M_S)).sum())

    def result(self) -> Outcome:
        """How the task stands now."""
        count, total = self.pieces_on_mat(), self.physics.piece_count
        needed = int(np.ceil(self.needed * total))
        return Outcome(
            count >= needed,
            min(1.0, count / needed),
            f"{count} of {total} pieces of kibble rest on the mat; needed: {needed}",
        )

    def teleoperator(self, start_rad: Array, seed: int, spread: Spread) -> Demonstration:
        """Plan strokes from behind the kibble to the mat, those further from the arm first."""
        rng = np.random.default_rng([seed, 0x5EE9])

        pieces = self.physics.piece_poses[:, :2]
        mat = self.physics.body_position("mat")[:2]
        low, high = pieces[:, 0].min(), pieces[:, 0].max()
        strokes = 1 if high - low < 0.13 else 2
        mistaken = spread.place_m > 0.0 and rng.random() < MISTAKES
        behind = float(pieces[:, 1].min()) - _BEFORE_M
        moves = [Move(0.0, 1.3, (Z,), (0.10,))]
        at_s = 0.0
        for number in range(strokes):
            lane = (low + high) / 2 + (0.0 if strokes == 1 else (0.055, -0.055)[number])
            begin = np.array([around(rng, lane, spread.place_m), around(rng, behind, spread.place_m)])
            end = mat + (0.35 * (lane - mat[0]), -_BEFORE_M) + rng.uniform(-1.0, 1.0, 2) * spread.place_m
            if mistaken:  # stops short, as somebody who thinks that it is done
                end -= (0.0, 0.17)
            along = end - begin
            heading = around(rng, float(np.arctan2(along[1], along[0]) - np.pi / 2), 0.5 * spread.angle_rad)
            height = around(rng, 0.005, 0.5 * spread.contact_m)
            reach_s = 1.8 if number == 0 else 2.0
            moves += [
                Move(at_s, reach_s, (X, Y, HEADING), (*begin, heading)),
                Move(at_s + reach_s - 0.7, 0.9, (Z,), (height,)),
                Move(at_s + reach_s + 0.1, 2.6, (X, Y), (float(end[0]), float(end[1]))),
                Move(at_s + reach_s + 2.5, 0.8, (Z,), (around(rng, 0.10, spread.height_m),)),
            ]
            at_s += reach_s + 2.9
        tempo = around(rng, 1.0, spread.tempo)
        return Demonstration(moves, self.kinematics, self.posture_rad, start_rad, tempo=tempo)
