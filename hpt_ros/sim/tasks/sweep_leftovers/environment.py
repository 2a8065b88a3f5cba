# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The task `sweep_leftovers` as environments."""

from __future__ import annotations

from hpt_ros.sim.robots import PANDA_ROBOT, UR5E_ROBOT
from hpt_ros.sim.table import ByJoints, TableEnvironment
from hpt_ros.sim.tasks.sweep_leftovers.task import SweepLeftoversTask


class SweepLeftoversEnvironment(ByJoints, TableEnvironment):
    """The 7-joint arm, commanded by joint angles."""

    name, task_type, robot = "sweep_leftovers", SweepLeftoversTask, PANDA_ROBOT


class SweepLeftoversUr5eEnvironment(TableEnvironment):
    """The 6-joint arm, commanded by poses of its tool."""

    name, task_type, robot = "sweep_leftovers_ur5e", SweepLeftoversTask, UR5E_ROBOT
