# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The task `feed_dog`: where things stand at the start, and whether the dog has been fed."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from hpt_ros.sim.arm import ToolKinematics
from hpt_ros.sim.dog import pieces_in_bowl, wag
from hpt_ros.sim.environment import Outcome
from hpt_ros.sim.movement import Spread, tool_pose
from hpt_ros.sim.panda import PANDA
from hpt_ros.sim.physics import Physics
from hpt_ros.sim.table_task import START_JITTER_RAD, TableTask
from hpt_ros.sim.tasks.feed_dog.teleoperator import (
    BIN_HEADING_RAD,
    BIN_XY_M,
    LIP_IN_FLANGE,
    SCOOP,
    ScriptedTeleoperator,
)
from hpt_ros.sim.variation import STANDARD, Variation

Array = npt.NDArray[np.float64]

# The bowl's centre is drawn uniformly from this rectangle, m.
BOWL_X_M: Final = (0.45, 0.65)
BOWL_Y_M: Final = (-0.09, 0.20)

# Where the scoop starts: to the right of the bin, raised (lip at (0.28, -0.40, 0.27) m).
START_RAD: Final[Array] = np.array([-0.581, -0.418, -0.451, -2.492, -0.236, 2.047, -0.427])
START_TOOL: Final[Array] = np.array([0.28, -0.40, 0.27, -0.2, 0.1, 0.0])  # the same for another arm

# The dog sits to the left of the bowl, and the tail is behind it.
_DOG_FROM_BOWL_M: Final = np.array([-0.07, 0.27, 0.0])
_DOG_YAW_RAD: Final = np.deg2rad(-62.0)


class FeedDogTask(TableTask):
    """Scoop kibble from the bin and pour it into the bowl; see `TableTask`.

    Attributes:
        needed: pieces of kibble that must rest in the bowl.
    """

    name = "feed_dog"
    version = "1"
    instruction = "scoop kibble from the bin and pour it into the dog's bowl"
    time_limit_s = 13.0  # half as long again as the slowest scripted demonstration takes
    tool_part, tool_site, tool_in_flange = "scoop.xml", "scoop_lip", LIP_IN_FLANGE
    coloured = ("bowl", "bin")
    count = 64
    needed = 4

    def __init__(
        self, physics: Physics, kinematics: ToolKinematics = SCOOP, variation: Variation = STANDARD
    ) -> None:
        super().__init__(physics, kinematics, variation)
        self._bin_heading_rad = BIN_HEADING_RAD
        self._settled = self._settle_kibble()

    def _settle_kibble(self) -> Array:
        """Let the kibble fall into the bin, once, so that each reset is quick; returns its poses at rest (N, 7)."""
        physics = self.physics
        rng = np.random.default_rng(0)
        index = np.arange(physics.piece_count)
        grid = np.stack([(index % 7 - 3.0) * 0.0265, (index // 7 % 4 - 1.5) * 0.0320], axis=1)
        grid += rng.uniform(-0.001, 0.001, grid.shape)
        c, s = np.cos(BIN_HEADING_RAD), np.sin(BIN_HEADING_RAD)
        poses = np.zeros((len(index), 7))
        poses[:, :2] = np.array(BIN_XY_M) + grid @ np.array([[c, s], [-s, c]])
        poses[:, 2] = 0.02 + 0.026 * (index // 28)
        poses[:, 3] = 1.0
        physics.put_arm(self._start())
        physics.put_pieces(poses)
        physics.settle()
        physics.step(round(1.5 / physics.timestep_s))
        return physics.piece_poses

    def _start(self) -> Array:
        """Joint angles (N,) at the start, without jitter."""
        if self.physics.arm is PANDA:
            return START_RAD
        return np.asarray(self.kinematics.inverse(tool_pose(START_TOOL[None]), self.posture_rad)[0])

    def reset(self, seed: int) -> None:
        """Move every body to the start that `seed` draws; the clock goes on."""
        rng = np.random.default_rng(seed)
        physics = self.physics
        bowl = np.array([self.draw_in_range(rng, *BOWL_X_M), self.draw_in_range(rng, *BOWL_Y_M), 0.0])
        jitter = rng.uniform(-START_JITTER_RAD, START_JITTER_RAD, physics.arm.dof)
        physics.put_arm(self._start() + jitter)
        physics.put_pieces(self._settled)
        if self.variation.orientation_rad:
            self._turn_bin(float(rng.uniform(-1.0, 1.0)) * self.variation.orientation_rad)
        physics.place("bowl", bowl, 0.0)
        physics.place("dog", bowl + _DOG_FROM_BOWL_M, _DOG_YAW_RAD)
        self.animate()
        physics.settle()

    def _turn_bin(self, turn_rad: float) -> None:
        """Turn the bin about its middle, and the kibble with it."""
        self._bin_heading_rad = BIN_HEADING_RAD + turn_rad
        self.physics.turn("bin", self._bin_heading_rad)
        poses, centre = self._settled.copy(), np.array(BIN_XY_M)
        c, s = np.cos(turn_rad), np.sin(turn_rad)
        poses[:, :2] = centre + (poses[:, :2] - centre) @ np.array([[c, s], [-s, c]])
        self.physics.put_pieces(poses)

    @property
    def bowl_xy_m(self) -> Array:
        """The bowl's place (2,): privileged, for the scripted teleoperator only."""
        return self.physics.body_position("bowl")[:2]

    def keep_out(self) -> list[tuple[float, float, float]]:
        """Leave arm, bin, bowl and dog alone, and the way between them."""
        x, y = self.bowl_xy_m
        dog = self.physics.body_position("dog")
        return [(0.0, 0.0, 0.2), (*BIN_XY_M, 0.15), (x, y, 0.12), (float(dog[0]), float(dog[1]), 0.17)]

    def animate(self) -> None:
        """Wag the dog's tail: slowly while it waits, quickly when there is kibble in the bowl."""
        wag(self.physics, _DOG_YAW_RAD, self.kibble_in_bowl() > 0)

    def kibble_in_bowl(self) -> int:
        """Pieces of kibble that rest in the bowl now."""
        return pieces_in_bowl(self.physics)

    def result(self) -> Outcome:
        """How the task stands now."""
        count = self.kibble_in_bowl()
        return Outcome(
            success=count >= self.needed,
            progress=min(1.0, count / self.needed),
            detail=f"{count} of {self.physics.piece_count} pieces of kibble rest in the bowl; needed: {self.needed}",
        )

    def teleoperator(self, start_rad: Array, seed: int, spread: Spread) -> ScriptedTeleoperator:
        """Plan a demonstration."""
        return ScriptedTeleoperator(
            self.bowl_xy_m, start_rad, seed=seed, spread=spread, bin_heading_rad=self._bin_heading_rad,
            kinematics=self.kinematics, posture_rad=self.posture_rad,
        )  # fmt: skip
