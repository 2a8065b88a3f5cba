# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""geometry_msgs/TwistStamped: the velocity of a tool, or of a base; measured or commanded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.kinds import BASE_VELOCITY, CARTESIAN_TWIST
from hpt_ros.embodiment.message_types.base import (
    CommandType,
    Decoded,
    MessageType,
    Sending,
    SentCommand,
    elements,
    fill,
    require_frame,
)
from hpt_ros.embodiment.message_types.twist import base_velocity, fill_base
from hpt_ros.embodiment.messages import VELOCITY_ELEMENTS, describe_stream, stamp_ns, twist_vector
from hpt_ros.embodiment.rotations import angular_velocity

if TYPE_CHECKING:
    from hpt_ros.embodiment.output import Output
    from hpt_ros.embodiment.streams import Stream


def encode(command: SentCommand, output: Output, sending: Sending) -> Any:
    """From now on: the velocity that the base is to have, or of the tool's limited pose when the command is due."""
    message = sending.interface("geometry_msgs/msg/TwistStamped")()
    message.header.frame_id, message.header.stamp = output.frame_id, sending.time(sending.now_ns)
    if output.kind == BASE_VELOCITY:
        fill_base(message.twist, command, output)
        return message
    fill(message.twist.linear, "xyz", command.velocity[:3])
    fill(message.twist.angular, "xyz", angular_velocity(command.position[3:], command.velocity[3:]))
    return message


def decode(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    """The twist (6,), or the velocities of a base's axes, at its stamp. A base's frame is its own, however named."""
    if output.kind == BASE_VELOCITY:
        return stamp_ns(message, arrival_ns), base_velocity(output, message.twist, where)
    require_frame(output, message, where)
    return stamp_ns(message, arrival_ns), twist_vector(message.twist, output.elements, where)


def observe(stream: Stream, message: Any) -> NDArray[np.float64]:
    """geometry_msgs/TwistStamped to float64 (6,): linear in m/s, then angular in rad/s.

    Raises:
        InvalidSampleError: a value is not finite.
    """
    return twist_vector(message.twist, stream.names, describe_stream(stream))


MESSAGE_TYPE = MessageType(
    name="geometry_msgs/msg/TwistStamped",
    decoders={"state": observe},
    names=elements(*VELOCITY_ELEMENTS),
    command=CommandType(
        kinds=(CARTESIAN_TWIST, BASE_VELOCITY),
        controllers="MoveIt Servo (command type TWIST); diff_drive_controller, mecanum_drive_controller and bases of "
        "Nav2",
        encode=encode,
        decode=decode,
    ),
)
