# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Encodings beyond eight bits a channel, planes, and pictures that claim more than they hold."""

from __future__ import annotations

import dataclasses
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.refused import refused

from hpt_ros.embodiment import ImageSpec, Stream
from hpt_ros.embodiment.encodings import ENCODINGS
from hpt_ros.errors import Code
from hpt_ros.observation import InvalidSampleError, decode
from hpt_ros.observation.planes import PLANES

PIXELS = Path(__file__).with_name("cv_bridge_pixels.npz")  # cv_bridge_pixels.py says what is in it
HEIGHT, WIDTH = 8, 12
CAMERA = Stream(
    "eye", "image", "/eye", "sensor_msgs/msg/Image", rate_hz=10.0, tolerance_s=0.1, image=ImageSpec(8, 12)
)
PHOTO = Stream(
    "eye", "image", "/eye", "sensor_msgs/msg/CompressedImage", 10.0, tolerance_s=0.1, image=ImageSpec(8, 12)
)


def image(rows, encoding, *, height=8, width=12, big_endian=False, padding=0):
    """A message whose rows are `rows`, uint8 or uint16 (rows, ...), padded."""
    if rows.dtype == np.uint16:
        rows = rows.astype(">u2" if big_endian else "<u2").view(np.uint8)
    rows = rows.reshape(len(rows), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xEE)
    return SimpleNamespace(
        height=height, width=width, encoding=encoding, is_bigendian=int(big_endian), step=rows.shape[1],
        data=rows.tobytes(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def sixteen() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 2**16, (8, 12, 3), dtype=np.uint16)


def eight_of(values):
    """What cv_bridge documents: 16 bits to 8 by 255 / 65535, rounded."""
    return np.rint(values.astype(np.float64) * 255 / 65535).astype(np.uint8)


@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("encoding", ["rgb16", "bgr16", "rgba16", "bgra16"])
def test_colours_of_sixteen_bits_are_scaled_and_rounded(sixteen, encoding, big_endian, padding):
    alpha = np.full((8, 12, 1), 77, np.uint16)
    pixels = sixteen[..., ::-1] if encoding.startswith("bgr") else sixteen
    pixels = np.concatenate([pixels, alpha], axis=2) if "a" in encoding else pixels
    message = image(np.ascontiguousarray(pixels), encoding, big_endian=big_endian, padding=padding)
    np.testing.assert_array_equal(decode(CAMERA, message), eight_of(sixteen))


@pytest.mark.parametrize("big_endian", [False, True])
def test_mono16_gives_equal_channels(sixteen, big_endian):
    result = decode(CAMERA, image(np.ascontiguousarray(sixteen[..., 0]), "mono16", big_endian=big_endian))
    np.testing.assert_array_equal(result, np.repeat(eight_of(sixteen[..., :1]), 3, axis=2))


@pytest.mark.parametrize(
    ("encoding", "pattern"),
    [
        ("bayer_rggb16", [[0, 1], [1, 2]]),
        ("bayer_bggr16", [[2, 1], [1, 0]]),
        ("bayer_gbrg16", [[1, 2], [0, 1]]),
        ("bayer_grbg16", [[1, 0], [2, 1]]),
    ],
)
def test_bayer_of_sixteen_bits_of_one_colour_gives_that_colour(encoding, pattern):
    colour = np.array([51_400, 30_840, 257], np.uint16)  # 200, 120, 1 of 255
    mosaic = np.tile(colour[np.array(pattern)], (4, 6))
    result = decode(CAMERA, image(mosaic, encoding))
    np.testing.assert_array_equal(result, np.broadcast_to(np.array([200, 120, 1], np.uint8), (8, 12, 3)))


def planes(encoding, y, u, v, padding=0):
    """A message of the planes, y of (8, 12) and colours of its layout's size."""
    rows = [np.pad(y, ((0, 0), (0, padding)), constant_values=0xEE)]
    if PLANES[encoding].planar:
        first, second = (v, u) if encoding == "yv12" else (u, v)
        rows += [np.pad(part, ((0, 0), (0, padding // 2)), constant_values=0xEE) for part in (first, second)]
    else:
        pair = (v, u) if encoding in ("nv21", "nv61", "nv42") else (u, v)
        both = np.stack(pair, axis=-1).reshape(len(u), -1)
        rows.append(np.pad(both, ((0, 0), (0, padding * PLANES[encoding].right)), constant_values=0xEE))
    return SimpleNamespace(
        height=8, width=12, encoding=encoding, is_bigendian=0, step=12 + padding,
        data=b"".join(part.astype(np.uint8).tobytes() for part in rows),
    )  # fmt: skip


@pytest.mark.parametrize("encoding", sorted(PLANES))
@pytest.mark.parametrize("padding", [0, 4])
def test_planes_are_yuv_of_itu_bt_601(encoding, padding):
    random, layout = np.random.default_rng(11), PLANES[encoding]
    y = random.integers(60, 190, (8, 12))
    u, v = random.integers(100, 156, (2, 4 * layout.down, 6 * layout.right))
    result = decode(CAMERA, planes(encoding, y, u, v, padding))
    # BT.601, studio range: luma over 219 levels from 16, chroma over 224 levels round 128.
    luma = (y - 16) * 255 / 219
    blue, red = (
        (part.repeat(2 // layout.down, axis=0).repeat(2 // layout.right, axis=1) - 128) * 255 / 224
        for part in (u, v)
    )
    green = luma - 0.299 * 1.402 / 0.587 * red - 0.114 * 1.772 / 0.587 * blue
    expected = np.stack([luma + 1.402 * red, green, luma + 1.772 * blue], axis=-1)
    assert np.abs(result - expected.clip(0, 255)).max() <= 2


def test_when_planes_are_halved_from_an_odd_step_expect_invalid_sample():
    message = planes("yuv420", np.full((8, 12), 90), np.full((4, 6), 90), np.full((4, 6), 90), padding=4)
    message.step = 13
    with refused(
        InvalidSampleError, Code.INVALID, subject="stream 'eye' (topic /eye)", problem="odd step 13"
    ):
        decode(CAMERA, message)


def test_when_the_step_is_left_out_expect_rows_without_padding():
    rows = np.random.default_rng(1).integers(0, 256, (8, 36), dtype=np.uint8)
    message = image(rows, "rgb8")
    plain = decode(CAMERA, message)
    message.step = 0
    np.testing.assert_array_equal(decode(CAMERA, message), plain)
    message.data = message.data[:-1]
    with refused(
        InvalidSampleError,
        Code.INVALID,
        subject="stream 'eye' (topic /eye)",
        value=287,
        problem="a step of 0",
    ):
        decode(CAMERA, message)


def test_when_planes_have_an_odd_height_expect_invalid_sample():
    rows = np.zeros((13, 12), np.uint8)
    with refused(
        InvalidSampleError,
        Code.UNSUPPORTED,
        subject="stream 'eye' (topic /eye)",
        problem="12x9 image of encoding nv12 that cannot be converted",
    ):
        decode(CAMERA, image(rows, "nv12", height=9))


@given(
    st.sampled_from(sorted(ENCODINGS)),
    st.binary(max_size=300),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(0, 80),
)
def test_whatever_an_image_claims_it_is_decoded_or_refused(encoding, data, height, width, step):
    message = SimpleNamespace(
        height=height, width=width, step=step, encoding=encoding, is_bigendian=0, data=data
    )
    try:
        result = decode(CAMERA, message)
    except InvalidSampleError:
        return
    assert result.shape == (8, 12, 3)
    assert result.dtype == np.uint8


def png_claiming(width, height):
    """A whole PNG file of a size that its pixels do not fill."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg_claiming(width, height, between=b""):
    data = bytearray(cv2.imencode(".jpg", np.zeros((8, 12, 3), np.uint8))[1].tobytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data[:frame] + between + data[frame:])


@pytest.mark.parametrize(
    "data",
    [
        png_claiming(100_000, 10_000),
        png_claiming(2**31 - 1, 2**31 - 1),
        jpeg_claiming(65_535, 65_535),
        jpeg_claiming(65_535, 65_535, b"\0garbage\xff"),
    ],
)
def test_when_a_picture_claims_too_many_pixels_expect_it_refused_before_it_is_decoded(data):
    with refused(
        InvalidSampleError, Code.INVALID, subject="stream 'eye' (topic /eye)", expected="1 to 67108864 pixels"
    ):
        decode(PHOTO, SimpleNamespace(format="", data=data))


def test_when_a_jpeg_has_bytes_between_its_segments_expect_the_picture():
    message = SimpleNamespace(format="jpeg", data=jpeg_claiming(12, 8, b"\0\0"))
    assert decode(PHOTO, message).shape == (8, 12, 3)


def test_when_a_jpeg_has_no_frame_header_expect_it_refused():
    data = b"\xff\xd8\xff" + b"\xff\x00" * 50_000 + b"\xff\xd9"
    with pytest.raises(InvalidSampleError, match="cut short"):
        decode(PHOTO, SimpleNamespace(format="jpeg", data=data))


@given(st.binary(max_size=400), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]))
def test_whatever_a_compressed_image_holds_it_is_decoded_or_refused(data, head):
    for tail in (b"", b"\xff\xd9", b"IEND\xaeB`\x82"):
        try:
            result = decode(PHOTO, SimpleNamespace(format="jpeg", data=head + data + tail))
        except InvalidSampleError:
            continue
        assert result.shape == (8, 12, 3)


def _known_to_cv_bridge() -> list[str]:
    with np.load(PIXELS) as stored:
        return sorted(name.removesuffix(".in") for name in stored.files if name.endswith(".in"))


@pytest.mark.parametrize("name", _known_to_cv_bridge())
def test_pixels_are_those_that_cv_bridge_gave(name):
    encoding, big_endian = name.split(".")
    with np.load(PIXELS) as stored:
        data, theirs = stored[f"{name}.in"], stored[f"{name}.out"]
    message = SimpleNamespace(
        height=HEIGHT, width=WIDTH, step=data.size // HEIGHT, encoding=encoding, is_bigendian=int(big_endian),
        data=data.tobytes(),
    )  # fmt: skip
    camera = CAMERA if encoding != "16UC1" else dataclasses.replace(CAMERA, modality="depth")
    np.testing.assert_array_equal(decode(camera, message), theirs)


def test_pixels_are_those_of_cv_bridge():
    cv_bridge = pytest.importorskip(
        "cv_bridge", reason="cv_bridge comes with a ROS distribution, not as a wheel"
    )
    from sensor_msgs.msg import Image

    for encoding in sorted(set(ENCODINGS) - set(PLANES)):  # of those only the newest cv_bridge knows
        for big_endian in {False, encoding.endswith("16")}:
            step = 12 * ENCODINGS[encoding]
            data = np.random.default_rng(5).integers(0, 256, 8 * step, dtype=np.uint8).tobytes()
            message = Image(
                height=8, width=12, encoding=encoding, step=step, is_bigendian=big_endian, data=data
            )
            theirs = cv_bridge.CvBridge().imgmsg_to_cv2(message, "rgb8")
            np.testing.assert_array_equal(decode(CAMERA, message), theirs, err_msg=encoding)


@pytest.mark.parametrize("padding", [1, 7])
@pytest.mark.parametrize("encoding", sorted(set(ENCODINGS) - set(PLANES) | {"nv12", "nv21", "nv16", "nv61"}))
def test_rows_padded_by_step_are_the_same_picture_in_every_encoding(encoding, padding):
    rows = round(HEIGHT * PLANES[encoding].rows_per_row) if encoding in PLANES else HEIGHT
    content = np.random.default_rng(7).integers(0, 256, (rows, WIDTH * ENCODINGS[encoding]), dtype=np.uint8)
    plain, padded = (
        decode(CAMERA, image(content, encoding)),
        decode(CAMERA, image(content, encoding, padding=padding)),
    )
    np.testing.assert_array_equal(padded, plain)
    assert plain.std() > 0


def test_yuyv_is_uyvy_with_its_bytes_swapped_colours_included():
    content = np.random.default_rng(8).integers(0, 256, (HEIGHT, WIDTH, 2), dtype=np.uint8)
    swapped = np.ascontiguousarray(content[:, :, ::-1])
    for uyvy, yuyv in (("uyvy", "yuyv"), ("yuv422", "yuv422_yuy2")):
        np.testing.assert_array_equal(
            decode(CAMERA, image(content, uyvy)), decode(CAMERA, image(swapped, yuyv))
        )
