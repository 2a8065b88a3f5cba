# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Messages that command a robot to arrays: the same for a teleoperator's in a bag and for our own."""

from __future__ import annotations

from typing import Any

from hpt_ros.embodiment import Output
from hpt_ros.embodiment.message_types import MESSAGE_TYPES, Decoded, require_frame
from hpt_ros.embodiment.messages import InvalidSampleError
from hpt_ros.embodiment.streams import BY_ARRIVAL
from hpt_ros.errors import Code

__all__ = ["decode_command", "require_frame"]


def decode_command(output: Output, message: Any, arrival_ns: int) -> Decoded:
    """A command and its time.

    Args:
        output: of the action, whose message it is.
        message: of the type that the output's commands are recorded as.
        arrival_ns: its time where it has none of its own: a type without header, or a zero stamp.

    Returns:
        When the robot is to be there, in ns (header.stamp, of a trajectory + time_from_start); and float64: joint
        positions or velocities in the output's order, a pose (9,) of position and 6-D orientation, a twist (6,), or a
        base's velocities.

    Raises:
        DecodeError: the message does not fit the output: joints, sizes, frame.
        InvalidSampleError: a value is not finite, a quaternion is zero, or the message commands nothing: no joints, no
            points, as a teleoperator sends it to stop.
    """
    type_ = MESSAGE_TYPES[output.recorded_as.type] if output.is_action else output.message_type
    assert type_.command is not None  # the schema saw to it
    assert type_.command.decode is not None  # an action is recorded as a message
    where = output.described
    if type_.empty(message):
        raise InvalidSampleError(
            Code.EMPTY, where, problem="has a message that commands nothing, which does not count"
        )
    time_ns, vector = type_.command.decode(output, message, arrival_ns, where)
    if output.time == BY_ARRIVAL:
        # Points of a trajectory are later than their stamp, and stay so much later than their arrival.
        time_ns += arrival_ns - (type_.stamp_ns(message) or arrival_ns)
    return time_ns, vector
