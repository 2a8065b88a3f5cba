# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Names of encodings as drivers write them: in capitals, or as their camera's library calls them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from hpt_ros.embodiment import ImageSpec, Stream
from hpt_ros.embodiment.encodings import DEPTH_ENCODINGS, ENCODINGS, usual_encoding
from hpt_ros.observation import decode, is_depth
from hpt_ros.observation.images import guess_encoding

TYPE = "sensor_msgs/msg/Image"


def message(encoding, pixels):
    height, width = pixels.shape[:2]
    data = np.frombuffer(np.ascontiguousarray(pixels).tobytes(), np.uint8)
    return SimpleNamespace(
        header=SimpleNamespace(frame_id=""), encoding=encoding, height=height, width=width,
        step=len(data) // height, is_bigendian=0, data=data,
    )  # fmt: skip


def stream(modality):
    return Stream("camera", modality, "/camera", TYPE, 1.0, 1.0, image=ImageSpec(8, 8))


@pytest.mark.parametrize("name", [*ENCODINGS, *DEPTH_ENCODINGS])
def test_a_usual_name_is_itself(name):
    assert usual_encoding(name) == name


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("BGR8", "bgr8"), ("Mono8", "mono8"), ("RGB", "rgb8"), ("rgb8\0", "rgb8"), ("YUV422_YUY2", "yuv422_yuy2"),
        ("YUYV", "yuyv"), ("YUY2", "yuyv"), ("UYVY", "uyvy"), ("NV12", "nv12"), ("I420", "i420"), ("GREY", "mono8"),
        ("Y8", "mono8"), ("Y16", "mono16"), ("GRAY16_LE", "mono16"), ("Z16", "16UC1"), ("16uc1", "16UC1"),
        ("TYPE_16UC1", "16UC1"), ("CV_8UC3", "8UC3"), ("8uc4", "8UC4"), ("h264", "h264"), ("", ""),
    ],
)  # fmt: skip
def test_another_name_is_the_usual_one(said, meant):
    assert usual_encoding(said) == meant


@pytest.mark.parametrize(("said", "meant"), [("BGR8", "bgr8"), ("rgb24", "rgb8"), ("TYPE_8UC1", "mono8")])
def test_pixels_are_those_of_the_usual_name(said, meant):
    shape = (8, 8, 1 if meant == "mono8" else 3)
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    found, usual = (decode(stream("image"), message(name, pixels)) for name in (said, meant))
    np.testing.assert_array_equal(found, usual)


@pytest.mark.parametrize("encoding", ["Z16", "16sc1", "16UC1"])
def test_distances_by_another_name(encoding):
    distances = np.arange(64, dtype=np.int16).reshape(8, 8) * 30
    assert is_depth(message(encoding, distances))
    np.testing.assert_array_equal(decode(stream("depth"), message(encoding, distances)), distances)


def test_of_signed_distances_negative_ones_were_not_measured():
    distances = np.full((8, 8), -1, np.int16)
    assert not decode(stream("depth"), message("16SC1", distances)).any()


def test_a_guess_is_made_of_other_names_too():
    assert guess_encoding(message("CV_8UC3", np.zeros((8, 8, 3), np.uint8))) == "bgr8"
