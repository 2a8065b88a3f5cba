# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/Image: pixels of colour or of depth."""

from __future__ import annotations

from hpt_ros.embodiment.message_types.base import MessageType

MESSAGE_TYPE = MessageType(
    name="sensor_msgs/msg/Image",
    decoders={
        "image": "hpt_ros.observation.images:decode_image",
        "depth": "hpt_ros.observation.depth:decode_depth_image",
    },
    decoded_late=True,
    content="image",
)
