# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The task `fill_water`: the dog's bowl is to be filled from a jug; small spheres stand for the water."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from hpt_ros.sim.arm import ToolKinematics
from hpt_ros.sim.dog import pieces_in_bowl, wag
from hpt_ros.sim.environment import Outcome
from hpt_ros.sim.movement import (
    HEADING,
    MISTAKES,
    PITCH,
    Demonstration,
    Move,
    Spread,
    X,
    Y,
    Z,
    around,
    tool_pose,
)
from hpt_ros.sim.physics import Physics
from hpt_ros.sim.table_task import TableTask
from hpt_ros.sim.variation import STANDARD, Variation

Array = npt.NDArray[np.float64]

# The bowl's centre is drawn uniformly from this rectangle, m.
BOWL_X_M: Final = (0.50, 0.59)
BOWL_Y_M: Final = (-0.08, 0.18)
_DOG_FROM_BOWL_M: Final = np.array([-0.07, 0.27, 0.0])
_DOG_YAW_RAD: Final = np.deg2rad(-62.0)
_START: Final = np.array([0.42, -0.36, 0.24, -0.4, 0.0, 0.0])


class FillWaterTask(TableTask):
    """Pour water from the jug into the bowl; see `TableTask`.

    Attributes:
        needed: ratio of the spheres that must rest in the bowl.
    """

    name = "fill_water"
    version = "1"
    instruction = "fill the dog's bowl with water from the jug"
    time_limit_s = 13.0
    tool_part, tool_site = "jug.xml", "jug_lip"
    tool_in_flange = np.array([[1.0, 0, 0, 0.123], [0, -1, 0, 0], [0, 0, -1, 0.105], [0, 0, 0, 1]])
    coloured = ("bowl",)
    count = 28
    piece = "water"
    needed = 0.6

    def __init__(self, physics: Physics, kinematics: ToolKinematics, variation: Variation = STANDARD) -> None:
        super().__init__(physics, kinematics, variation)
        self._settled = self._settle_water()

    def _settle_water(self) -> Array:
        """Let the water come to rest in the jug, once; returns its positions in the frame of the jug's lip (N, 3)."""
        physics = self.physics
        tool = tool_pose(_START[None])[0]
        index = np.arange(physics.piece_count)
        grid = np.stack(
            [
                -0.108 + 0.019 * (index % 3),
                -0.030 + 0.020 * (index // 3 % 4),
                -0.062 + 0.0195 * (index // 12),
            ],
            axis=1,
        )
        grid[:, :2] += np.random.default_rng(0).uniform(-0.0005, 0.0005, (len(index), 2))
        poses = np.zeros((len(index), 7))
        poses[:, :3] = grid @ tool[:3, :3].T + tool[:3, 3]
        poses[:, 3] = 1.0
        physics.put_arm(self.kinematics.inverse(tool[None], self.posture_rad)[0])
        physics.put_pieces(poses)
        physics.place("bowl", np.array([0.5, 0.1, 0.0]), 0.0)
        physics.settle()
        physics.step(round(1.5 / physics.timestep_s))
        tool = self.kinematics.pose(physics.joint_positions_rad)
        return np.asarray((physics.piece_poses[:, :3] - tool[:3, 3]) @ tool[:3, :3])

    def reset(self, seed: int) -> None:
        """Put the full jug at its start, and the bowl and the dog where `seed` has them."""
        rng = np.random.default_rng(seed)
        physics = self.physics
        bowl = np.array([self.draw_in_range(rng, *BOWL_X_M), self.draw_in_range(rng, *BOWL_Y_M), 0.0])
        joints = self.start_rad(_START, rng)
        physics.put_arm(joints)
        tool = self.kinematics.pose(joints)
        poses = np.zeros((physics.piece_count, 7))
        poses[:, :3] = self._settled @ tool[:3, :3].T + tool[:3, 3]
        poses[:, 3] = 1.0
        physics.put_pieces(poses)
        physics.place("bowl", bowl, 0.0)
        physics.place("dog", bowl + _DOG_FROM_BOWL_M, _DOG_YAW_RAD)
        self.animate()
        physics.settle()

    def keep_out(self) -> list[tuple[float, float, float]]:
        """Leave arm, bowl and dog alone, and the way to them."""
        x, y, _ = self.physics.body_position("bowl")
        dog = self.physics.body_position("dog")
        return [(0.0, 0.0, 0.2), (x, y, 0.14), (float(dog[0]), float(dog[1]), 0.17)]

    def animate(self) -> None:
        """Wag the dog's tail, quickly when there is water in the bowl."""
        wag(self.physics, _DOG_YAW_RAD, pieces_in_bowl(self.physics) > 0)

    def result(self) -> Outcome:
        """How the task stands now."""
        count, total = pieces_in_bowl(self.physics), self.physics.piece_count
        needed = int(np.ceil(self.needed * total))
        return Outcome(
            count >= needed,
            min(1.0, count / needed),
            f"{count} of {total} parts of the water rest in the bowl; needed: {needed}",
        )

    def teleoperator(self, start_rad: Array, seed: int, spread: Spread) -> Demonstration:
        """Plan to carry the jug upright to the bowl and to tilt it there."""
        rng = np.random.default_rng([seed, 0x3A7E])

        bowl = self.physics.body_position("bowl")[:2]
        if spread.place_m > 0.0 and rng.random() < MISTAKES:  # beside the bowl, as somebody who misjudges it
            bowl = bowl + 0.12 * np.array([np.cos(turn := rng.uniform(-0.5, -0.3) * np.pi), np.sin(turn)])
        heading = around(rng, 0.5 * float(np.arctan2(bowl[1], bowl[0])), spread.angle_rad)
        forward = np.array([np.cos(heading), np.sin(heading)])
        over = bowl + rng.uniform(-spread.place_m, spread.place_m, 2) - 0.07 * forward
        high, low = around(rng, 0.22, spread.height_m), around(rng, 0.105, 0.5 * spread.height_m)
        moves = [
            Move(0.0, 2.8, (X, Y, HEADING), (*over, heading)),
            Move(0.3, 1.2, (Z,), (high,)),
            Move(1.6, 1.6, (Z,), (low,)),
            Move(2.2, 1.8, (PITCH,), (around(rng, np.deg2rad(38.0), spread.angle_rad),)),
            Move(3.8, 3.0, (PITCH,), (around(rng, np.deg2rad(64.0), spread.angle_rad),)),
        ]
        tempo = around(rng, 1.0, spread.tempo)
        return Demonstration(moves, self.kinematics, self.posture_rad, start_rad, tempo=tempo, hold_s=1.0)
