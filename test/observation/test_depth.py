# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.refused import refused

from hpt_ros.embodiment import ImageSpec, Stream
from hpt_ros.errors import Code
from hpt_ros.observation import DecodeError, InvalidSampleError, decode


def stream(height=8, width=12, type_="sensor_msgs/msg/Image"):
    return Stream(
        "near", "depth", "/near", type_, rate_hz=10.0, tolerance_s=0.1, image=ImageSpec(height, width)
    )


def packed(height=8, width=12):
    return stream(height, width, "sensor_msgs/msg/CompressedImage")


def image(pixels, encoding, *, big_endian=False, padding=0):
    kind = pixels.dtype.newbyteorder(">" if big_endian else "<")
    rows = np.ascontiguousarray(pixels.astype(kind)).view(np.uint8).reshape(len(pixels), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xEE)
    return SimpleNamespace(
        height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, is_bigendian=int(big_endian),
        step=rows.shape[1], data=rows.tobytes(),
    )  # fmt: skip


def png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


def compressed(pixels, format_, a=0.0, b=0.0):
    """As compressed_depth_image_transport sends it."""
    return SimpleNamespace(format=format_, data=struct.pack("<iff", 0, a, b) + png(pixels))


@pytest.fixture(scope="module")
def distances() -> np.ndarray:
    return np.random.default_rng(4).integers(0, 2**16, (8, 12), dtype=np.uint16)


@pytest.mark.parametrize("padding", [0, 1, 2, 7])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_millimetres_come_through_unchanged(distances, encoding, big_endian, padding):
    result = decode(stream(), image(distances, encoding, big_endian=big_endian, padding=padding))
    assert result.dtype == np.uint16
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, distances)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("big_endian", [False, True])
def test_metres_become_millimetres(distances, big_endian, padding):
    metres = (distances / 1000).astype(np.float32)
    result = decode(stream(), image(metres, "32FC1", big_endian=big_endian, padding=padding))
    np.testing.assert_array_equal(result, distances)


@pytest.mark.parametrize(
    ("metres", "millimetres"),
    [
        (float("nan"), 0), (float("inf"), 0), (float("-inf"), 0), (-1.0, 0), (0.0, 0), (-0.0, 0), (0.0004, 0),
        (0.0006, 1), (1.2344, 1234), (65.535, 65_535), (65.536, 0), (3e38, 0),
    ],
)  # fmt: skip
def test_what_is_no_distance_counts_as_not_measured(metres, millimetres):
    pixels = np.full((8, 12), 2.0, np.float32)
    pixels[3, 4] = metres
    result = decode(stream(), image(pixels, "32FC1"))
    assert result[3, 4] == millimetres
    assert (np.delete(result.ravel(), 3 * 12 + 4) == 2000).all()


@given(
    arrays(np.uint16, st.tuples(st.integers(1, 40), st.integers(1, 40))),
    st.integers(8, 30),
    st.integers(8, 30),
)
def test_resize_takes_the_pixel_at_the_centre_of_each_cell(pixels, height, width):
    result = decode(stream(height, width), image(pixels, "16UC1"))
    for row in range(height):
        for column in range(width):
            source = (
                int((row + 0.5) * pixels.shape[0] / height), int((column + 0.5) * pixels.shape[1] / width)
            )  # fmt: skip
            assert result[row, column] == pixels[source]


def test_when_metres_are_millimetres_expect_no_image_of_nothing(distances):
    with refused(InvalidSampleError, Code.OUT_OF_RANGE, remedy="16UC1"):
        decode(stream(), image(np.maximum(distances, 300).astype(np.float32), "32FC1"))


@given(arrays(np.float32, (16, 24), elements=st.floats(width=32, allow_nan=True, allow_infinity=True)))
def test_no_distance_is_invented_between_two_surfaces(metres):
    metres[1, 1] = 1.0  # which a pixel of half the size takes
    result = decode(stream(), image(metres, "32FC1"))
    with np.errstate(over="ignore", invalid="ignore"):
        seen = np.rint(metres.astype(np.float64) * 1000)
    assert set(result.ravel().tolist()) <= {0, *seen[(seen > 0) & (seen <= 65_535)].tolist()}


@pytest.mark.parametrize("format_", ["16UC1; compressedDepth", "16UC1; compressedDepth png", ""])
def test_compressed_millimetres_come_through_unchanged(distances, format_):
    np.testing.assert_array_equal(decode(packed(), compressed(distances, format_)), distances)


@pytest.mark.parametrize(
    "format_", ["16UC1; png compressed ", "mono16; png compressed ", "16UC1; png", "png", "PNG", ""]
)
def test_a_plain_png_of_millimetres_comes_through_unchanged_whatever_its_format_says(distances, format_):
    message = SimpleNamespace(format=format_, data=png(distances))
    np.testing.assert_array_equal(decode(packed(), message), distances)


def test_compressed_metres_are_within_their_quantisation():
    # The encoder of compressed_depth_image_transport with its defaults: depth_quantization 100, depth_max 10 m.
    a = 100.0 * (100.0 + 1.0)
    b = 1.0 - a / 10.0
    metres = np.linspace(0.4, 9.9, 96).reshape(8, 12)
    metres[2, 3] = np.nan
    quantised = np.where(np.isnan(metres), 0, np.nan_to_num(a / metres + b)).astype(np.uint16)
    result = decode(packed(), compressed(quantised, "32FC1; compressedDepth png", a, b))
    assert result[2, 3] == 0
    # d = A / (q - B): a step of one in q is a step of d^2 / A.
    allowed_mm = 1000 * metres**2 / a + 1
    good = ~np.isnan(metres)
    assert (np.abs(result - 1000 * metres)[good] <= allowed_mm[good]).all()


def test_when_the_parameters_leave_no_distance_expect_not_measured():
    quantised = np.arange(96, dtype=np.uint16).reshape(8, 12)
    # q = 50 divides by zero, below it distances are negative.
    result = decode(packed(), compressed(quantised, "32FC1; compressedDepth", 10.0, 50.0))
    assert (result.ravel()[:51] == 0).all()
    assert result.ravel()[52] == 5000


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_when_the_parameters_are_not_finite_expect_invalid_sample(distances, bad):
    with refused(
        InvalidSampleError, Code.NOT_FINITE, subject="stream 'near' (topic /near)", problem="parameters"
    ):
        decode(packed(), compressed(distances, "32FC1; compressedDepth", bad, 1.0))


@pytest.mark.parametrize(
    ("message", "error", "words"),
    [
        (SimpleNamespace(format="16UC1; compressedDepth", data=b"123"), InvalidSampleError, "3 bytes, which is"),
        (SimpleNamespace(format="16UC1; compressedDepth", data=bytes(90)), InvalidSampleError, "neither JPEG nor PNG"),
        (SimpleNamespace(format="16UC1; compressedDepth rvl", data=bytes(90)), InvalidSampleError, "claims 0x0"),
        (SimpleNamespace(format="16UC1; jpeg", data=b"\xff\xd8\xff" + bytes(9)), DecodeError, "JPEG, which does not"),
        (SimpleNamespace(format="32FC1; tiff", data=bytes(90)), DecodeError, "only be read from compressedDepth"),
        (SimpleNamespace(format="rgb8; jpeg", data=bytes(90)), DecodeError, "encoding 'rgb8', expected one of 16UC1"),
        (SimpleNamespace(format="", data=bytes(90)), InvalidSampleError, "neither JPEG nor PNG"),
    ],
)  # fmt: skip
def test_when_a_compressed_picture_is_no_depth_expect_the_reason(message, error, words):
    with pytest.raises(DecodeError, match=words) as caught:
        decode(packed(), message)
    assert type(caught.value) is error


def test_when_compressed_depth_is_cut_short_expect_it_refused(distances):
    message = compressed(distances, "16UC1; compressedDepth")
    message.data = message.data[:-20]
    with pytest.raises(InvalidSampleError, match="cut short"):
        decode(packed(), message)


def test_when_the_png_has_eight_bits_expect_it_refused():
    message = compressed(np.zeros((8, 12), np.uint8), "16UC1; compressedDepth")
    with refused(
        InvalidSampleError,
        Code.WRONG_SHAPE,
        subject="stream 'near' (topic /near)",
        value=(8, 12),
        problem="type uint8",
        expected="one channel of uint16",
    ):
        decode(packed(), message)


def test_when_an_image_is_no_depth_expect_the_encodings_named(distances):
    with refused(
        DecodeError,
        Code.UNSUPPORTED,
        subject="stream 'near' (topic /near)",
        value="16UC2",
        problem="depth of encoding",
        expected="one of 16UC1, 16SC1, mono16, 32FC1",
        remedy="give the stream the key encoding",
    ):
        decode(stream(), image(distances, "16UC2"))


@pytest.mark.parametrize(
    "change", [{"height": 9}, {"step": 23}, {"width": 2**31, "height": 2**31}, {"data": b""}]
)
def test_when_sizes_do_not_fit_expect_invalid_sample(distances, change):
    message = image(distances, "16UC1")
    vars(message).update(change)
    with refused(
        InvalidSampleError,
        Code.INVALID,
        subject="stream 'near' (topic /near)",
        problem="bytes that claims",
        remedy="check the camera driver",
    ):
        decode(stream(), message)


def test_millimetres_are_those_of_cv_bridge(distances):
    cv_bridge = pytest.importorskip(
        "cv_bridge", reason="cv_bridge comes with a ROS distribution, not as a wheel"
    )
    from sensor_msgs.msg import Image

    message = Image(height=8, width=12, encoding="16UC1", step=24, data=distances.tobytes())
    theirs = cv_bridge.CvBridge().imgmsg_to_cv2(message, "passthrough")
    np.testing.assert_array_equal(decode(stream(), message), theirs)
