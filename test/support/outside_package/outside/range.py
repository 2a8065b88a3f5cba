# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A message type: sensor_msgs/Range, a distance in m."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.message_types import MessageType, elements
from hpt_ros.embodiment.messages import describe_stream, finite

if TYPE_CHECKING:
    from hpt_ros.embodiment import Stream


def observe(stream: Stream, message: Any) -> NDArray[np.float64]:
    """Return the distance, (1,); a distance out of the sensor's limits is the limit that it passed."""
    distance = np.array([message.range], dtype=np.float64)
    return finite(
        np.clip(distance, message.min_range, message.max_range), stream.names, describe_stream(stream)
    )


MESSAGE_TYPE = MessageType(
    name="sensor_msgs/msg/Range", decoders={"state": observe}, names=elements("distance")
)
