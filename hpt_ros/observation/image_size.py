# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The size of an image as its camera sends it, without decoding it."""

from __future__ import annotations

from typing import Any

from hpt_ros.observation.formats import DEPTH_HEADER, parse_format, without_depth_header
from hpt_ros.observation.image_files import image_file
from hpt_ros.observation.rvl import rvl_size

HEAD = 65536  # bytes that are looked at: a JPEG's start of frame lies behind its metadata


def image_size(message: Any) -> tuple[int, int] | None:
    """Height and width in pixels of a sensor_msgs/Image or CompressedImage; None where it is not known."""
    if hasattr(message, "height") and hasattr(message, "width"):
        return int(message.height), int(message.width)
    head = bytes(memoryview(message.data)[:HEAD])
    if parse_format(str(getattr(message, "format", ""))).rvl:
        size = rvl_size(head[DEPTH_HEADER:])
        return size if all(size) else None
    file = image_file(without_depth_header(head))
    return (file.height, file.width) if file is not None and file.width else None
