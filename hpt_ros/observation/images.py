# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Colour pictures to RGB. Of the conversions those of 8 bits are `rosbags.image`'s, which are OpenCV's."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.image import image_to_cvimage

from hpt_ros.embodiment import Stream
from hpt_ros.errors import did_you_mean
from hpt_ros.observation.checks import DecodeError, InvalidSampleError, place
from hpt_ros.observation.pixels import decompressed, resized_by_area, rows_of

# Encodings of sensor_msgs/Image with 8 bits a channel, and the bytes of one pixel.
# Source of the names: sensor_msgs/image_encodings.hpp.
_EIGHT_BITS = {
    "rgb8": 3,
    "bgr8": 3,
    "rgba8": 4,
    "bgra8": 4,
    "mono8": 1,
    "bayer_rggb8": 1,
    "bayer_bggr8": 1,
    "bayer_gbrg8": 1,
    "bayer_grbg8": 1,
    "uyvy": 2,
    "yuv422": 2,
    "yuyv": 2,
    "yuv422_yuy2": 2,
}
# 4:2:0, the colours in rows below the grey picture, and OpenCV's conversion.
_PLANES = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}
# With 16 bits a channel: the channels, and OpenCV's conversion. OpenCV names a bayer pattern by the second and third
# pixel of the second row, ROS by the first two of the first: rggb is OpenCV's BG.
_SIXTEEN_BITS: dict[str, tuple[int, int | None]] = {
    "rgb16": (3, None),
    "bgr16": (3, cv2.COLOR_BGR2RGB),
    "rgba16": (4, cv2.COLOR_RGBA2RGB),
    "bgra16": (4, cv2.COLOR_BGRA2RGB),
    "mono16": (1, cv2.COLOR_GRAY2RGB),
    "bayer_rggb16": (1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr16": (1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg16": (1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg16": (1, cv2.COLOR_BayerGB2RGB),
}
# Encodings and the bytes of one pixel (of the first plane).
ENCODINGS = {
    **_EIGHT_BITS,
    **dict.fromkeys(_PLANES, 1),
    **{name: 2 * channels for name, (channels, _) in _SIXTEEN_BITS.items()},
}

# OpenCV decodes to BGR; its flag for RGB came after the 4.6 of Ubuntu 24.04.
_COMPRESSED_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


@dataclass(frozen=True)
class _Pixels:
    """The fields of sensor_msgs/Image that rosbags.image reads, with unpadded rows."""

    height: int
    width: int
    encoding: str
    data: NDArray[np.uint8]
    is_bigendian: bool = False


def decode_image(stream: Stream, message: Any) -> NDArray[np.uint8]:
    """sensor_msgs/Image to RGB uint8, resized by area to the stream's size: (height, width, 3).

    Channels of 16 bits are scaled by 255 / 65535 and rounded, as cv_bridge does it.

    Raises:
        DecodeError: an encoding that is not in `ENCODINGS`.
        InvalidSampleError: fewer bytes than height, width and step ask for.
    """
    where = place(stream)
    encoding = str(message.encoding)
    if encoding not in ENCODINGS:
        raise DecodeError(
            f"{where} has images of encoding {encoding[:40]!r}, but one of {', '.join(ENCODINGS)} was expected"
            f"{did_you_mean(encoding[:40], ENCODINGS) or '; set the camera driver to one of these'}"
        )
    rows = rows_of(where, message, ENCODINGS[encoding], 1.5 if encoding in _PLANES else 1.0)
    height, width = int(message.height), int(message.width)
    try:
        if encoding in _SIXTEEN_BITS:
            rgb = _from_sixteen_bits(rows, width, encoding, bool(message.is_bigendian))
        elif encoding in _PLANES:
            rgb = cv2.cvtColor(np.ascontiguousarray(rows), _PLANES[encoding])
        else:
            tight = _Pixels(height, width, encoding, rows.reshape(-1))
            rgb = image_to_cvimage(tight, "rgb8")  # type: ignore[arg-type]
    except cv2.error as error:
        raise InvalidSampleError(
            f"{where} has a {width}x{height} image of encoding {encoding} that cannot be converted to RGB "
            f"({' '.join(str(error).split())[:120]}); check the camera driver"
        ) from error
    return resized_by_area(stream, rgb)


def decode_compressed_image(stream: Stream, message: Any) -> NDArray[np.uint8]:
    """sensor_msgs/CompressedImage (JPEG or PNG, grey or colour) to RGB uint8 (height, width, 3), resized by area.

    A JPEG orientation tag is ignored, as image_transport ignores it.

    Raises:
        InvalidSampleError: neither JPEG nor PNG, or cut short.
    """
    data = np.frombuffer(message.data, dtype=np.uint8)
    bgr = decompressed(place(stream), data, _COMPRESSED_FLAGS, str(message.format))
    return resized_by_area(stream, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def _from_sixteen_bits(rows: NDArray[np.uint8], width: int, encoding: str, big_endian: bool) -> Any:
    channels, conversion = _SIXTEEN_BITS[encoding]
    values = np.ascontiguousarray(rows).view(np.uint16)
    if big_endian != (sys.byteorder == "big"):
        values = values.byteswap()
    picture: Any = values.reshape(len(rows), width, channels)
    if conversion is not None:
        picture = cv2.cvtColor(picture, conversion)
    return cv2.convertScaleAbs(picture, alpha=255.0 / 65535.0)
