# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""nav_msgs/Odometry: the pose of a base in its odometry's frame, and its velocity in its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.message_types.base import MessageType
from hpt_ros.embodiment.messages import (
    POSE_ELEMENTS,
    VELOCITY_ELEMENTS,
    describe_stream,
    pose_vector,
    twist_vector,
)

if TYPE_CHECKING:
    from hpt_ros.embodiment.streams import Stream

_ELEMENTS = {"pose": POSE_ELEMENTS, "twist": VELOCITY_ELEMENTS}


def names(stream: Stream) -> tuple[str, ...]:
    """Elements of the stream's fields, in its order."""
    return tuple(f"{stream.name}.{element}" for part in stream.fields for element in _ELEMENTS.get(part, ()))


def observe(stream: Stream, message: Any) -> NDArray[np.float64]:
    """nav_msgs/Odometry to float64 (dim,): the stream's fields in its order, pose (9,) and twist (6,).

    The pose is in the message's frame, which begins where the base was switched on; the twist is in the base's own.

    Raises:
        InvalidSampleError: a value is not finite, or the quaternion is zero.
    """
    where, names, found = describe_stream(stream), stream.names, []
    for part in stream.fields:
        if part == "pose":
            found.append(pose_vector(message.pose.pose, names[:9], where))
            names = names[9:]
        else:
            found.append(twist_vector(message.twist.twist, names[:6], where))
            names = names[6:]
    return np.concatenate(found)


MESSAGE_TYPE = MessageType(
    name="nav_msgs/msg/Odometry", decoders={"state": observe}, names=names, fields=tuple(_ELEMENTS)
)
