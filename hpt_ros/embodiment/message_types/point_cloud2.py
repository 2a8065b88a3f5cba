# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/PointCloud2: the points of a depth camera or a lidar."""

from __future__ import annotations

from hpt_ros.embodiment.message_types.base import MessageType

MESSAGE_TYPE = MessageType(
    name="sensor_msgs/msg/PointCloud2",
    decoders={"pointcloud": "hpt_ros.observation.points:decode_points"},
    decoded_late=True,
)
