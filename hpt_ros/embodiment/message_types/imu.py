# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/Imu: orientation, angular velocity and linear acceleration of an inertial measurement unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.message_types.base import MessageType
from hpt_ros.embodiment.messages import (
    ORIENTATION_ELEMENTS,
    DecodeError,
    describe_stream,
    finite,
    numbers,
    orientation_vector,
)
from hpt_ros.errors import Code

if TYPE_CHECKING:
    from hpt_ros.embodiment.streams import Stream

_ELEMENTS: Mapping[str, tuple[str, ...]] = {
    "orientation": ORIENTATION_ELEMENTS,
    "angular_velocity": ("angular_velocity.x", "angular_velocity.y", "angular_velocity.z"),
    "linear_acceleration": ("linear_acceleration.x", "linear_acceleration.y", "linear_acceleration.z"),
}


def names(stream: Stream) -> tuple[str, ...]:
    """Elements of the stream's fields, in its order."""
    return tuple(f"{stream.name}.{element}" for part in stream.fields for element in _ELEMENTS.get(part, ()))


def observe(stream: Stream, message: Any) -> NDArray[np.float64]:
    """sensor_msgs/Imu to float64 (dim,): the stream's fields in its order.

    The orientation is the first two columns of the rotation matrix from the sensor's frame to the world's (6,), the
    angular velocity is in rad/s (3,), the linear acceleration in m/s^2 (3,); both in the sensor's frame.

    Raises:
        DecodeError: the sensor does not measure a field: the first element of its covariance is -1 (sensor_msgs/Imu).
        InvalidSampleError: a value is not finite, or the quaternion is zero.
    """
    where, found = describe_stream(stream), []
    for part in stream.fields:
        if getattr(message, f"{part}_covariance")[0] == -1.0:
            measured = [name for name in _ELEMENTS if getattr(message, f"{name}_covariance")[0] != -1.0]
            raise DecodeError(
                Code.MISSING, where, part,
                problem="has messages without {value}: its covariance begins with -1, which says that the sensor does "
                "not measure it",
                remedy=f"take it out of the stream's fields, the sensor has {', '.join(measured) or 'none'}",
            )  # fmt: skip
        values = getattr(message, part)
        found.append(
            orientation_vector(values, where)
            if part == "orientation"
            else finite(numbers(values, "xyz"), _ELEMENTS[part], where)
        )
    return np.concatenate(found)


MESSAGE_TYPE = MessageType(
    name="sensor_msgs/msg/Imu", decoders={"state": observe}, names=names, fields=tuple(_ELEMENTS)
)
