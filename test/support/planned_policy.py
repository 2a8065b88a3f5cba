# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A policy whose chunks follow the plan of an environment's expert: what reaches the robot's limits if all is well."""

from __future__ import annotations

import numpy as np

from hpt_ros.policies.loading import LoadedPolicy


class PlannedPolicy:
    """Chunks of the plan that is made when an episode begins."""

    def __init__(self, environment):
        self.environment, self.expert = environment, None

    def predict(self, observation):
        robot = self.environment.embodiment
        if self.expert is None:
            self.expert = self.environment.expert()
        dt_ns = round(robot.dt_s * 1e9)
        times_ns = observation.stamp_ns + dt_ns * np.arange(robot.action.horizon)
        return np.array([self.expert.action(int(time_ns)) for time_ns in times_ns])

    def reset(self):
        self.expert = None


def load_planned(environment) -> LoadedPolicy:
    robot = environment.embodiment
    return LoadedPolicy(PlannedPolicy(environment), robot, "", robot.observation_horizon)
