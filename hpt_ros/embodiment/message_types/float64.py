# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""std_msgs/Float64: the position of one joint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hpt_ros.embodiment.kinds import JOINT_POSITION
from hpt_ros.embodiment.message_types.base import CommandType, Decoded, MessageType, Sending, SentCommand
from hpt_ros.embodiment.messages import finite

if TYPE_CHECKING:
    from hpt_ros.embodiment.output import Output


def encode(command: SentCommand, output: Output, sending: Sending) -> Any:
    """The position."""
    return sending.interface("std_msgs/msg/Float64")(data=float(command.position[0]))


def decode(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    """The number, at its arrival."""
    return arrival_ns, finite(np.array([message.data], dtype=np.float64), output.names, where)


MESSAGE_TYPE = MessageType(
    name="std_msgs/msg/Float64",
    command=CommandType(
        kinds=(JOINT_POSITION,),
        controllers="drivers of a single joint, such as simulated ones",
        encode=encode,
        decode=decode,
        several="use another type",
    ),
)
