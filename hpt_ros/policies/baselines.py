# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Baselines: they go through the same node and the same limits as a trained policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.kinds import VELOCITIES
from hpt_ros.policies.loading import of_embodiment
from hpt_ros.policies.protocol import Observation

# The random baseline's speed, as part of the velocity limits: it moves visibly within an episode. Our choice.
RANDOM_SPEED = 0.2
# What the hold baseline takes for lag, sag and noise rather than for a move by hand, rad or m or units. Our choice.
NEARBY = 0.05


@dataclass
class HoldPolicy:
    """The do-nothing baseline: stay where the robot was seen.

    An arm that sags is seen a little below what it was commanded, each time again, so what is held changes only where
    the robot is further than `NEARBY` from it: somebody moved it.
    """

    embodiment: Embodiment
    _held: NDArray[Any] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.embodiment.space.states.require()

    def predict(self, observation: Observation) -> NDArray[Any]:
        """The held pose, repeated."""
        pose = self.embodiment.space.states.action(observation.inputs["state"][0, -1])
        if self._held is None or np.abs(pose - self._held).max() > NEARBY:
            self._held = pose
        chunk: NDArray[Any] = np.tile(self._held, (self.embodiment.action.horizon, 1))
        return chunk

    def reset(self) -> None:
        """Hold where the robot is seen next."""
        self._held = None


@dataclass
class RandomPolicy:
    """The random baseline: each chunk goes from the measured pose at a random constant velocity."""

    embodiment: Embodiment
    seed: int = 0
    _random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.embodiment.space.states.require()
        self._speed = RANDOM_SPEED * self.embodiment.max_velocity
        self._random = np.random.default_rng(self.seed)

    def predict(self, observation: Observation) -> NDArray[Any]:
        """A straight line within the position limits."""
        robot = self.embodiment
        pose = robot.space.states.action(observation.inputs["state"][0, -1])
        velocity = self._random.uniform(-self._speed, self._speed)
        times_s = robot.dt_s * np.arange(robot.action.horizon)
        line = pose + times_s[:, None] * velocity
        chunk: NDArray[Any] = np.where(robot.space.angles, line, np.clip(line, robot.lower, robot.upper))
        for part in robot.space.parts:
            if part.output.kind in VELOCITIES:  # a velocity itself
                slowest, fastest = (RANDOM_SPEED * bound[part.action] for bound in (robot.lower, robot.upper))
                chunk[:, part.action] = self._random.uniform(slowest, fastest)
        return chunk

    def reset(self) -> None:
        """Nothing is remembered; the random numbers go on, so that episodes differ."""


HOLD = of_embodiment("hold", lambda robot, settings: HoldPolicy(robot))
RANDOM = of_embodiment("random", lambda robot, settings: RandomPolicy(robot, settings.seed))
