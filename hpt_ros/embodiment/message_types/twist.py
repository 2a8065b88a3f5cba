# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""geometry_msgs/Twist: the velocity of a base, whose driver stops it when no message comes any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hpt_ros.embodiment.kinds import BASE_VELOCITY, TWIST_ELEMENTS
from hpt_ros.embodiment.message_types.base import (
    CommandType,
    Decoded,
    Floats,
    MessageType,
    Sending,
    SentCommand,
    fill,
)
from hpt_ros.embodiment.messages import DecodeError, twist_vector
from hpt_ros.errors import Code

if TYPE_CHECKING:
    from hpt_ros.embodiment.output import Output

# A commanded velocity along an axis that the output has not, and that is no rounding: m/s, rad/s.
ELSEWHERE = 1e-6


def encode(command: SentCommand, output: Output, sending: Sending) -> Any:
    """The velocity of now on the output's axes, zero on the others."""
    message = sending.interface("geometry_msgs/msg/Twist")()
    fill_base(message, command, output)
    return message


def decode(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    """The velocities of the output's axes, at the arrival."""
    return arrival_ns, base_velocity(output, message, where)


def fill_base(twist: Any, command: SentCommand, output: Output) -> None:
    """Set a Twist to a base's commanded velocity."""
    values = np.zeros(len(TWIST_ELEMENTS))
    values[[TWIST_ELEMENTS.index(axis) for axis in output.names]] = command.position
    fill(twist.linear, "xyz", values[:3])
    fill(twist.angular, "xyz", values[3:])


def base_velocity(output: Output, twist: Any, where: str) -> Floats:
    """The velocities of the output's axes.

    Raises:
        DecodeError: the base is commanded along an axis that the output has not.
    """
    values = twist_vector(twist, TWIST_ELEMENTS, where)
    for axis, value in zip(TWIST_ELEMENTS, values.tolist(), strict=True):
        if axis not in output.names and abs(value) > ELSEWHERE:
            raise DecodeError(
                Code.INVALID, where, value,
                problem=f"has the velocity {{value}} along {axis}, but the command {output.name!r} has the "
                f"axes {', '.join(output.names)}",
                remedy="add it to names in the embodiment file, with a limit",
            )  # fmt: skip
    return values[[TWIST_ELEMENTS.index(axis) for axis in output.names]]


MESSAGE_TYPE = MessageType(
    name="geometry_msgs/msg/Twist",
    command=CommandType(
        kinds=(BASE_VELOCITY,),
        controllers="mobile bases that take unstamped cmd_vel",
        encode=encode,
        decode=decode,
    ),
)
