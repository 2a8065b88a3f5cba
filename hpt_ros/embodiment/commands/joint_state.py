# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/JointState as a command: positions and velocities at the time at which the robot is to be there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpt_ros.embodiment.commands.base import CommandType, Decoded, Sending, Told, in_order
from hpt_ros.embodiment.kinds import JOINT_POSITION
from hpt_ros.embodiment.messages import stamp_ns

if TYPE_CHECKING:
    from hpt_ros.embodiment.action import Output


def encode(told: Told, output: Output, sending: Sending) -> Any:
    """Stamped with the command's time."""
    message = sending.interface("sensor_msgs/msg/JointState")(
        name=list(output.message_names), position=told.position.tolist(), velocity=told.velocity.tolist()
    )
    message.header.stamp = sending.time(told.time_ns)
    return message


def decode(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    """Positions at the message's stamp."""
    return stamp_ns(message, arrival_ns), in_order(output, message.name, message.position, "positions", where)


COMMAND = CommandType(
    type="sensor_msgs/msg/JointState",
    kinds=(JOINT_POSITION,),
    controllers="drivers that follow joint states, such as Isaac Sim's and teleoperators'",
    encode=encode,
    decode=decode,
)
