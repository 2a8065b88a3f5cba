# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.refused import refused

from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.message_types import MESSAGE_TYPES
from hpt_ros.errors import Code
from hpt_ros.observation import DecodeError, InvalidSampleError, decode, decode_command, stamp_ns


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

    stream = Embodiment.loads(_ONE_CAMERA).streams[0]
    message = SimpleNamespace(
        height=height, width=width, step=step, encoding="rgb8", is_bigendian=0, data=data
    )
    try:
        result = decode(stream, message)
    except InvalidSampleError:
        return
    assert result.shape == (8, 8, 3)


_ONE_CAMERA = """
format: hpt_ros/embodiment/1
name: eye
tick_hz: 10.0
streams:
  - {name: eye, modality: image, topic: /eye, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.1,
     image: {height: 8, width: 8}}
action: {topic: /c, type: trajectory_msgs/msg/JointTrajectory, names: [a], rate_hz: 10.0, horizon: 2,
  limits: [{name: a, lower: -1.0, upper: 1.0, velocity: 1.0, acceleration: 1.0}]}
"""


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


@given(st.permutations(["a", "b", "gripper"]))
def test_joint_order_of_the_message_does_not_matter(names):
    from types import SimpleNamespace

    stream = Embodiment.loads(_ARM).streams[0]
    index = {"a": 1.0, "b": 2.0, "gripper": 3.0}
    message = SimpleNamespace(
        name=names,
        position=[index[name] for name in names],
        velocity=[-index[name] for name in names],
        effort=[],
    )
    np.testing.assert_array_equal(decode(stream, message), [1.0, 2.0, -1.0, -2.0])


_ARM = """
format: hpt_ros/embodiment/1
name: arm
tick_hz: 10.0
streams:
  - {name: joints, modality: state, topic: /j, type: sensor_msgs/msg/JointState, rate_hz: 10.0, tolerance_s: 0.1,
     joints: [a, b], fields: [position, velocity]}
action: {topic: /c, type: trajectory_msgs/msg/JointTrajectory, names: [a], rate_hz: 10.0, horizon: 2,
  limits: [{name: a, lower: -1.0, upper: 1.0, velocity: 1.0, acceleration: 1.0}]}
"""


def test_when_a_joint_is_missing_expect_it_and_those_present_named(robot, messages):
    with refused(
        DecodeError,
        Code.UNKNOWN,
        subject="stream 'joints' (topic /joint_states)",
        value="b",
        problem="the message has a, c, d",
    ):
        decode(robot.stream("joints"), messages.joints(("a", "c", "d"), (0, 0, 0), (0, 0, 0)))


@pytest.mark.parametrize("second", [0.5, 0.0])
def test_when_a_joint_comes_twice_expect_it_refused_unless_both_say_the_same(robot, messages, second):
    names = tuple(robot.stream("joints").joints)
    values = (0.0,) * len(names)
    message = messages.joints((*names, names[0]), (*values, second), (*values, 0.0))
    if second == 0.0:
        decode(robot.stream("joints"), message)
        return
    with pytest.raises(InvalidSampleError, match=f"has '{names[0]}' twice, with the position 0 and 0.5"):
        decode(robot.stream("joints"), message)


def test_when_a_field_is_not_filled_expect_it_named(robot, messages):
    with refused(
        DecodeError,
        Code.WRONG_SHAPE,
        subject="stream 'joints' (topic /joint_states)",
        value=0,
        problem="values of 'velocity' for 2 joints",
        remedy="velocity",
    ):
        decode(robot.stream("joints"), messages.joints(velocity=()))


@pytest.mark.parametrize(
    "bad", [float("nan"), float("inf"), float("-inf"), 3e39, -1e308]
)  # two overflow float32
def test_when_a_value_is_not_finite_expect_invalid_sample(robot, messages, bad):
    with refused(
        InvalidSampleError,
        Code.NOT_FINITE,
        subject="stream 'joints' (topic /joint_states)",
        value="b.velocity",
    ):
        decode(robot.stream("joints"), messages.joints(velocity=(0.0, bad)))
    with refused(
        InvalidSampleError,
        Code.NOT_FINITE,
        subject="the action (topic /command)",
        value="a",
        expected="a finite number",
    ):
        decode_command(robot.action.parts[0], messages.command(positions=(bad, 0.0)), 0)


def test_other_joints_may_hold_nonsense(robot, messages):
    nan = float("nan")
    message = messages.joints(("x", "b", "a"), (nan, 2, 1), (nan, 4, 3))
    np.testing.assert_array_equal(decode(robot.stream("joints"), message), [1, 2, 3, 4])


def test_command_is_in_the_actions_order_at_its_own_time(robot, messages):
    message = messages.command(positions=(0.5, -0.25), stamp_ns=3_000_000_000, from_start_ns=20_000_000)
    time_ns, vector = decode_command(robot.action.parts[0], message, 99)
    assert time_ns == 3_020_000_000
    np.testing.assert_array_equal(vector, [-0.25, 0.5])  # names: [b, a]


def test_when_the_stamp_is_zero_expect_the_arrival(robot, messages):
    assert stamp_ns(messages.joints(), 77) == 77
    assert decode_command(robot.action.parts[0], messages.command(from_start_ns=3), 77)[0] == 80


def test_when_a_trajectory_has_no_points_expect_it_not_to_count(robot, messages):
    with refused(
        InvalidSampleError,
        Code.EMPTY,
        subject="the action (topic /command)",
        problem="has a message that commands nothing",
    ):
        decode_command(robot.action.parts[0], messages.command(points=0), 0)


def test_when_a_joint_state_is_empty_expect_it_not_to_count(robot, messages):
    empty = messages.joints((), (), ())
    with refused(
        InvalidSampleError,
        Code.EMPTY,
        subject="stream 'joints' (topic /joint_states)",
        problem="a message without joints, which does not count",
    ):
        decode(robot.stream("joints"), empty)
    nameless = messages.joints((), (1.0, 2.0), (0.0, 0.0))
    with refused(
        DecodeError,
        Code.UNKNOWN,
        subject="stream 'joints' (topic /joint_states)",
        value="a",
        problem="lacks the joint",
    ) as caught:  # which no later message will mend
        decode(robot.stream("joints"), nameless)
    assert type(caught.value) is DecodeError


@pytest.mark.parametrize(
    ("type_", "fields", "empty"),
    [
        ("trajectory_msgs/msg/JointTrajectory", {"joint_names": [], "points": []}, True),
        ("trajectory_msgs/msg/JointTrajectory", {"joint_names": ["a"], "points": []}, True),
        ("trajectory_msgs/msg/JointTrajectory", {"joint_names": ["a"], "points": [1]}, False),
        ("sensor_msgs/msg/JointState", {"name": [], "position": [], "velocity": [], "effort": []}, True),
        ("sensor_msgs/msg/JointState", {"name": ["a"], "position": [], "velocity": [], "effort": []}, False),
        ("sensor_msgs/msg/JointState", {"name": [], "position": [1.0], "velocity": [], "effort": []}, False),
        ("control_msgs/msg/JointJog", {"joint_names": [], "displacements": [], "velocities": []}, True),
        (
            "control_msgs/msg/JointJog",
            {"joint_names": ["a"], "displacements": [], "velocities": [0.0]},
            False,
        ),
        ("std_msgs/msg/Float32MultiArray", {"data": []}, True),
        ("std_msgs/msg/Float64MultiArray", {"data": []}, True),
        ("std_msgs/msg/Float64MultiArray", {"data": [0.0]}, False),
        ("std_msgs/msg/String", {"data": ""}, False),
        ("geometry_msgs/msg/PoseStamped", {"header": None}, False),
    ],
)
def test_whether_a_message_is_empty(type_, fields, empty):
    assert MESSAGE_TYPES[type_].empty(SimpleNamespace(**fields)) == empty


def test_when_a_trajectory_has_several_points_expect_its_place_on_arrival(robot, messages):
    message = messages.command(points=2)
    message.header.stamp.sec, start_ns = 3, 3 * 10**9
    first = message.points[0]
    last = copy.deepcopy(first)
    message.points = [first, last]
    for point, at_ns, value in ((first, 10_000_000, 0.2), (last, 30_000_000, 0.4)):
        point.time_from_start.sec, point.time_from_start.nanosec = 0, at_ns
        point.positions = np.full(2, value)
    for arrival_ms, time_ms, place in ((5, 10, 0.2), (25, 25, 0.35), (40, 30, 0.4)):
        time_ns, vector = decode_command(robot.action.parts[0], message, start_ns + arrival_ms * 10**6)
        assert time_ns == start_ns + time_ms * 10**6
        np.testing.assert_allclose(vector, place)


def test_when_a_command_lacks_a_joint_or_positions_expect_error(robot, messages):
    with refused(
        DecodeError, Code.UNKNOWN, subject="the action (topic /command)", value="b", problem="lacks the joint"
    ):
        decode_command(robot.action.parts[0], messages.command(names=("a", "c")), 0)
    with refused(
        DecodeError,
        Code.WRONG_SHAPE,
        subject="the action (topic /command)",
        value=0,
        problem="positions for 2 joints",
    ):
        decode_command(robot.action.parts[0], messages.command(positions=()), 0)


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
