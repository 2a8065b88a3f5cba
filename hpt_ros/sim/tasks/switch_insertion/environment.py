# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The task `switch_insertion` as environments."""

from __future__ import annotations

from hpt_ros.sim.robots import PANDA_ROBOT, UR5E_ROBOT
from hpt_ros.sim.table import ByJoints, TableEnvironment
from hpt_ros.sim.tasks.switch_insertion.task import SwitchInsertionTask


class SwitchInsertionEnvironment(ByJoints, TableEnvironment):
    """The 7-joint arm, commanded by joint angles."""

    name, task_type, robot = "switch_insertion", SwitchInsertionTask, PANDA_ROBOT


class SwitchInsertionUr5eEnvironment(TableEnvironment):
    """The 6-joint arm, commanded by poses of its tool."""

    name, task_type, robot = "switch_insertion_ur5e", SwitchInsertionTask, UR5E_ROBOT
