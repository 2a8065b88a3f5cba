# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a JPEG or PNG file says of itself, read without decoding it."""

from __future__ import annotations

import re
from dataclasses import dataclass

JPEG_START = b"\xff\xd8\xff"
# How files of formats begin that are not read, and what they are.
_OTHERS = (
    (0, b"II*\0", "TIFF"), (0, b"MM\0*", "TIFF"), (0, b"BM", "BMP"), (0, b"GIF8", "GIF"), (0, b"qoif", "QOI"),
    (4, b"jP  ", "JPEG 2000"), (4, b"ftypavif", "AVIF"), (4, b"ftyphei", "HEIF"), (4, b"JXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"), (0, b"/9j/", "JPEG in base64"), (0, b"iVBORw0KGgo", "PNG in base64"),
    (0, b"data:image", "a data URL"),
)  # fmt: skip
PNG_START = b"\x89PNG\r\n\x1a\n"
MAX_SEGMENTS = 10_000  # of a file that are looked at; a JPEG has about ten, a PNG one each 8 KiB
# Markers of a JPEG frame header, which holds the size: SOF0 to SOF15 without DHT, JPG and DAC (ITU-T T.81, table B.1).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset((0x00, 0x01, *range(0xD0, 0xD9)))  # without a length: no marker, TEM, RST0 to RST7, SOI
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_SCAN, _END = 0xDA, 0xD9
# The end of a scan's data: a marker that is neither a stuffed zero nor a restart nor a fill byte (T.81, B.1.1.5).
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
# Channels of a PNG's colour types (PNG, table 11.1): grey, RGB, palette, grey with alpha, RGBA.
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A compressed image's own description.

    Attributes:
        kind: "jpeg", "png" or "webp".
        height, width: in pixels; 0 where the file has none.
        channels: of a pixel.
        bits: of a channel.
        complete: whether the file's end was found: EOI of a JPEG, IEND of a PNG. Bytes may follow.
        progressive: whether a JPEG has several scans of the same pixels.
    """

    kind: str
    height: int = 0
    width: int = 0
    channels: int = 0
    bits: int = 8
    complete: bool = False
    progressive: bool = False


def image_file(content: bytes) -> ImageFile | None:
    """Describe a JPEG, PNG or WebP file; None if it begins like none of them."""
    if content.startswith(JPEG_START):
        return _jpeg(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _webp(content)
    return _png(content) if content.startswith(PNG_START) else None


def name_other(content: bytes) -> str:
    """Return what else a file begins like; empty if like nothing known."""
    return next((name for at, start, name in _OTHERS if content[at : at + len(start)] == start), "")


def _webp(content: bytes) -> ImageFile:
    """Width and height are where the first chunk has them (RFC 9649, 2.5 to 2.7; of VP8 RFC 6386, 9.1)."""
    complete = len(content) >= 8 + int.from_bytes(content[4:8], "little")
    kind, head = content[12:16], content[20:30]
    if len(head) < 10:
        return ImageFile("webp")
    if kind == b"VP8 ":
        width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    elif kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (4, 7))
    else:
        return ImageFile("webp")
    return ImageFile("webp", height, width, 3, 8, complete)


def _png(content: bytes) -> ImageFile:
    """Width, height, bits and colour type are the first fields of the first chunk (PNG, 11.2.2)."""
    if len(content) < 26:
        return ImageFile("png")
    at, complete = len(PNG_START), False
    for _ in range(MAX_SEGMENTS):
        if at + 12 > len(content):
            break
        length, name = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        at += 12 + length
        if name == b"IEND":
            complete = at <= len(content)
            break
    width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    return ImageFile("png", height, width, _PNG_CHANNELS.get(content[25], 0), content[24], complete)


def _jpeg(content: bytes) -> ImageFile:
    """Walk the segments. Bytes between them are skipped, as libjpeg does, so that this is what a decoder will see."""
    height = width = channels = 0
    at, bits, complete, progressive = 2, 8, False, False
    for _ in range(MAX_SEGMENTS):
        at = content.find(b"\xff", at)
        if at < 0 or at + 1 >= len(content):
            break
        marker = content[at + 1]
        if marker == _END:
            complete = True
            break
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _ALONE:
            at += 2
        else:
            if marker in _FRAMES and not width and at + 10 <= len(content):
                bits, channels, progressive = content[at + 4], content[at + 9], marker in _PROGRESSIVE
                height = int.from_bytes(content[at + 5 : at + 7], "big")
                width = int.from_bytes(content[at + 7 : at + 9], "big")
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
            if marker == _SCAN:
                found = _AFTER_SCAN.search(content, at)
                if found is None:
                    break
                at = found.start()
    return ImageFile("jpeg", height, width, channels, bits, complete, progressive)
