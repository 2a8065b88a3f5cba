# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The task `feed_dog`: where things stand at the start, and whether the dog has been fed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hpt_ros.sim.physics import Physics
from hpt_ros.sim.tasks.feed_dog.teleoperator import BIN_HEADING_RAD, BIN_XY_M

Array = npt.NDArray[np.float64]

# The bowl's centre is drawn uniformly from this rectangle, m.
BOWL_X_M: Final = (0.45, 0.65)
BOWL_Y_M: Final = (-0.09, 0.20)
BOWL_INNER_RADIUS_M: Final = 0.085
BOWL_RIM_M: Final = 0.056

# Where the scoop starts: to the right of the bin, raised (lip at (0.28, -0.40, 0.27) m).
START_RAD: Final[Array] = np.array([-0.581, -0.418, -0.451, -2.492, -0.236, 2.047, -0.427])
START_JITTER_RAD: Final = 0.03

# The dog sits to the left of the bowl, and the tail is behind it.
_DOG_FROM_BOWL_M: Final = np.array([-0.07, 0.27, 0.0])
_DOG_YAW_RAD: Final = np.deg2rad(-62.0)
_TAIL_FROM_DOG_M: Final = np.array([-0.125, 0.0, 0.045])
_REST_M_S: Final = 0.15  # kibble slower than this has come to rest


@dataclass(frozen=True, slots=True)
class TaskResult:
    """How the task stands.

    Attributes:
        success: enough kibble rests in the bowl.
        progress: share of the needed kibble that rests in the bowl, 0..1.
        detail: one sentence for people.
        in_bowl: pieces that rest in the bowl.
    """

    success: bool
    progress: float
    detail: str
    in_bowl: int


class FeedDogTask:
    """Scoop kibble from the bin and pour it into the bowl.

    Args:
        physics: the world; its kibble is let settle once, so that each reset is quick.
        needed: pieces of kibble that must rest in the bowl.
    """

    def __init__(self, physics: Physics, needed: int = 4) -> None:
        self._physics = physics
        self.needed = needed
        self._settled = self._settle_kibble()

    def _settle_kibble(self) -> Array:
        """Let the kibble fall into the bin; returns its poses at rest (N, 7)."""
        physics = self._physics
        rng = np.random.default_rng(0)
        index = np.arange(physics.kibble_count)
        grid = np.stack([(index % 7 - 3.0) * 0.0265, (index // 7 % 4 - 1.5) * 0.0320], axis=1)
        grid += rng.uniform(-0.001, 0.001, grid.shape)
        c, s = np.cos(BIN_HEADING_RAD), np.sin(BIN_HEADING_RAD)
        poses = np.zeros((len(index), 7))
        poses[:, :2] = np.array(BIN_XY_M) + grid @ np.array([[c, s], [-s, c]])
        poses[:, 2] = 0.02 + 0.026 * (index // 28)
        poses[:, 3] = 1.0
        physics.put_arm(START_RAD)
        physics.put_kibble(poses)
        physics.settle()
        physics.step(round(1.5 / physics.timestep_s))
        return physics.kibble_poses

    def reset(self, seed: int) -> None:
        """Move every body to the start that `seed` draws; the clock goes on."""
        rng = np.random.default_rng(seed)
        physics = self._physics
        bowl = np.array([rng.uniform(*BOWL_X_M), rng.uniform(*BOWL_Y_M), 0.0])
        physics.put_arm(START_RAD + rng.uniform(-START_JITTER_RAD, START_JITTER_RAD, 7))
        physics.put_kibble(self._settled)
        physics.place("bowl", bowl, 0.0)
        physics.place("dog", bowl + _DOG_FROM_BOWL_M, _DOG_YAW_RAD)
        self.animate()
        physics.settle()

    @property
    def bowl_xy_m(self) -> Array:
        """The bowl's place (2,): privileged, for the scripted teleoperator only."""
        return self._physics.body_position("bowl")[:2]

    def animate(self) -> None:
        """Wag the dog's tail: slowly while it waits, quickly when there is kibble in the bowl."""
        physics = self._physics
        fed = self.kibble_in_bowl() > 0
        swing = (0.7 if fed else 0.25) * np.sin(2 * np.pi * (2.5 if fed else 0.8) * physics.time_s)
        c, s = np.cos(_DOG_YAW_RAD), np.sin(_DOG_YAW_RAD)
        offset = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ _TAIL_FROM_DOG_M
        physics.place("dog_tail", physics.body_position("dog") + offset, _DOG_YAW_RAD + swing)

    def kibble_in_bowl(self) -> int:
        """Pieces of kibble that rest in the bowl now."""
        physics = self._physics
        places = physics.kibble_poses[:, :3] - physics.body_position("bowl")
        inside = (np.hypot(places[:, 0], places[:, 1]) < BOWL_INNER_RADIUS_M) & (places[:, 2] < BOWL_RIM_M)
        return int((inside & (physics.kibble_speeds_m_s < _REST_M_S)).sum())

    def result(self) -> TaskResult:
        """How the task stands now."""
        count = self.kibble_in_bowl()
        return TaskResult(
            success=count >= self.needed,
            progress=min(1.0, count / self.needed),
            detail=f"{count} of {self._physics.kibble_count} pieces of kibble rest in the bowl; needed: {self.needed}",
            in_bowl=count,
        )
