# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An environment's own expert as a policy: what can be reached by who knows where everything is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.errors import Code, HptError
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.policies.protocol import Observation
from hpt_ros.sim.environment import Environment, HasExpert, Plan


class ExpertPolicy:
    """Chunks of the environment's expert, see `hpt_ros.policies.protocol.ChunkPolicy`."""

    def __init__(self, environment: HasExpert) -> None:
        """Plan when an episode begins."""
        self._environment = environment
        self._plan: Plan | None = None
        self._start_ns = 0

    def predict(self, observation: Observation) -> NDArray[Any]:
        """Return where the plan is at the chunk's times."""
        robot = self._environment.embodiment
        if self._plan is None:
            self._plan, self._start_ns = self._environment.expert(), observation.stamp_ns
        start_s = (observation.stamp_ns - self._start_ns) / 1e9
        chunk: NDArray[Any] = np.array(
            [self._plan(start_s + index * robot.dt_s) for index in range(robot.action.horizon)]
        )
        return chunk

    def reset(self) -> None:
        """Plan anew."""
        self._plan = None


def load_expert(environment: Environment) -> LoadedPolicy:
    """Make the expert of an environment.

    Raises:
        HptError: it has none.
    """
    if not isinstance(environment, HasExpert):
        raise HptError(
            Code.UNSUPPORTED, f"the environment {environment.name!r}", problem="has no expert",
            remedy="name a checkpoint, hold or random",
        )  # fmt: skip
    robot = environment.embodiment
    return LoadedPolicy(ExpertPolicy(environment), robot, "", robot.observation_horizon)
