# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""tf2_msgs/TFMessage: the pose of one frame in another, along whatever frames lie between.

What is decoded is the pose that `hpt_ros.observation.transforms.TransformChain` makes of /tf and /tf_static.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.message_types.base import MessageType, elements
from hpt_ros.embodiment.messages import POSE_ELEMENTS, describe_stream, pose_vector

if TYPE_CHECKING:
    from hpt_ros.embodiment.streams import Stream

TF_TYPE = "tf2_msgs/msg/TFMessage"


def observe(stream: Stream, message: Any) -> NDArray[np.float64]:
    """As of a PoseStamped: x, y, z in m, then the first two columns of the rotation matrix, float64 (9,).

    Raises:
        InvalidSampleError: a value is not finite, or the quaternion is zero.
    """
    return pose_vector(message.pose, stream.names, describe_stream(stream))


MESSAGE_TYPE = MessageType(
    name=TF_TYPE, decoders={"state": observe}, names=elements(*POSE_ELEMENTS), needs=("frame", "child")
)
