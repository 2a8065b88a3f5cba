# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The size of an image as its camera sends it, and whether it has colours, without decoding it."""

from __future__ import annotations

from typing import Any

from hpt_ros.embodiment.encodings import ENCODINGS
from hpt_ros.observation.formats import DEPTH_HEADER, parse_format, without_depth_header
from hpt_ros.observation.image_files import ImageFile, image_file
from hpt_ros.observation.rvl import rvl_size

_GREY = frozenset({"mono8", "8UC1", "mono16"})
HEAD = 65536  # bytes that are looked at: a JPEG's start of frame lies behind its metadata


def image_size(message: Any) -> tuple[int, int] | None:
    """Height and width in pixels of a sensor_msgs/Image or CompressedImage; None where it is not known."""
    if hasattr(message, "height") and hasattr(message, "width"):
        return int(message.height), int(message.width)
    if parse_format(str(getattr(message, "format", ""))).rvl:
        size = rvl_size(_head(message)[DEPTH_HEADER:])
        return size if all(size) else None
    file = _file(message)
    return (file.height, file.width) if file is not None and file.width else None


def has_colours(message: Any) -> bool | None:
    """Whether the pixels of a sensor_msgs/Image or CompressedImage are more than grey; None where it is not known."""
    if hasattr(message, "encoding"):
        encoding = str(message.encoding)
        return False if encoding in _GREY else True if encoding in ENCODINGS else None
    file = _file(message)
    if file is None or not file.channels:
        return None
    return file.channels > 2 or parse_format(str(message.format)).encoding.startswith("bayer_")


def _file(message: Any) -> ImageFile | None:
    return image_file(without_depth_header(_head(message)))


def _head(message: Any) -> bytes:
    return bytes(memoryview(message.data)[:HEAD])
