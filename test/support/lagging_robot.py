# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The robot of policy_rig, but it lags behind its commands as an arm does, and its encoders are noisy."""

from __future__ import annotations

from typing import Any

import numpy as np
from policy_rig import Robot

LAG_S = 0.04  # a first-order lag, as of a cobot in position mode
NOISE_RAD = 0.0005
_SHARE = -np.expm1(-0.01 / LAG_S)  # of the way, between two joint states


class LaggingRobot(Robot):  # type: ignore[misc]
    """`position` is where it is; setting it tells it where to go."""

    def __init__(self, context: Any) -> None:
        self._goal: np.ndarray | None = None
        self._rng = np.random.default_rng(0)
        super().__init__(context)

    @property
    def position(self) -> np.ndarray:
        """Measured joint angles (7,), rad."""
        return self._real + NOISE_RAD * self._rng.standard_normal(self._real.shape)

    @position.setter
    def position(self, goal: np.ndarray) -> None:
        if self._goal is None:
            self._real = np.array(goal)
        self._goal = np.array(goal)

    def _publish_joints(self) -> None:
        assert self._goal is not None
        self._real = self._real + _SHARE * (self._goal - self._real)
        super()._publish_joints()
