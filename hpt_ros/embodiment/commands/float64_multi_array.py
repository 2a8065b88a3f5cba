# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""std_msgs/Float64MultiArray: positions in the action's order, without names and time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hpt_ros.embodiment.commands.base import CommandType, Decoded, Sending, Told
from hpt_ros.embodiment.kinds import JOINT_POSITION
from hpt_ros.embodiment.messages import DecodeError, finite
from hpt_ros.errors import Code

if TYPE_CHECKING:
    from hpt_ros.embodiment.action import Output


def encode(told: Told, output: Output, sending: Sending) -> Any:
    """The positions."""
    return sending.interface("std_msgs/msg/Float64MultiArray")(data=told.position.tolist())


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


COMMAND = CommandType(
    type="std_msgs/msg/Float64MultiArray",
    kinds=(JOINT_POSITION,),
    controllers="forward_command_controller, JointGroupPositionController (they never time out)",
    encode=encode,
    decode=decode,
)
