# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""control_msgs/JointJog: joint velocities, or displacements within a duration.

MoveIt Servo takes velocities only, and says of displacements that it ignores them (moveit/moveit2#3581).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpt_ros.embodiment.kinds import JOINT_VELOCITY
from hpt_ros.embodiment.message_types.base import (
    CommandType,
    Decoded,
    MessageType,
    Sending,
    SentCommand,
    in_order,
)
from hpt_ros.embodiment.messages import NS_PER_S, DecodeError, InvalidSampleError, stamp_ns
from hpt_ros.errors import Code

if TYPE_CHECKING:
    from hpt_ros.embodiment.output import Output

VELOCITIES, DISPLACEMENTS = FORMS = ("velocities", "displacements")


def encode(command: SentCommand, output: Output, sending: Sending) -> Any:
    """The velocity of the limited positions when the command is due, or how far they go in the period before that.

    The duration is the command period: how long a velocity is meant for, and what a displacement takes.
    """
    period_ns = command.curve.period_ns
    message = sending.interface("control_msgs/msg/JointJog")(
        joint_names=list(output.message_names), duration=period_ns / NS_PER_S
    )
    message.header.frame_id, message.header.stamp = output.frame_id, sending.time(sending.now_ns)
    if output.jog == DISPLACEMENTS:
        before = command.curve.at(command.time_ns - period_ns).position
        message.displacements = (command.position - before).tolist()
    else:
        message.velocities = command.velocity.tolist()
    return message


def decode(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    """Joint velocities (n,) at the message's stamp; displacements are divided by the duration.

    Raises:
        DecodeError: the message has not the output's form.
        InvalidSampleError: displacements without a duration, or numbers that are not finite.
    """
    time_ns = stamp_ns(message, arrival_ns)
    form = output.jog or VELOCITIES
    if not len(getattr(message, form)):
        other = DISPLACEMENTS if form == VELOCITIES else VELOCITIES
        raise DecodeError(
            Code.MISSING, where, len(getattr(message, other)), problem=f"has {{value}} {other} and no {form}",
            expected=form, remedy=f"write jog: {other} into the embodiment file, or correct the teleoperation",
        )  # fmt: skip
    values = in_order(output, message.joint_names, getattr(message, form), form, where)
    if form == VELOCITIES:
        return time_ns, values
    duration_s = float(message.duration)
    if not 0.0 < duration_s < float("inf"):
        raise InvalidSampleError(
            Code.OUT_OF_RANGE, where, duration_s, problem="has displacements within {value} s",
            expected="a duration above 0 s", remedy="let the teleoperation fill it",
        )  # fmt: skip
    return time_ns, values / duration_s


def empty(message: Any) -> bool:
    """Whether it names no joint and has no value."""
    return not (len(message.joint_names) or len(message.velocities) or len(message.displacements))


MESSAGE_TYPE = MessageType(
    name="control_msgs/msg/JointJog",
    empty=empty,
    command=CommandType(
        kinds=(JOINT_VELOCITY,),
        controllers="MoveIt Servo (command type JOINT_JOG, velocities) and drivers that jog",
        encode=encode,
        decode=decode,
    ),
)
