# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Names of pixel encodings that an image's message or an embodiment file may give.

Source of the names: sensor_msgs/image_encodings.hpp, and V4L2's and libcamera's for planes of YUV. The decoders live in
hpt_ros.observation.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

# Encodings of colour and the bytes of one pixel (of the first plane).
ENCODINGS: Mapping[str, int] = {
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
    "nv12": 1,
    "nv21": 1,
    "nv16": 1,
    "nv61": 1,
    "nv24": 1,
    "nv42": 1,
    "yuv420": 1,
    "i420": 1,
    "yv12": 1,
    "rgb16": 6,
    "bgr16": 6,
    "rgba16": 8,
    "bgra16": 8,
    "mono16": 2,
    "bayer_rggb16": 2,
    "bayer_bggr16": 2,
    "bayer_gbrg16": 2,
    "bayer_grbg16": 2,
}
# Encodings of depth and numpy's name of a pixel: millimetres as uint16, metres as float32 (REP 118); 16SC1 is what
# OpenNI's and some other drivers call the same millimetres.
DEPTH_ENCODINGS: Mapping[str, str] = {"16UC1": "u2", "16SC1": "i2", "mono16": "u2", "32FC1": "f4"}
# What a stream of each modality may give as its encoding.
ENCODINGS_OF: Mapping[str, tuple[str, ...]] = {"image": tuple(ENCODINGS), "depth": tuple(DEPTH_ENCODINGS)}
# Other names of the same pixels, in small letters: V4L2's codes, GStreamer's and FFmpeg's formats, RealSense's depth.
_OTHER_NAMES: Mapping[str, str] = {
    "rgb": "rgb8", "rgb24": "rgb8", "rgb3": "rgb8",
    "bgr": "bgr8", "bgr24": "bgr8", "bgr3": "bgr8",
    "rgba": "rgba8", "rgba32": "rgba8", "bgra": "bgra8", "bgra32": "bgra8",
    "mono": "mono8", "gray": "mono8", "grey": "mono8", "gray8": "mono8", "grey8": "mono8", "y8": "mono8",
    "y800": "mono8",
    "y16": "mono16", "gray16": "mono16", "gray16_le": "mono16", "gray16le": "mono16",
    "yuy2": "yuyv", "yuyv422": "yuyv", "yuv422_yuyv": "yuyv", "uyvy422": "uyvy", "yuv422_uyvy": "uyvy",
    "yuv420p": "yuv420", "yu12": "yuv420",
    "z16": "16UC1",
}  # fmt: skip
_OPENCV_TYPE = re.compile(r"(?:TYPE_|CV_)?((?:8|16|32|64)[USF]C[1-4])")


@functools.lru_cache(maxsize=256)
def usual_encoding(said: str) -> str:
    """Return the name in `ENCODINGS` or `DEPTH_ENCODINGS`, or OpenCV's type, that a driver means; else as it said it.

    Drivers write names in capitals, with a space or zero bytes behind them, or as their camera's library calls them.
    """
    plain = said.strip(" \t\r\n\0")
    small = plain.lower()
    if small in ENCODINGS:
        return small
    opencv = _OPENCV_TYPE.fullmatch(plain.upper())
    return opencv.group(1) if opencv else _OTHER_NAMES.get(small, plain)
