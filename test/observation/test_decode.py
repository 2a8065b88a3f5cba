# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.embodiments import camera, embodiment, limit, trajectory
from support.refused import refused

from hpt_ros.errors import Code
from hpt_ros.observation import DecodeError, InvalidSampleError, decode, decode_command

EYE = embodiment("eye", [camera("eye", 8, 8)], trajectory([limit("a")])).streams[0]


def channels(picture, encoding):
    """The picture as a camera of that encoding would send it."""
    opaque = np.full((*picture.shape[:2], 1), 255, np.uint8)
    return {
        "rgb8": picture,
        "bgr8": picture[..., ::-1],
        "rgba8": np.concatenate([picture, opaque], axis=2),
        "bgra8": np.concatenate([picture[..., ::-1], opaque], axis=2),
    }[encoding]


@pytest.mark.parametrize("padding", [0, 1, 13])
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8"])
def test_colour_encodings_give_the_same_rgb(robot, messages, picture, encoding, padding):
    pixels = channels(picture, encoding)
    message = messages.image(pixels, encoding, step=pixels.shape[1] * pixels.shape[2] + padding)
    np.testing.assert_array_equal(decode(robot.stream("left"), message), picture)


def test_mono8_gives_equal_channels(robot, messages, picture):
    grey = np.ascontiguousarray(picture[..., 0])
    result = decode(robot.stream("left"), messages.image(grey, "mono8", step=17))
    np.testing.assert_array_equal(result, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("encoding", "pattern"),
    [
        ("bayer_rggb8", [[0, 1], [1, 2]]),
        ("bayer_bggr8", [[2, 1], [1, 0]]),
        ("bayer_gbrg8", [[1, 2], [0, 1]]),
        ("bayer_grbg8", [[1, 0], [2, 1]]),
    ],
)
def test_bayer_of_one_colour_gives_that_colour(robot, messages, encoding, pattern):
    colour = np.array([200, 120, 40], np.uint8)
    mosaic = np.tile(colour[np.array(pattern)], (4, 6))
    result = decode(robot.stream("left"), messages.image(mosaic, encoding))
    np.testing.assert_array_equal(result, np.broadcast_to(colour, (8, 12, 3)))


@pytest.mark.parametrize(
    ("encoding", "order"),
    [("yuyv", "yuyv"), ("yuv422_yuy2", "yuyv"), ("uyvy", "uyvy"), ("yuv422", "uyvy")],
)
def test_yuv422_grey_is_grey(robot, messages, encoding, order):
    # Studio range: Y 126 is (126 - 16) * 255 / 219 = 128 of 255; U = V = 128 is no colour.
    pair = [126, 128, 126, 128] if order == "yuyv" else [128, 126, 128, 126]
    pixels = np.tile(np.array(pair, np.uint8), (8, 6)).reshape(8, 12, 2)
    result = decode(robot.stream("left"), messages.image(pixels, encoding))
    assert np.abs(result.astype(int) - 128).max() <= 1


def test_when_the_last_row_lacks_its_padding_expect_the_picture(robot, messages, picture):
    message = messages.image(picture, "rgb8", step=40)
    message.data = message.data[: 7 * 40 + 36]
    np.testing.assert_array_equal(decode(robot.stream("left"), message), picture)


def test_resize_is_by_area(robot, messages):
    blocks = np.zeros((16, 24, 3), np.uint8)
    blocks[::2, ::2] = 200  # each 2x2 block: one of four
    result = decode(robot.stream("left"), messages.image(blocks, "rgb8"))
    np.testing.assert_array_equal(result, np.full((8, 12, 3), 50, np.uint8))


def test_result_owns_its_memory(robot, messages, picture):
    message = messages.image(picture, "rgb8")
    message.data = bytearray(message.data)
    result = decode(robot.stream("left"), message)
    message.data[:] = bytes(len(message.data))
    np.testing.assert_array_equal(result, picture)
    assert result.flags.owndata
    assert result.flags.writeable


def test_when_encoding_is_unknown_expect_it_named(robot, messages, picture):
    with refused(
        DecodeError,
        Code.UNKNOWN,
        subject="stream 'left' (topic /left)",
        value="rgb9",
        problem="encoding",
        remedy="did you mean 'rgb8",
    ):
        decode(robot.stream("left"), messages.image(picture, "rgb9"))


@pytest.mark.parametrize(
    "change",
    [{"height": 9}, {"width": 0}, {"step": 35}, {"height": 2**31, "width": 2**31}, {"data": b""}],
)
def test_when_sizes_do_not_fit_expect_invalid_sample(robot, messages, picture, change):
    message = messages.image(picture, "rgb8")
    vars(message).update(change)
    with refused(
        InvalidSampleError,
        Code.INVALID,
        subject="stream 'left' (topic /left)",
        problem="bytes that claims",
        remedy="check the camera driver",
    ):
        decode(robot.stream("left"), message)


@given(
    st.binary(max_size=64), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)
)
def test_hostile_headers_never_crash(data, height, width, step):
    from types import SimpleNamespace

    stream = EYE
    message = SimpleNamespace(
        height=height, width=width, step=step, encoding="rgb8", is_bigendian=0, data=data
    )
    try:
        result = decode(stream, message)
    except InvalidSampleError:
        return
    assert result.shape == (8, 8, 3)


def test_png_is_exact(robot, messages, picture):
    data = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode(robot.stream("right"), messages.compressed(data, "png")), picture)


def test_grey_png_and_png_with_alpha(robot, messages, picture):
    grey = np.ascontiguousarray(picture[..., 0])
    data = cv2.imencode(".png", grey)[1].tobytes()
    result = decode(robot.stream("right"), messages.compressed(data, "png"))
    np.testing.assert_array_equal(result, np.repeat(grey[..., None], 3, axis=2))
    data = cv2.imencode(".png", channels(picture, "bgra8"))[1].tobytes()
    np.testing.assert_array_equal(decode(robot.stream("right"), messages.compressed(data, "png")), picture)


@pytest.mark.parametrize("zeros", [0, 300])
def test_jpeg_has_the_colours_in_rgb_order(robot, messages, zeros):
    flat = np.broadcast_to(np.array([200, 100, 30], np.uint8), (8, 12, 3))
    data = cv2.imencode(".jpg", flat[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    # Some cameras pad their pictures with zeros.
    result = decode(robot.stream("right"), messages.compressed(data + bytes(zeros)))
    assert np.abs(result.astype(int) - flat).max() <= 3


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_when_compressed_image_is_cut_short_expect_it_refused(robot, messages, picture, extension):
    data = cv2.imencode(extension, picture)[1].tobytes()
    for length in (20, len(data) // 2, len(data) - 3):
        with pytest.raises(InvalidSampleError, match="cut short"):
            decode(robot.stream("right"), messages.compressed(data[:length]))


def test_when_compressed_image_is_damaged_inside_expect_it_refused(robot, messages, picture):
    data = bytearray(cv2.imencode(".png", picture)[1].tobytes())
    data[24:33] = bytes(9)  # of the header chunk all but the size
    with refused(
        InvalidSampleError,
        Code.UNREADABLE,
        subject="stream 'right' (topic /right)",
        value=364,
        problem="OpenCV cannot decode",
    ):
        decode(robot.stream("right"), messages.compressed(bytes(data)))


def test_when_compressed_image_is_of_another_kind_expect_the_format_named(robot, messages):
    with refused(
        InvalidSampleError,
        Code.UNREADABLE,
        subject="stream 'right' (topic /right)",
        value="32FC1; compressedDepth",
        problem="compressed",
    ):
        decode(robot.stream("right"), messages.compressed(b"\0" * 100, "32FC1; compressedDepth"))


def test_live_rclpy_messages_decode_like_plain_ones(robot, messages, picture):
    from sensor_msgs.msg import CompressedImage, Image, JointState
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    plain = messages.image(picture, "bgr8", step=40)
    live = Image(height=8, width=12, encoding="bgr8", step=40, data=plain.data)
    np.testing.assert_array_equal(decode(robot.stream("left"), live), decode(robot.stream("left"), plain))
    png = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(
        decode(robot.stream("right"), CompressedImage(format="png", data=png)), picture
    )
    joints = JointState(name=["b", "a"], position=[0.2, 0.1], velocity=[2.0, 1.0])
    np.testing.assert_array_equal(decode(robot.stream("joints"), joints), [0.1, 0.2, 1.0, 2.0])
    command = JointTrajectory(joint_names=["a", "b"], points=[JointTrajectoryPoint(positions=[1.0, 2.0])])
    command.header.stamp.sec = 5
    assert decode_command(robot.action.parts[0], command, 0)[0] == 5_000_000_000
