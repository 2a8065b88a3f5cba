# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""control_msgs/ParallelGripperCommand: named joints' positions and a largest effort, as a goal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpt_ros.embodiment.kinds import JOINT_POSITION
from hpt_ros.embodiment.message_types.base import CommandType, MessageType, Sending, SentCommand, target

if TYPE_CHECKING:
    from hpt_ros.embodiment.output import Output

TYPE = "control_msgs/action/ParallelGripperCommand"


def encode(command: SentCommand, output: Output, sending: Sending) -> Any:
    """The goal with where the gripper comes to rest, in the driver's unit; an effort of 0 is left out."""
    goal = sending.interface(TYPE).Goal()
    goal.command.name = list(output.message_names)
    goal.command.position = (target(command) * output.goals.scale).tolist()
    if output.goals.max_effort > 0.0:
        goal.command.effort = [output.goals.max_effort] * len(output.names)
    return goal


MESSAGE_TYPE = MessageType(
    name=TYPE,
    command=CommandType(
        kinds=(JOINT_POSITION,),
        controllers="parallel_gripper_action_controller (Jazzy and later)",
        encode=encode,
        own_speed=True,
    ),
)
