# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Packets of H.264 or H.265: foxglove_msgs/CompressedVideo and ffmpeg_image_transport_msgs/FFMPEGPacket."""

from __future__ import annotations

from hpt_ros.embodiment.message_types.base import MessageType


def _video(name: str) -> MessageType:
    return MessageType(
        name=name,
        decoders={"image": "hpt_ros.observation.video:decode_packet"},
        decoded_late=True,
        video=True,
        content="image",
    )


FOXGLOVE = _video("foxglove_msgs/msg/CompressedVideo")
FFMPEG = _video("ffmpeg_image_transport_msgs/msg/FFMPEGPacket")
