# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/CompressedImage: a JPEG, a PNG, depth of compressed_depth_image_transport, or a packet of a video."""

from __future__ import annotations

from hpt_ros.embodiment.message_types.base import MessageType

MESSAGE_TYPE = MessageType(
    name="sensor_msgs/msg/CompressedImage",
    decoders={
        "image": "hpt_ros.observation.images:decode_compressed_image",
        "depth": "hpt_ros.observation.depth:decode_compressed_depth",
    },
    decoded_late=True,
    content="image",
)
