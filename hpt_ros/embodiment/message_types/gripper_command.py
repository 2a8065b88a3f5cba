# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""control_msgs/GripperCommand: one position and a largest effort, as a goal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpt_ros.embodiment.kinds import JOINT_POSITION
from hpt_ros.embodiment.message_types.base import CommandType, MessageType, Sending, SentCommand, target

if TYPE_CHECKING:
    from hpt_ros.embodiment.output import Output

TYPE = "control_msgs/action/GripperCommand"


def encode(command: SentCommand, output: Output, sending: Sending) -> Any:
    """The goal with where the gripper comes to rest, in the driver's unit."""
    goal = sending.interface(TYPE).Goal()
    goal.command.position = float(target(command)[0] * output.goals.scale)
    goal.command.max_effort = output.goals.max_effort
    return goal


MESSAGE_TYPE = MessageType(
    name=TYPE,
    command=CommandType(
        kinds=(JOINT_POSITION,),
        controllers="gripper_controllers/GripperActionController; stock drivers of Franka, Kinova, xArm and Robotiq",
        encode=encode,
        several="use control_msgs/action/ParallelGripperCommand",
        own_speed=True,
    ),
)
