# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""geometry_msgs/WrenchStamped: force and torque."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.message_types.base import MessageType, elements
from hpt_ros.embodiment.messages import describe_stream, finite, numbers

if TYPE_CHECKING:
    from hpt_ros.embodiment.streams import Stream


def observe(stream: Stream, message: Any) -> NDArray[np.float64]:
    """geometry_msgs/WrenchStamped to float64 (6,): force in N, then torque in Nm.

    Raises:
        InvalidSampleError: a value is not finite.
    """
    wrench = message.wrench
    values = np.concatenate([numbers(wrench.force, "xyz"), numbers(wrench.torque, "xyz")])
    return finite(values, stream.names, describe_stream(stream))


MESSAGE_TYPE = MessageType(
    name="geometry_msgs/msg/WrenchStamped",
    decoders={"wrench": observe, "state": observe},
    names=elements("force.x", "force.y", "force.z", "torque.x", "torque.y", "torque.z"),
)
