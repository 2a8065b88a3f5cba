# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""geometry_msgs/PoseStamped: where something is, or the tool is to be, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.kinds import AXES, CARTESIAN_POSE
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
from hpt_ros.embodiment.messages import POSE_ELEMENTS, describe_stream, pose_vector, stamp_ns
from hpt_ros.embodiment.rotations import elements as rotation_elements

if TYPE_CHECKING:
    from hpt_ros.embodiment.output import Output
    from hpt_ros.embodiment.streams import Stream


def encode(command: SentCommand, output: Output, sending: Sending) -> Any:
    """Of a command (7,): position in m and quaternion, stamped with the command's time."""
    message = sending.interface("geometry_msgs/msg/PoseStamped")()
    message.header.frame_id, message.header.stamp = output.frame_id, sending.time(command.time_ns)
    fill(message.pose.position, "xyz", command.position[:3])
    fill(message.pose.orientation, "xyzw", command.position[3:])
    return message


def decode(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    """The pose (9,) of position and 6-D orientation at its stamp."""
    require_frame(output, message, where)
    names = (*AXES, *rotation_elements("rotation_6d"))
    return stamp_ns(message, arrival_ns), pose_vector(message.pose, names, where)


def observe(stream: Stream, message: Any) -> NDArray[np.float64]:
    """geometry_msgs/PoseStamped to float64 (9,): x, y, z in m, then the first two columns of the rotation matrix.

    The quaternion is normalised first. Both of its signs give the same numbers.

    Raises:
        InvalidSampleError: a value is not finite, or the quaternion is zero.
    """
    return pose_vector(message.pose, stream.names, describe_stream(stream))


MESSAGE_TYPE = MessageType(
    name="geometry_msgs/msg/PoseStamped",
    decoders={"state": observe},
    names=elements(*POSE_ELEMENTS),
    command=CommandType(
        kinds=(CARTESIAN_POSE,),
        controllers="MoveIt Servo (command type POSE), cartesian_controllers and drivers of that kind",
        encode=encode,
        decode=decode,
    ),
)
