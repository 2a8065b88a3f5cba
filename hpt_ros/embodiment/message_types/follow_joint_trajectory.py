# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""control_msgs/FollowJointTrajectory: what JointTrajectory tells, as a goal, for drivers without its topic.

Each goal replaces the one before. It ends at rest, so one is sent only when where it ends changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpt_ros.embodiment.kinds import JOINT_POSITION
from hpt_ros.embodiment.message_types import joint_trajectory
from hpt_ros.embodiment.message_types.base import CommandType, MessageType, Sending, SentCommand

if TYPE_CHECKING:
    from hpt_ros.embodiment.output import Output

TYPE = "control_msgs/action/FollowJointTrajectory"


def encode(command: SentCommand, output: Output, sending: Sending) -> Any:
    """The goal with the trajectory, and the controller's own tolerances."""
    return sending.interface(TYPE).Goal(trajectory=joint_trajectory.encode(command, output, sending))


MESSAGE_TYPE = MessageType(
    name=TYPE,
    command=CommandType(
        kinds=(JOINT_POSITION,),
        controllers="joint_trajectory_controller and drivers that have its action alone",
        encode=encode,
    ),
)
