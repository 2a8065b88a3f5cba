# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Colour images to RGB of 8 bits, by OpenCV's conversions, which are cv_bridge's."""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Stream
from hpt_ros.embodiment.encodings import DEPTH_ENCODINGS, ENCODINGS, usual_encoding
from hpt_ros.errors import Code
from hpt_ros.observation.checks import DecodeError, InvalidSampleError, describe_stream
from hpt_ros.observation.formats import parse_format
from hpt_ros.observation.pixels import decompress, parse_image_file, resize_by_area, rows_of
from hpt_ros.observation.planes import PLANES, planes_to_rgb

# OpenCV's conversion to RGB; None: it is RGB. Encodings of 16 bits have that of 8. OpenCV names a bayer pattern by the
# second and third pixel of the second row, ROS by the first two of the first: rggb is OpenCV's BG.
_CONVERSIONS: dict[str, int | None] = {
    "rgb8": None,
    "bgr8": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
    "bayer_rggb8": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr8": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg8": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg8": cv2.COLOR_BayerGB2RGB,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "yuyv": cv2.COLOR_YUV2RGB_YUYV,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUYV,
}
# Names of OpenCV's types that say the number of channels; one channel is grey, of more the order is not said.
_GREY = {"8UC1": "mono8"}
_UNSAID = {
    "8UC2": ("yuyv", "uyvy"), "8UC3": ("bgr8", "rgb8"), "8UC4": ("bgra8", "rgba8"), "16UC3": ("bgr16", "rgb16"),
    "16UC4": ("bgra16", "rgba16"),
}  # fmt: skip

# OpenCV decodes to BGR; its flag for RGB came after the 4.6 of Ubuntu 24.04.
_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_SIXTEEN = _COLOUR | cv2.IMREAD_ANYDEPTH
_GREY_FLAGS = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION


def decode_image(stream: Stream, message: Any) -> NDArray[np.uint8]:
    """sensor_msgs/Image to RGB uint8, resized by area to the stream's size: (height, width, 3).

    Channels of 16 bits are scaled by 255 / 65535 and rounded, as cv_bridge does it. 8UC1 is mono8.

    Raises:
        DecodeError: an encoding that is not in `ENCODINGS`, and the stream gives none.
        InvalidSampleError: fewer bytes than height, width and step ask for.
    """
    where = describe_stream(stream)
    encoding = _encoding(where, stream, str(message.encoding))
    if encoding in PLANES:
        return resize_by_area(stream, planes_to_rgb(where, message, encoding))
    rows = rows_of(where, message, ENCODINGS[encoding])
    height, width = int(message.height), int(message.width)
    values: Any = np.ascontiguousarray(rows)
    if encoding.endswith("16"):
        values = values.view(np.uint16)
        values = values.byteswap() if bool(message.is_bigendian) != (sys.byteorder == "big") else values
    channels = values.shape[1] // width
    values = values if channels == 1 else values.reshape(height, width, channels)
    return resize_by_area(stream, _rgb(f"{where} has a {width}x{height} image", values, encoding))


def decode_compressed_image(stream: Stream, message: Any) -> NDArray[np.uint8]:
    """sensor_msgs/CompressedImage (JPEG or PNG) to RGB uint8 (height, width, 3), resized by area.

    What the message's format says of the image that was compressed counts, as for image_transport: a Bayer mosaic is
    demosaiced, and colours that the codec was given as RGB come back as RGB. A JPEG orientation tag is ignored, as
    image_transport ignores it.

    Raises:
        DecodeError: a PNG of distances.
        InvalidSampleError: neither JPEG nor PNG, or cut short.
    """
    where, format_ = describe_stream(stream), parse_format(str(message.format))
    content = bytes(memoryview(message.data))
    file = parse_image_file(where, content, format_.text)
    encoding = stream.encoding or format_.encoding
    grey, deep = file.channels == 1, file.bits == 16
    if grey and deep and not (encoding == "mono16" or encoding.startswith("bayer_")):
        raise DecodeError(
            Code.INVALID, where, format_.text,
            problem="has PNG images of one channel of 16 bits (format {value}), which are distances as a rule",
            remedy="give the stream modality: depth, or encoding: mono16 if it is an infrared camera",
        )  # fmt: skip
    if grey:
        mosaic = encoding.startswith("bayer_")
        pattern = encoding.removesuffix("16").removesuffix("8") if mosaic else "mono"
        encoding = f"{pattern}{16 if deep else 8}"
        flags = cv2.IMREAD_UNCHANGED if deep else _GREY_FLAGS
    else:
        rgb = encoding.startswith("rgb") if stream.encoding else format_.rgb
        encoding = f"{'rgb' if rgb else 'bgr'}{16 if deep else 8}"
        flags = _SIXTEEN if deep else _COLOUR
    image = f"{where} has a {file.width}x{file.height} image"
    return resize_by_area(stream, _rgb(image, decompress(where, content, file, flags), encoding))


def guess_encoding(message: Any) -> str:
    """What the pixels of an image probably are whose message does not say it; empty where it does."""
    return _UNSAID.get(usual_encoding(str(getattr(message, "encoding", ""))), ("",))[0]


def _encoding(where: str, stream: Stream, said: str) -> str:
    """Of a raw image: what the stream says, or else the message."""
    usual = usual_encoding(said)
    encoding = stream.encoding or _GREY.get(usual, usual)
    if encoding in ENCODINGS:
        return encoding
    if encoding in _UNSAID:
        raise DecodeError(
            Code.MISSING, where, encoding,
            problem="has images of encoding {value}, which does not say what the channels are",
            remedy=f"give the stream encoding: {' or '.join(_UNSAID[encoding])}, of which the first is "
            "OpenCV's order",
        )  # fmt: skip
    if encoding in DEPTH_ENCODINGS:
        infrared = (
            ", or encoding: mono16 if it is an infrared camera" if encoding in ("16UC1", "16SC1") else ""
        )
        raise DecodeError(
            Code.CONFLICT, where, encoding, problem="has images of encoding {value}, which are distances",
            remedy=f"give the stream modality: depth{infrared}",
        )  # fmt: skip
    raise DecodeError(
        Code.UNKNOWN, where, encoding[:40], problem="has images of encoding {value}", known=ENCODINGS,
        remedy="set the camera driver to one of these, or give the stream the key encoding",
    )  # fmt: skip


def _rgb(image: str, values: Any, encoding: str) -> Any:
    """Pixels (height, width) or (height, width, channels), uint8 or uint16, as RGB uint8 (height, width, 3).

    `image` begins the sentence of an error.
    """
    conversion = _CONVERSIONS[encoding.replace("16", "8")]
    try:
        if conversion is not None:
            values = cv2.cvtColor(values, conversion)
        return values if values.dtype == np.uint8 else cv2.convertScaleAbs(values, alpha=255.0 / 65535.0)
    except cv2.error as error:
        raise InvalidSampleError(
            Code.UNSUPPORTED, f"{image} of encoding {encoding} that", problem="cannot be converted to RGB",
            remedy="check the camera driver", cause=error,
        ) from error  # fmt: skip
