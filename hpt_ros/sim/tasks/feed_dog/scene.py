# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Physics and Task put together without a controller: reset, then one step for each joint target."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hpt_ros.sim.disturbance import Disturbance
from hpt_ros.sim.environment import Outcome
from hpt_ros.sim.physics import Physics, whole_steps
from hpt_ros.sim.robots import PANDA_ROBOT
from hpt_ros.sim.table_task import table_physics
from hpt_ros.sim.tasks.feed_dog.task import FeedDogTask

Array = npt.NDArray[np.float64]


class FeedDogScene:
    """The scene `feed_dog` under joint position targets.

    Args:
        control_period_s: time between commands; an integer multiple of the physics step.
        disturbance_rad: standard deviation of the offsets between commanded and executed targets.
        physics: the world; None makes one.

    Raises:
        HptError: the control period is no integer multiple of the physics step.
    """

    def __init__(
        self, control_period_s: float = 0.02, *, disturbance_rad: float = 0.0, physics: Physics | None = None
    ) -> None:
        self.physics = table_physics(FeedDogTask, PANDA_ROBOT) if physics is None else physics
        self._steps = whole_steps(control_period_s, self.physics.timestep_s, what="control period")
        self.control_period_s = control_period_s
        self._disturbance_rad = disturbance_rad
        self.task = FeedDogTask(self.physics)
        self._start_s = 0.0
        self._disturbance = Disturbance(0.0, 0)

    def reset(self, seed: int) -> None:
        """Start an episode."""
        self.task.reset(seed)
        self._disturbance = Disturbance(self._disturbance_rad, seed)
        self._start_s = self.physics.time_s

    @property
    def time_s(self) -> float:
        """Time since the reset."""
        return self.physics.time_s - self._start_s

    def step(self, targets_rad: Array) -> None:
        """Command these joint targets (7,), rad, for one control period."""
        offset = self._disturbance.step(
            self.control_period_s, float(self.physics.site_position("scoop_lip")[2])
        )
        self.physics.set_targets(targets_rad + offset)
        self.physics.step(self._steps)
        self.task.animate()

    def result(self) -> Outcome:
        """How the task stands now."""
        return self.task.result()
