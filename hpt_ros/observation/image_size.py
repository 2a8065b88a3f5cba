# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The size of an image as its camera sends it, without decoding it."""

from __future__ import annotations

from typing import Any

_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTH_HEADER = 12  # bytes before the PNG of compressed_depth_image_transport
# JPEG's markers (ISO/IEC 10918-1, table B.1): starts of a frame, which have the size, and those without a length.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
HEAD = 65536  # bytes that are looked at: a JPEG's start of frame lies behind its metadata


def image_size(message: Any) -> tuple[int, int] | None:
    """Height and width in pixels of a sensor_msgs/Image or CompressedImage; None where they cannot be told."""
    if hasattr(message, "height") and hasattr(message, "width"):
        return int(message.height), int(message.width)
    head = bytes(memoryview(message.data)[:HEAD])
    return _png(head) or _png(head[_DEPTH_HEADER:]) or _jpeg(head)


def _png(head: bytes) -> tuple[int, int] | None:
    """Width and height are the first fields of the first chunk (PNG, 11.2.2)."""
    if not head.startswith(_PNG) or len(head) < 24:
        return None
    return int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big")


def _jpeg(head: bytes) -> tuple[int, int] | None:
    if not head.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
        elif marker in _FRAMES:
            return int.from_bytes(head[at + 5 : at + 7], "big"), int.from_bytes(head[at + 7 : at + 9], "big")
        else:
            at += 2 + max(2, int.from_bytes(head[at + 2 : at + 4], "big"))
    return None
