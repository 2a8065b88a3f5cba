# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A robot as its embodiment file and its URDF together have it."""

from __future__ import annotations

from hpt_ros.control import Kinematics
from hpt_ros.embodiment import Embodiment


def with_robot_description(robot: Embodiment, robot_description: str) -> tuple[Embodiment, Kinematics | None]:
    """Add the limits that an embodiment file leaves out, and the positions of the robot's links, from a URDF.

    Args:
        robot: as its embodiment file has it.
        robot_description: URDF; empty: the robot itself, and None.

    Raises:
        HptError: no URDF of this robot, one that contradicts the file, or a limit that neither has.
    """
    if not robot_description:
        return robot, None
    # MuJoCo, which reads the URDF, takes a while to import.
    from hpt_ros.runtime.kinematics import list_commanded_joints, read_urdf, require_limits, with_limits

    urdf = read_urdf(robot_description, list_commanded_joints(robot))
    require_limits(robot, urdf)
    return with_limits(robot, urdf), urdf.kinematics
