# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the topics and joints of an embodiment are called in one bag: the recorder leaves its deployment there."""

from __future__ import annotations

from dataclasses import replace

from hpt_ros.embodiment import Deployment, Embodiment
from rosbag_tools.bag_schema import KEY_DEPLOYMENT
from rosbag_tools.reading.reader import Bag


def as_recorded(bag: Bag, robot: Embodiment, given: Deployment | None = None) -> Embodiment:
    """The robot with the names, rates and tolerances of the cell that a bag was recorded in; its limits stay.

    Vectors keep their order, so that bags of several cells give one dataset.

    Args:
        bag: the bag, whose own deployment counts.
        robot: the robot.
        given: the cell of a bag without one, as of `ros2 bag record`.

    Raises:
        EmbodimentError: the bag's deployment does not fit the robot.
        StructureError: it is no deployment.
    """
    text = bag.custom.get(KEY_DEPLOYMENT, "")
    where = f"the deployment in bag {str(bag.path)!r}" if text else "the deployment file"
    deployment = Deployment.loads(text, where=where) if text else given
    if deployment is None:
        return robot
    # Tighter limits are the cell's; data are judged by the robot's.
    return replace(deployment, limits=None, rotation_limits=None).over(robot, where=where)
