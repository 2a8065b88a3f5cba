# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The task `feed_dog` as environments."""

from __future__ import annotations

from hpt_ros.sim.robots import PANDA_ROBOT, UR5E_ROBOT
from hpt_ros.sim.table import ByJoints, TableEnvironment
from hpt_ros.sim.tasks.feed_dog.task import FeedDogTask


class FeedDogEnvironment(ByJoints, TableEnvironment):
    """The 7-joint arm, commanded by joint angles."""

    name, task_type, robot = "feed_dog", FeedDogTask, PANDA_ROBOT


class FeedDogUr5eEnvironment(TableEnvironment):
    """The 6-joint arm, commanded by poses of its tool."""

    name, task_type, robot = "feed_dog_ur5e", FeedDogTask, UR5E_ROBOT
