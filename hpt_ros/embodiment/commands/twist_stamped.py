# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""geometry_msgs/TwistStamped: the velocity of a tool, or of a base."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpt_ros.embodiment.commands.base import CommandType, Decoded, Sending, Told, fill, require_frame
from hpt_ros.embodiment.commands.twist import base_velocity, fill_base
from hpt_ros.embodiment.kinds import BASE_VELOCITY, CARTESIAN_TWIST
from hpt_ros.embodiment.messages import stamp_ns, twist_vector
from hpt_ros.embodiment.rotations import angular_velocity

if TYPE_CHECKING:
    from hpt_ros.embodiment.action import Output


def encode(told: Told, output: Output, sending: Sending) -> Any:
    """From now on: the velocity that the base is to have, or of the tool's limited pose when the command is due."""
    message = sending.interface("geometry_msgs/msg/TwistStamped")()
    message.header.frame_id, message.header.stamp = output.frame_id, sending.time(sending.now_ns)
    if output.kind == BASE_VELOCITY:
        fill_base(message.twist, told, output)
        return message
    fill(message.twist.linear, "xyz", told.velocity[:3])
    fill(message.twist.angular, "xyz", angular_velocity(told.position[3:], told.velocity[3:]))
    return message


def decode(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    """The twist (6,), or the velocities of a base's axes, at its stamp. A base's frame is its own, however named."""
    if output.kind == BASE_VELOCITY:
        return stamp_ns(message, arrival_ns), base_velocity(output, message.twist, where)
    require_frame(output, message, where)
    return stamp_ns(message, arrival_ns), twist_vector(message.twist, output.elements, where)


COMMAND = CommandType(
    type="geometry_msgs/msg/TwistStamped",
    kinds=(CARTESIAN_TWIST, BASE_VELOCITY),
    controllers="MoveIt Servo (command type TWIST); diff_drive_controller, mecanum_drive_controller and Nav2's bases",
    encode=encode,
    decode=decode,
)
