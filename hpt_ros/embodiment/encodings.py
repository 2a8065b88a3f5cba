# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Names of pixel encodings that an image's message or an embodiment file may give.

Source of the names: sensor_msgs/image_encodings.hpp, and V4L2's and libcamera's for planes of YUV. The decoders live in
hpt_ros.observation.
"""

from __future__ import annotations

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
# Encodings of depth and numpy's name of a pixel: millimetres as uint16, metres as float32 (REP 118).
DEPTH_ENCODINGS: Mapping[str, str] = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
# What a stream of each modality may give as its encoding.
ENCODINGS_OF: Mapping[str, tuple[str, ...]] = {"image": tuple(ENCODINGS), "depth": tuple(DEPTH_ENCODINGS)}
