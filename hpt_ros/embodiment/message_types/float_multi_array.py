# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""std_msgs/Float32MultiArray and Float64MultiArray: values without names and time, measured or commanded positions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.kinds import JOINT_POSITION
from hpt_ros.embodiment.message_types.base import CommandType, Decoded, MessageType, Sending, SentCommand
from hpt_ros.embodiment.messages import DecodeError, InvalidSampleError, describe_stream, finite
from hpt_ros.errors import Code
from hpt_ros.modalities import MODALITIES

if TYPE_CHECKING:
    from hpt_ros.embodiment.output import Output
    from hpt_ros.embodiment.streams import Stream


def encode(command: SentCommand, output: Output, sending: Sending) -> Any:
    """The positions."""
    return sending.interface("std_msgs/msg/Float64MultiArray")(data=command.position.tolist())


def decode(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    """Values behind the layout's offset, at the arrival."""
    values = np.array(message.data, dtype=np.float64)[int(message.layout.data_offset) :]
    if values.shape != (len(output.names),):
        raise DecodeError(
            Code.WRONG_SHAPE, where, values.size, problem="has an array of {value} values",
            expected=f"one for each of {', '.join(output.names)}",
            remedy="correct the names in the embodiment file or the teleoperation",
        )  # fmt: skip
    return arrival_ns, finite(values, output.names, where)


def names(stream: Stream) -> tuple[str, ...]:
    """The stream's name and the position of each value."""
    return tuple(f"{stream.name}.{index}" for index in range(stream.length))


def empty(message: Any) -> bool:
    """Whether it has no value."""
    return not len(message.data)


def decode_array(stream: Stream, message: Any) -> NDArray[Any]:
    """std_msgs/Float32MultiArray or Float64MultiArray to (length,): of its modality's type.

    Whatever the layout's dimensions, the values are taken in the order in which they come, after its data_offset.

    Raises:
        DecodeError: another number of values than the stream's length.
        InvalidSampleError: no values at all, dimensions that do not multiply to their number, or one is not finite.
    """
    where, layout = describe_stream(stream), message.layout
    count = len(message.data) - int(layout.data_offset)
    if not len(message.data):
        raise InvalidSampleError(
            Code.EMPTY, where, problem="has an array without values", remedy="check the driver"
        )
    if count != stream.length:
        raise DecodeError(
            Code.INVALID, where,
            problem=f"has an array of {max(count, 0)} values, but the stream's length is {stream.length}",
            remedy="correct the embodiment file or the driver",
        )  # fmt: skip
    sizes = [int(dimension.size) for dimension in layout.dim]
    if sizes and math.prod(sizes) != count:
        raise InvalidSampleError(
            Code.INVALID, where,
            problem=f"has an array of {count} values whose layout says {' x '.join(map(str, sizes[:8]))}",
            remedy="check the driver",
        )  # fmt: skip
    kind = np.dtype(MODALITIES[stream.modality].dtype)
    with np.errstate(over="ignore"):
        values = np.array(message.data, dtype=kind)[int(layout.data_offset) :]
    return finite(values, stream.names, where)


FLOAT32 = MessageType(
    name="std_msgs/msg/Float32MultiArray",
    decoders={"state": decode_array},
    names=names,
    needs=("length",),
    empty=empty,
    content="array",
)
FLOAT64 = MessageType(
    name="std_msgs/msg/Float64MultiArray",
    decoders={"state": decode_array},
    names=names,
    needs=("length",),
    empty=empty,
    content="array",
    command=CommandType(
        kinds=(JOINT_POSITION,),
        controllers="forward_command_controller, JointGroupPositionController (they never time out)",
        encode=encode,
        decode=decode,
    ),
)
