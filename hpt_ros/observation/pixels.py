# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bytes of images: rows of raw ones, pixels of compressed ones, and sizes."""

from __future__ import annotations

from typing import Any

import av
import av.error
import cv2
import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Stream
from hpt_ros.errors import Code
from hpt_ros.observation.checks import InvalidSampleError
from hpt_ros.observation.image_files import ImageFile, image_file, name_other

MAX_PIXELS = 64 * 1024 * 1024  # larger than any camera's picture; a corrupt header can claim anything

JPEG_END = b"\xff\xd9"
PADDING = 4  # so many zeros at a JPEG's end are padding, fewer may be data
# Continuations of a JPEG's data, without 0xFF: unlike one another in every bit pattern, whatever the Huffman tables.
_FILLS = tuple(np.random.default_rng(seed).integers(0, 255, 64, np.uint8).tobytes() for seed in range(2))


def rows_of(where: str, message: Any, pixel_bytes: int, rows_per_pixel_row: float = 1.0) -> NDArray[np.uint8]:
    """Rows of a sensor_msgs/Image without the padding of its ``step``: uint8 (rows, width * pixel_bytes).

    Args:
        where: the stream, for errors.
        message: the image.
        pixel_bytes: of the first plane.
        rows_per_pixel_row: 1.5 for planes of 4:2:0 below one another; more for more colours.

    Raises:
        InvalidSampleError: fewer bytes than height, width and step ask for, or sizes that cannot be.
    """
    height, width, step = int(message.height), int(message.width), int(message.step)
    row, rows = width * pixel_bytes, int(height * rows_per_pixel_row)
    data = np.frombuffer(message.data, dtype=np.uint8)
    if step == 0 and data.size == row * rows:
        step = row  # some drivers leave it out
    if not 0 < height * width <= MAX_PIXELS or step < row or data.size < step * (rows - 1) + row:
        raise InvalidSampleError(
            Code.INVALID, where, data.size,
            problem=f"has an image of {{value}} bytes that claims {height} rows of {width} {message.encoding} "
            f"pixels and a step of {step}", remedy="check the camera driver",
        )  # fmt: skip
    if step == row:
        return data[: rows * row].reshape(rows, row)
    # The last row may come without its padding.
    return np.lib.stride_tricks.as_strided(data, shape=(rows, row), strides=(step, 1), writeable=False)


def parse_image_file(where: str, content: bytes, kind: str) -> ImageFile:
    """What a JPEG or PNG image says of itself.

    Args:
        where: the stream, for errors.
        content: the file; anything may follow it, as some cameras pad their images.
        kind: what the message says that it is, for errors.

    Raises:
        InvalidSampleError: neither JPEG nor PNG, a PNG or a header that is cut short, or too large.
    """
    file = image_file(content)
    if not content:
        raise InvalidSampleError(
            Code.EMPTY,
            where,
            problem="has a compressed image without a byte",
            remedy="check the camera driver",
        )
    if file is None:
        other = name_other(content)
        raise InvalidSampleError(
            Code.UNREADABLE, where, kind[:40],
            problem="has a compressed image of format {value} that "
            + (f"is {other}, which is not read" if other else "begins like neither JPEG nor PNG nor WebP"),
            remedy="set the camera driver to jpeg, png or webp, or decode the bag's images once and record them again",
        )  # fmt: skip
    if not file.complete and (file.kind != "jpeg" or not file.width):
        raise _cut_short(where, content)
    if not 0 < file.height * file.width <= MAX_PIXELS:
        raise InvalidSampleError(
            Code.INVALID, where,
            problem=f"has a compressed image that claims {file.width}x{file.height} pixels",
            expected=f"1 to {MAX_PIXELS} pixels", remedy="check the camera driver",
        )  # fmt: skip
    return file


def decompress(where: str, content: bytes, file: ImageFile, flags: int) -> Any:
    """The pixels of a JPEG or PNG image, as OpenCV gives them.

    Args:
        where: the stream, for errors.
        content: the file.
        file: what it says of itself.
        flags: of ``cv2.imdecode``.

    Raises:
        InvalidSampleError: damaged, or cut short: OpenCV would fill up with grey.
    """
    if file.kind == "jpeg" and not file.complete:
        # Of a progressive one a whole scan may lack, which no decoder notices.
        if file.progressive or not _has_all_data(content):
            raise _cut_short(where, content)
        content += JPEG_END
    pixels = _decode(content, flags)
    if pixels is None:
        raise InvalidSampleError(
            Code.UNREADABLE, where, len(content),
            problem="has a compressed image of {value} bytes that OpenCV cannot decode",
            remedy="check the camera driver",
        )  # fmt: skip
    return pixels


def _has_all_data(content: bytes) -> bool:
    """Whether a JPEG without its end marker has all data of its pixels.

    It has if what follows has no influence: two continuations, with restarts in case the image has any, must give the
    same pixels without an error. A decoder alone does not tell, since it makes up what is missing. It is FFmpeg's,
    which does not print, as OpenCV's does, and stops at errors if it is asked to.
    """
    data = content.rstrip(b"\0")
    if len(content) - len(data) < PADDING:
        data = content.removesuffix(b"\xff")  # half a marker
    elif data.endswith(b"\xff"):
        data += b"\0"  # of data, a zero follows
    # The next of the eight restart markers in turn (T.81, B.1.1.3).
    newest = max(range(8), key=lambda number: data.rfind(bytes((0xFF, 0xD0 + number))))
    found = []
    for fill in _FILLS:
        restarts = (bytes((0xFF, 0xD0 + (newest + 1 + step) % 8)) + fill for step in range(8))
        decoder = av.CodecContext.create("mjpeg", "r")
        decoder.options = {"err_detect": "explode"}
        try:
            packet = av.Packet(data + fill + b"".join(restarts) + JPEG_END)
            frames = [*decoder.decode(packet), *decoder.decode(None)]
        except av.error.FFmpegError:
            return False
        found.append([bytes(plane) for frame in frames for plane in frame.planes])
    return bool(found[0]) and found[0] == found[1]


def _decode(content: bytes, flags: int) -> Any:
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None


def _cut_short(where: str, content: bytes) -> InvalidSampleError:
    return InvalidSampleError(
        Code.DAMAGED, where, len(content), problem="has a compressed image of {value} bytes that is cut short",
        remedy="check the camera and the network",
    )  # fmt: skip


def resize_by_area(stream: Stream, rgb: Any) -> NDArray[np.uint8]:
    """The picture in the stream's size, owning its memory: a view would keep the whole message alive."""
    assert stream.image is not None  # the embodiment's check saw to it
    size = (stream.image.height, stream.image.width)
    if rgb.shape[:2] != size:
        rgb = cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA)
    owned: NDArray[np.uint8] = np.array(rgb, dtype=np.uint8, order="C", copy=rgb.base is not None)
    return owned


def resize_by_nearest(stream: Stream, pixels: NDArray[Any]) -> NDArray[Any]:
    """Of each cell of the stream's size the pixel at its centre (of two the lower right): a copy (height, width)."""
    assert stream.image is not None  # the embodiment's check saw to it
    (height, width), (rows, columns) = (stream.image.height, stream.image.width), pixels.shape
    down = (2 * np.arange(height) + 1) * rows // (2 * height)
    right = (2 * np.arange(width) + 1) * columns // (2 * width)
    return pixels[np.ix_(down, right)]
