# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Depth pictures to uint16 millimetres, 0 where nothing was measured.

Resized by the nearest pixel: a mean across an edge would be a distance at which there is nothing.
"""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Stream
from hpt_ros.embodiment.encodings import DEPTH_ENCODINGS, usual_encoding
from hpt_ros.errors import Code
from hpt_ros.observation.checks import DecodeError, InvalidSampleError, describe_stream
from hpt_ros.observation.formats import DEPTH_HEADER, parse_format, without_depth_header
from hpt_ros.observation.image_files import JPEG_START
from hpt_ros.observation.pixels import MAX_PIXELS, decompress, parse_image_file, resize_by_nearest, rows_of
from hpt_ros.observation.rvl import decode_rvl, rvl_size

FARTHEST_MM = 65_535  # what is farther does not fit uint16 and counts as not measured

# Before the picture of compressed_depth_image_transport: an enumeration, and two parameters of its quantisation.
_HEADER = struct.Struct("<iff")


def decode_depth_image(stream: Stream, message: Any) -> NDArray[np.uint16]:
    """sensor_msgs/Image of depth to uint16 (height, width) in mm.

    Of 16SC1, negative distances count as not measured.
    Of 32FC1, metres: NaN, infinite, zero, negative and more than 65.535 m count as not measured.
    An image most of which is beyond that, and nothing within, is one of millimetres.

    Raises:
        DecodeError: an encoding that is not in `DEPTH_ENCODINGS`.
        InvalidSampleError: fewer bytes than height, width and step ask for, or metres that are none.
    """
    where = describe_stream(stream)
    encoding = _encoding(where, stream.encoding or usual_encoding(str(message.encoding)))
    kind = np.dtype(DEPTH_ENCODINGS[encoding]).newbyteorder(">" if message.is_bigendian else "<")
    rows = rows_of(where, message, kind.itemsize)
    pixels = resize_by_nearest(stream, rows.view(kind))
    return _millimetres(where, pixels) if kind.kind == "f" else np.maximum(pixels, 0).astype(np.uint16)


def decode_compressed_depth(stream: Stream, message: Any) -> NDArray[np.uint16]:
    """sensor_msgs/CompressedImage of depth to uint16 (height, width) in mm.

    A PNG of one channel of 16 bits, whatever the format says that it was; and ``16UC1; compressedDepth`` and
    ``32FC1; compressedDepth`` with PNG or RVL, as compressed_depth_image_transport writes them. Of 32FC1 they hold
    q = A / metres + B as a whole number, with A and B in the header before it and 0 for what was not measured; so
    metres = A / (q - B).

    Raises:
        DecodeError: another format.
        InvalidSampleError: damaged or cut short.
    """
    where, format_ = describe_stream(stream), parse_format(str(message.format))
    content = bytes(memoryview(message.data))
    header, data = content[:DEPTH_HEADER], without_depth_header(content)
    if format_.depth and len(content) < DEPTH_HEADER:
        raise InvalidSampleError(
            Code.DAMAGED, where, len(content),
            problem="has a compressed depth image of {value} bytes, which is shorter than its header",
            remedy="check the camera and the network",
        )  # fmt: skip
    encoding = stream.encoding or format_.encoding
    if encoding:
        _encoding(where, encoding)
    if encoding == "32FC1" and not format_.depth:
        raise DecodeError(
            Code.UNSUPPORTED, where, format_.text,
            problem="has depth of format {value}, but metres can only be read from compressedDepth",
            remedy="use that topic of the camera driver",
        )  # fmt: skip
    if data.startswith(JPEG_START):
        raise DecodeError(
            Code.UNSUPPORTED, where, format_.text,
            problem="has depth of format {value} as JPEG, which does not keep distances",
            remedy="use the camera's compressedDepth topic",
        )  # fmt: skip
    pixels = _from_rvl(where, content[DEPTH_HEADER:]) if format_.rvl else _from_png(where, data, format_.text)
    chosen: NDArray[np.uint16] = resize_by_nearest(stream, pixels)
    return chosen if encoding != "32FC1" else _from_inverse(where, chosen, *_HEADER.unpack(header)[1:])


def _from_png(where: str, data: bytes, kind: str) -> NDArray[np.uint16]:
    file = parse_image_file(where, data, kind)
    pixels = decompress(where, data, file, cv2.IMREAD_UNCHANGED)
    if pixels.ndim != 2 or pixels.dtype != np.uint16:
        raise InvalidSampleError(
            Code.WRONG_SHAPE, where, pixels.shape,
            problem=f"has a compressed depth image of shape {{value}} and type {pixels.dtype}",
            expected="one channel of uint16", remedy="check the camera driver",
        )  # fmt: skip
    return np.asarray(pixels, dtype=np.uint16)


def _from_rvl(where: str, data: bytes) -> NDArray[np.uint16]:
    height, width = rvl_size(data)
    if not 0 < height * width <= MAX_PIXELS:
        raise InvalidSampleError(
            Code.INVALID, where, problem=f"has a compressed depth image that claims {width}x{height} pixels",
            expected=f"1 to {MAX_PIXELS} pixels", remedy="check the camera driver",
        )  # fmt: skip
    pixels = decode_rvl(data)
    if pixels is None:
        raise InvalidSampleError(
            Code.INVALID, where, len(data),
            problem=f"has RVL data of {{value}} bytes that do not fill their {width}x{height} pixels",
            remedy="check the camera and the network",
        )  # fmt: skip
    return pixels


def _encoding(where: str, encoding: str) -> str:
    if encoding not in DEPTH_ENCODINGS:
        raise DecodeError(
            Code.UNSUPPORTED, where, encoding[:40], problem="has depth of encoding {value}",
            expected=f"one of {', '.join(DEPTH_ENCODINGS)}",
            remedy="set the camera driver to one of these, or give the stream the key encoding if it is one under "
            "another name",
        )  # fmt: skip
    return encoding


def _from_inverse(
    where: str, quantised: NDArray[np.uint16], factor: float, offset: float
) -> NDArray[np.uint16]:
    if not np.isfinite((factor, offset)).all():
        raise InvalidSampleError(
            Code.NOT_FINITE, where, factor,
            problem=f"has a compressed depth image with the parameters {{value}} and {offset:g}",
            expected="finite numbers", remedy="check the camera driver",
        )  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        metres = factor / (quantised.astype(np.float64) - offset)
    metres[quantised == 0] = 0.0
    return _millimetres(where, metres)


def _millimetres(where: str, metres: NDArray[Any]) -> NDArray[np.uint16]:
    with np.errstate(invalid="ignore", over="ignore"):
        millimetres = np.rint(metres.astype(np.float64) * 1000.0)
        measured = (millimetres > 0) & (millimetres <= FARTHEST_MM)
        beyond = metres[np.isfinite(metres) & (metres > 0)]
    if 2 * len(beyond) > metres.size and not measured.any():
        raise InvalidSampleError(
            Code.OUT_OF_RANGE, where, float(beyond.min()),
            problem="has a depth image whose nearest distance is {value} m",
            expected=f"metres, {FARTHEST_MM / 1000} at most",
            remedy="if these are millimetres, let its driver publish them as 16UC1",
        )  # fmt: skip
    return np.where(measured, millimetres, 0.0).astype(np.uint16)
