# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Sizes of images without decoding them, against what OpenCV writes and whatever else comes."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_ros.observation.image_size import has_colours, image_size

sizes = st.integers(1, 200)


@given(sizes, sizes, st.sampled_from([".png", ".jpg"]), st.booleans(), st.booleans())
def test_size_of_what_opencv_writes(height, width, kind, progressive, depth):
    image = np.zeros((height, width), np.uint16 if depth and kind == ".png" else np.uint8)
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)] if kind == ".jpg" else []
    data = cv2.imencode(kind, image, flags)[1].tobytes()
    assert image_size(SimpleNamespace(data=data)) == (height, width)
    if kind == ".png":
        assert image_size(SimpleNamespace(data=bytes(12) + data)) == (height, width)


@pytest.mark.parametrize("more", [b"\xff\xe1\x01\x00" + bytes(254), b"\xff\xff\xfe\x00\x04ab"])
def test_size_of_a_jpeg_with_metadata_before_its_frame(more):
    data = cv2.imencode(".jpg", np.zeros((48, 64), np.uint8))[1].tobytes()
    assert image_size(SimpleNamespace(data=data[:2] + more + data[2:])) == (48, 64)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n"]))
def test_whatever_comes_expect_a_size_or_none(data, start):
    size = image_size(SimpleNamespace(data=start + data))
    assert size is None or (len(size) == 2 and min(size) >= 0)


def test_size_of_a_raw_image_is_what_it_says():
    assert image_size(SimpleNamespace(height=480, width=640, data=b"")) == (480, 640)


@pytest.mark.parametrize(
    ("encoding", "colours"),
    [
        ("rgb8", True), ("bgr8", True), ("yuv422", True), ("nv12", True), ("bayer_rggb8", True), ("mono8", False),
        ("8UC1", False), ("mono16", False), ("16UC1", None), ("8UC3", None), ("", None), ("new", None),
    ],
)  # fmt: skip
def test_whether_a_raw_image_has_colours(encoding, colours):
    assert has_colours(SimpleNamespace(encoding=encoding)) is colours


@pytest.mark.parametrize("kind", [".png", ".jpg"])
@pytest.mark.parametrize(
    ("channels", "text", "colours"),
    [
        (3, "rgb8; jpeg compressed bgr8", True),
        (3, "", True),
        (1, "mono8; jpeg compressed mono8", False),
        (1, "", False),
        (1, "bayer_rggb8; jpeg compressed mono8", True),
    ],
)
def test_whether_a_compressed_image_has_colours(kind, channels, text, colours):
    image = np.zeros((8, 8, channels), np.uint8)
    data = cv2.imencode(kind, image)[1].tobytes()
    assert has_colours(SimpleNamespace(data=data, format=text)) is colours


def test_whether_what_is_no_image_has_colours_is_not_known():
    assert has_colours(SimpleNamespace(data=b"no image", format="jpeg")) is None
