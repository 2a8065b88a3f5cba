# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bytes of pictures: rows of raw ones, sizes of compressed ones before they are decoded, and nearest pixels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Stream
from hpt_ros.observation.checks import InvalidSampleError

MAX_PIXELS = 64 * 1024 * 1024  # larger than any camera's picture; a corrupt header can claim anything

JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
# Markers of a JPEG frame header, which holds the size: SOF0 to SOF15 without DHT, JPG and DAC (ITU-T T.81, table B.1).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset(
    (0x00, 0x01, *range(0xD0, 0xD9))
)  # without a length: no marker, TEM, RST0 to RST7, SOI
MAX_SEGMENTS = 10_000  # of a JPEG before its frame header; pictures have about ten


def rows_of(where: str, message: Any, pixel_bytes: int, rows_per_pixel_row: float = 1.0) -> NDArray[np.uint8]:
    """Rows of a sensor_msgs/Image without the padding of its ``step``: uint8 (rows, width * pixel_bytes).

    Args:
        where: the stream, for errors.
        message: the image.
        pixel_bytes: of the first plane.
        rows_per_pixel_row: 1.5 for planes of 4:2:0 below one another.

    Raises:
        InvalidSampleError: fewer bytes than height, width and step ask for, or sizes that cannot be.
    """
    height, width, step = int(message.height), int(message.width), int(message.step)
    row, rows = width * pixel_bytes, int(height * rows_per_pixel_row)
    data = np.frombuffer(message.data, dtype=np.uint8)
    if not 0 < height * width <= MAX_PIXELS or step < row or data.size < step * (rows - 1) + row:
        raise InvalidSampleError(
            f"{where} has an image of {data.size} bytes that claims {height} rows of {width} {message.encoding} pixels "
            f"and a step of {step}; check the camera driver"
        )
    if step == row:
        return data[: rows * row].reshape(rows, row)
    # The last row may come without its padding.
    return np.lib.stride_tricks.as_strided(data, shape=(rows, row), strides=(step, 1), writeable=False)


def decompressed(where: str, data: NDArray[np.uint8], flags: int, kind: str) -> Any:
    """A JPEG or PNG picture, as OpenCV gives it.

    Args:
        where: the stream, for errors.
        data: the file's bytes; zeros may follow, as some cameras pad their pictures.
        flags: of ``cv2.imdecode``.
        kind: what the message says that it is, for errors.

    Raises:
        InvalidSampleError: neither JPEG nor PNG, too large, damaged, or cut short: OpenCV would fill up with grey.
    """
    head, tail = data[:24].tobytes(), data[-4096:].tobytes().rstrip(b"\0")
    if head.startswith(JPEG_START):
        whole, size = tail.endswith(_JPEG_END), _jpeg_size(data)
    elif head.startswith(PNG_START):
        whole = _PNG_END in tail
        size = (int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big"))
    else:
        raise InvalidSampleError(
            f"{where} has a compressed image of format {kind[:40]!r} that begins like neither JPEG nor PNG; set the "
            "camera driver to jpeg or png"
        )
    if not whole:
        raise InvalidSampleError(
            f"{where} has a compressed image of {data.size} bytes that is cut short; check the camera and the network"
        )
    if not 0 < size[0] * size[1] <= MAX_PIXELS:
        raise InvalidSampleError(
            f"{where} has a compressed image that claims {size[1]}x{size[0]} pixels, but 1 to {MAX_PIXELS} pixels were "
            "expected; check the camera driver"
        )
    try:
        picture = cv2.imdecode(data, flags)
    except cv2.error:
        picture = None
    if picture is None:
        raise InvalidSampleError(
            f"{where} has a compressed image of {data.size} bytes that OpenCV cannot decode; check the camera driver"
        )
    return picture


def resized_by_area(stream: Stream, rgb: Any) -> NDArray[np.uint8]:
    """The picture in the stream's size, owning its memory: a view would keep the whole message alive."""
    assert stream.image is not None  # the embodiment's check saw to it
    size = (stream.image.height, stream.image.width)
    if rgb.shape[:2] != size:
        rgb = cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA)
    owned: NDArray[np.uint8] = np.array(rgb, dtype=np.uint8, order="C", copy=rgb.base is not None)
    return owned


def resized_by_nearest(stream: Stream, pixels: NDArray[Any]) -> NDArray[Any]:
    """Of each cell of the stream's size the pixel at its centre (of two the lower right): a copy (height, width)."""
    assert stream.image is not None  # the embodiment's check saw to it
    (height, width), (rows, columns) = (stream.image.height, stream.image.width), pixels.shape
    down = (2 * np.arange(height) + 1) * rows // (2 * height)
    right = (2 * np.arange(width) + 1) * columns // (2 * width)
    return pixels[np.ix_(down, right)]


def _jpeg_size(data: NDArray[np.uint8]) -> tuple[int, int]:
    """Height and width that a JPEG claims; (0, 0) if it has no frame header.

    Bytes between segments are skipped, as libjpeg does, so that what is read here is what the decoder will allocate.
    """
    content = data.tobytes()
    at = 2
    for _ in range(MAX_SEGMENTS):
        at = content.find(b"\xff", at)
        if at < 0 or at + 9 > len(content):
            break
        marker = content[at + 1]
        if marker in _JPEG_FRAMES:
            return int.from_bytes(content[at + 5 : at + 7], "big"), int.from_bytes(
                content[at + 7 : at + 9], "big"
            )
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _JPEG_ALONE:
            at += 2
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return 0, 0
