# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Compressed images: what their format says, where their file ends, and how many bits they have."""

from __future__ import annotations

import base64
import dataclasses
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.refused import refused

from hpt_ros.embodiment import ImageSpec, Stream
from hpt_ros.errors import Code
from hpt_ros.observation import DecodeError, InvalidSampleError, decode, is_depth
from hpt_ros.observation.formats import parse_format

RAW = Stream("eye", "image", "/eye", "sensor_msgs/msg/Image", 10.0, 0.1, image=ImageSpec(16, 24))
PACKED = dataclasses.replace(RAW, type="sensor_msgs/msg/CompressedImage")


def scene(channels=3, dtype=np.uint8):
    """Smooth, so that JPEG keeps it, and different in every channel."""
    rows, columns = np.mgrid[0:16, 0:24]
    planes = [rows * 12 + 20, columns * 9 + 10, 255 - rows * 6 - columns * 4]
    pixels = np.stack(planes[:channels], axis=-1).astype(dtype)
    return pixels if channels > 1 else pixels[..., 0]


def packed(data, format_):
    return SimpleNamespace(format=format_, data=data)


def coded(pixels, extension, *options):
    return cv2.imencode(extension, pixels, list(options))[1].tobytes()


def raw(pixels, encoding):
    step = pixels.strides[0]
    return SimpleNamespace(
        height=16, width=24, step=step, encoding=encoding, is_bigendian=0, data=pixels.tobytes()
    )


@pytest.mark.parametrize(
    ("text", "encoding", "target", "depth", "rvl"),
    [
        ("rgb8; jpeg compressed bgr8", "rgb8", "bgr8", False, False),
        ("rgb8; png compressed rgb8", "rgb8", "rgb8", False, False),
        ("bayer_rggb8; jpeg compressed ", "bayer_rggb8", "", False, False),
        ("16UC1; compressedDepth png", "16UC1", "", True, False),
        ("32FC1; compressedDepth rvl", "32FC1", "", True, True),
        ("16UC1;compressedDepth", "16UC1", "", True, False),
        ("16UC1; png compressed ", "16UC1", "", False, False),
        ("8UC3; jpeg compressed bgr8", "8UC3", "bgr8", False, False),
        ("jpeg", "", "", False, False),
        ("png", "", "", False, False),
        ("image/jpeg", "", "", False, False),
        ("", "", "", False, False),
    ],
)
def test_formats_are_read_as_the_transports_write_them(text, encoding, target, depth, rvl):
    found = parse_format(text)
    assert (found.encoding, found.target, found.depth, found.rvl) == (encoding, target, depth, rvl)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_when_a_bayer_mosaic_is_compressed_expect_the_pixels_of_the_raw_one(pattern, bits, dtype):
    mosaic = np.random.default_rng(1).integers(0, 2**bits, (16, 24)).astype(dtype)
    encoding = f"bayer_{pattern}{bits}"
    plain = decode(RAW, raw(mosaic, encoding))
    message = packed(coded(mosaic, ".png"), f"{encoding}; png compressed ")
    np.testing.assert_array_equal(decode(PACKED, message), plain)
    assert not np.array_equal(plain[..., 0], plain[..., 2])


def test_when_a_bayer_mosaic_is_a_jpeg_expect_it_demosaiced():
    mosaic = np.full((16, 24), 20, np.uint8)
    mosaic[0::2, 0::2] = 220  # red
    data = coded(mosaic, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 100)
    red, green, blue = decode(PACKED, packed(data, "bayer_rggb8; jpeg compressed ")).mean(axis=(0, 1))
    assert red > 190
    assert max(green, blue) < 50
    # image_transport makes eight bits of sixteen for a JPEG, and says the encoding of before.
    np.testing.assert_array_equal(
        decode(PACKED, packed(data, "bayer_rggb16; jpeg compressed ")),
        decode(PACKED, packed(data, "bayer_rggb8; jpeg compressed ")),
    )


@pytest.mark.parametrize("format_", ["bayer_rggb8; jpeg compressed bgr8", "bayer_rggb8; png compressed bgr8"])
def test_when_a_camera_demosaiced_before_it_compressed_expect_its_colours(format_):
    picture = scene()
    message = packed(coded(picture[..., ::-1], ".png"), format_)
    np.testing.assert_array_equal(decode(PACKED, message), picture)


@pytest.mark.parametrize(
    ("format_", "handed"),
    [
        ("rgb8; png compressed bgr8", "bgr"), ("bgr8; png compressed bgr8", "bgr"), ("png", "bgr"), ("", "bgr"),
        ("rgb8; png", "bgr"), ("rgb8; png compressed rgb8", "rgb"), ("bgr8; png compressed rgb8", "rgb"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("alpha", [False, True])
def test_colours_are_those_that_the_codec_was_given(format_, handed, alpha):
    picture = scene()
    given_ = picture if handed == "rgb" else picture[..., ::-1]
    given_ = np.dstack([given_, np.full((16, 24), 90, np.uint8)]) if alpha else given_
    np.testing.assert_array_equal(
        decode(PACKED, packed(coded(np.ascontiguousarray(given_), ".png"), format_)), picture
    )


def test_when_a_driver_gave_rgb_without_saying_so_expect_the_streams_encoding_to_tell():
    data = coded(scene(), ".png")
    stream = dataclasses.replace(PACKED, encoding="rgb8")
    np.testing.assert_array_equal(decode(stream, packed(data, "png")), scene())


def test_colours_of_sixteen_bits_are_those_of_the_raw_image():
    picture = np.random.default_rng(2).integers(0, 2**16, (16, 24, 3)).astype(np.uint16)
    message = packed(coded(np.ascontiguousarray(picture[..., ::-1]), ".png"), "rgb16; png compressed bgr16")
    np.testing.assert_array_equal(decode(PACKED, message), decode(RAW, raw(picture, "rgb16")))


def test_when_mono16_is_compressed_expect_the_grey_of_the_raw_image():
    grey = np.random.default_rng(2).integers(0, 2**16, (16, 24)).astype(np.uint16)
    plain = decode(RAW, raw(grey, "mono16"))
    data = coded(grey, ".png")
    np.testing.assert_array_equal(decode(PACKED, packed(data, "mono16; png compressed ")), plain)
    infrared = dataclasses.replace(PACKED, encoding="mono16")
    np.testing.assert_array_equal(decode(infrared, packed(data, "png")), plain)


@pytest.mark.parametrize("format_", ["png", "", "16UC1; png compressed ", "16UC1; png"])
def test_when_an_image_stream_gets_distances_expect_the_remedy(format_):
    message = packed(coded(np.full((16, 24), 900, np.uint16), ".png"), format_)
    with refused(
        DecodeError,
        Code.INVALID,
        subject="stream 'eye' (topic /eye)",
        problem="16 bits",
        remedy="modality: depth, or encoding: mono16",
    ) as caught:
        decode(PACKED, message)
    assert type(caught.value) is DecodeError
    depth = dataclasses.replace(PACKED, modality="depth")
    assert (decode(depth, message) == 900).all()
    assert is_depth(message)


@pytest.mark.parametrize(
    ("message", "depth"),
    [
        (packed(coded(scene(), ".png"), "png"), False),
        (packed(coded(scene(1), ".png"), ""), False),
        (packed(coded(scene(1, np.uint16), ".png"), "mono16; png compressed "), False),
        (packed(coded(scene(1, np.uint16), ".png"), "bayer_rggb16; png compressed "), False),
        (packed(coded(scene(3, np.uint16), ".png"), "png"), False),
        (packed(bytes(12) + coded(scene(1, np.uint16), ".png"), ""), True),
        (packed(b"", "16UC1; compressedDepth rvl"), True),
        (raw(scene(1, np.uint16), "16UC1"), True),
        (raw(scene(1, np.uint16), "mono16"), False),
    ],
)
def test_depth_is_known_by_its_bits_wherever_it_stands(message, depth):
    assert is_depth(message) == depth


@pytest.mark.parametrize("encoding", ["8UC1", "mono8"])
def test_one_channel_without_a_name_is_grey(encoding):
    np.testing.assert_array_equal(decode(RAW, raw(scene(1), encoding)), np.dstack([scene(1)] * 3))


@pytest.mark.parametrize(("key", "order"), [("bgr8", -1), ("rgb8", 1)])
def test_when_channels_have_no_order_expect_the_streams_encoding_to_give_it(key, order):
    message = raw(scene(), "8UC3")
    with refused(
        DecodeError,
        Code.MISSING,
        subject="stream 'eye' (topic /eye)",
        value="8UC3",
        problem="which does not say",
        remedy="encoding: bgr8",
    ):
        decode(RAW, message)
    np.testing.assert_array_equal(
        decode(dataclasses.replace(RAW, encoding=key), message), scene()[..., ::order]
    )


def test_when_a_raw_image_is_of_distances_expect_the_remedy():
    with refused(
        DecodeError,
        Code.CONFLICT,
        subject="stream 'eye' (topic /eye)",
        value="16UC1",
        problem="which are distances",
        remedy="give the stream modality: depth, or enc",
    ):
        decode(RAW, raw(scene(1, np.uint16), "16UC1"))


JPEGS = {
    "baseline": (), "progressive": (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), "restarts": (cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
    "rare restarts": (cv2.IMWRITE_JPEG_RST_INTERVAL, 4), "optimised": (cv2.IMWRITE_JPEG_OPTIMIZE, 1),
}  # fmt: skip

SEQUENTIAL = {name: options for name, options in JPEGS.items() if name != "progressive"}


def photo(options, channels=3):
    noise = np.random.default_rng(7).integers(0, 60, (80, 120, channels)).astype(np.uint8)
    return coded(noise + np.linspace(0, 190, 120).astype(np.uint8)[None, :, None], ".jpg", *options)


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("after", [b"\r\n", bytes(2000), b"\xff", b"\0\xff\xd8" * 5000], ids=len)
def test_when_bytes_follow_a_jpeg_expect_the_picture(options, after):
    data = photo(options)
    np.testing.assert_array_equal(
        decode(PACKED, packed(data + after, "jpeg")), decode(PACKED, packed(data, "jpeg"))
    )


@pytest.mark.parametrize("options", SEQUENTIAL.values(), ids=SEQUENTIAL)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("after", [b"", b"\xff", bytes(1000)], ids=["nothing", "half a marker", "zeros"])
def test_when_a_jpeg_lacks_its_end_marker_expect_the_whole_picture(options, channels, after):
    data = photo(options, channels)
    np.testing.assert_array_equal(
        decode(PACKED, packed(data[:-2] + after, "jpeg")), decode(PACKED, packed(data, "jpeg"))
    )


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@given(cut=st.integers(3, 2500), zeros=st.sampled_from([0, 100]))
def test_when_a_jpeg_is_cut_short_expect_it_refused(options, cut, zeros):
    data = photo(options)
    with pytest.raises(InvalidSampleError, match="cut short"):
        decode(PACKED, packed(data[:-cut] + bytes(zeros), "jpeg"))


def test_when_a_thumbnail_ends_inside_a_cut_jpeg_expect_it_refused():
    data = photo(())
    thumbnail = photo(())
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = data[:2] + segment + data[2:]
    assert decode(PACKED, packed(whole, "jpeg")).shape == (16, 24, 3)
    with pytest.raises(InvalidSampleError, match="cut short"):
        decode(PACKED, packed(whole[: len(segment) + 900], "jpeg"))


@pytest.mark.parametrize("after", [b"", b"\r\n", bytes(9000)], ids=len)
def test_when_bytes_follow_a_png_expect_the_picture(after):
    np.testing.assert_array_equal(
        decode(PACKED, packed(coded(scene(), ".png") + after, "png")), scene()[..., ::-1]
    )


@pytest.mark.parametrize("quality", [80, 101])  # with loss, and without
@pytest.mark.parametrize("alpha", [False, True])
def test_webp_is_read(quality, alpha):
    pixels = scene()
    given = np.concatenate([pixels, np.full_like(pixels[..., :1], 200)], axis=2) if alpha else pixels
    data = coded(np.ascontiguousarray(given), ".webp", cv2.IMWRITE_WEBP_QUALITY, quality)
    image = decode(PACKED, packed(data, "webp"))
    assert image.shape == (16, 24, 3)
    np.testing.assert_allclose(image, pixels[..., ::-1], atol=40 if quality == 80 else 0)
    with refused(InvalidSampleError, Code.DAMAGED):
        decode(PACKED, packed(data[:-9], "webp"))
    with refused(InvalidSampleError, Code.DAMAGED):
        decode(PACKED, packed(data[:22], "webp"))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (coded(scene(), ".tiff"), "TIFF"),
        (coded(scene(), ".bmp"), "BMP"),
        (base64.b64encode(coded(scene(), ".png")), "PNG in base64"),
        (base64.b64encode(coded(scene(), ".jpg")), "JPEG in base64"),
        (b"\0\0\0\x1cftypavif" + bytes(90), "AVIF"),
    ],
)
def test_other_formats_are_named(data, name):
    with refused(InvalidSampleError, Code.UNREADABLE, problem=f"that is {name}, which is not read"):
        decode(PACKED, packed(data, "jpeg"))
