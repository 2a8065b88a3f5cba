# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A policy: every joint goes to and fro about where it was seen first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment
from hpt_ros.policies.loading import PolicySettings, of_embodiment
from hpt_ros.policies.protocol import Observation

AMPLITUDE, PERIOD_S = 0.05, 2.0  # rad or m, s


class WavePolicy:
    """See the module."""

    def __init__(self, embodiment: Embodiment, settings: PolicySettings) -> None:
        embodiment.space.states.require()
        self.embodiment = embodiment
        self._middle: NDArray[Any] | None = None
        self._start_ns = 0

    def predict(self, observation: Observation) -> NDArray[Any]:
        """Return the chunk, (horizon, action dim)."""
        robot = self.embodiment
        if self._middle is None:
            self._middle = robot.space.states.action(observation.inputs["state"][0, -1])
            self._start_ns = observation.stamp_ns
        since_s = (observation.stamp_ns - self._start_ns) * 1e-9
        times_s = since_s + robot.dt_s * np.arange(robot.action.horizon)
        chunk: NDArray[Any] = self._middle + AMPLITUDE * np.sin(2 * np.pi * times_s / PERIOD_S)[:, None]
        return chunk

    def reset(self) -> None:
        """Begin anew where the robot is seen next."""
        self._middle = None


POLICY = of_embodiment("wave", WavePolicy)
