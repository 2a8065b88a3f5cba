# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The task `fill_water` as environments."""

from __future__ import annotations

from hpt_ros.sim.robots import PANDA_ROBOT, UR5E_ROBOT
from hpt_ros.sim.table import ByJoints, TableEnvironment
from hpt_ros.sim.tasks.fill_water.task import FillWaterTask


class FillWaterEnvironment(ByJoints, TableEnvironment):
    """The 7-joint arm, commanded by joint angles."""

    name, task_type, robot = "fill_water", FillWaterTask, PANDA_ROBOT


class FillWaterUr5eEnvironment(TableEnvironment):
    """The 6-joint arm, commanded by poses of its tool."""

    name, task_type, robot = "fill_water_ur5e", FillWaterTask, UR5E_ROBOT
