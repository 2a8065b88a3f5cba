# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Poses, twists, wrenches, arrays of numbers and texts."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation
from support.refused import refused

from hpt_ros.embodiment import Stream
from hpt_ros.embodiment.message_types.string import MAX_TASK_CHARACTERS
from hpt_ros.errors import Code
from hpt_ros.observation import DecodeError, InvalidSampleError, decode, stamp_ns


def stream(type_, modality="state", **keys):
    return Stream("hand", modality, "/hand", type_, rate_hz=10.0, tolerance_s=0.1, **keys)


POSE = stream("geometry_msgs/msg/PoseStamped")
TWIST = stream("geometry_msgs/msg/TwistStamped")
WRENCH = stream("geometry_msgs/msg/WrenchStamped", "wrench")
SKIN = stream("std_msgs/msg/Float32MultiArray", "tactile", length=3)
NUMBERS = stream("std_msgs/msg/Float64MultiArray", length=3)
TASK = stream("std_msgs/msg/String", "language")


def vector(x, y, z):
    return SimpleNamespace(x=x, y=y, z=z)


def pose(position, quaternion):
    x, y, z, w = quaternion
    turn = SimpleNamespace(x=x, y=y, z=z, w=w)
    return SimpleNamespace(pose=SimpleNamespace(position=vector(*position), orientation=turn))


def array(values, sizes=(), offset=0):
    dims = [SimpleNamespace(label="", size=size, stride=0) for size in sizes]
    return SimpleNamespace(layout=SimpleNamespace(dim=dims, data_offset=offset), data=list(values))


NUMBER = st.floats(-1e6, 1e6)


@given(
    arrays(np.float64, 3, elements=NUMBER),
    arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda q: np.linalg.norm(q) > 1e-3),
    st.sampled_from([1.0, -1.0, 1e-5, 1e300]),
)
def test_a_pose_is_its_position_and_two_columns_of_its_rotation(position, quaternion, scale):
    result = decode(POSE, pose(position, quaternion * scale))
    matrix = Rotation.from_quat(quaternion).as_matrix()
    np.testing.assert_array_equal(result[:3], position)
    np.testing.assert_allclose(result[3:6], matrix[:, 0], atol=1e-12)
    np.testing.assert_allclose(result[6:], matrix[:, 1], atol=1e-12)
    assert result.dtype == np.float64
    assert len(POSE.names) == 9


def test_elements_of_a_pose_have_their_names():
    quarter_turn_about_z = (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5))
    named = dict(zip(POSE.names, decode(POSE, pose((1, 2, 3), quarter_turn_about_z)), strict=True))
    # x goes to y, y to minus x.
    expected = {"x": 1, "y": 2, "z": 3, "r11": 0, "r21": 1, "r31": 0, "r12": -1, "r22": 0, "r32": 0}
    assert {name.removeprefix("hand."): value for name, value in named.items()} == pytest.approx(expected)


def test_when_a_quaternion_is_zero_expect_it_refused():
    with refused(
        InvalidSampleError,
        Code.INVALID,
        subject="stream 'hand' (topic /hand)",
        problem="quaternion 0, 0, 0, 0",
    ):
        decode(POSE, pose((0, 0, 0), (0, 0, 0, 0)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_when_a_value_is_not_finite_expect_its_name(bad):
    with refused(
        InvalidSampleError,
        Code.NOT_FINITE,
        subject="stream 'hand' (topic /hand)",
        value="qz",
        expected="a finite number",
    ):
        decode(POSE, pose((0, 0, 0), (0, 0, bad, 1)))
    with pytest.raises(InvalidSampleError, match="for 'hand.y', expected a finite number"):
        decode(POSE, pose((0, bad, 0), (0, 0, 0, 1)))
    with pytest.raises(InvalidSampleError, match=r"for 'hand.angular.x'"):
        decode(
            TWIST, SimpleNamespace(twist=SimpleNamespace(linear=vector(1, 2, 3), angular=vector(bad, 0, 0)))
        )
    with pytest.raises(InvalidSampleError, match=r"for 'hand.force.z'"):
        decode(
            WRENCH, SimpleNamespace(wrench=SimpleNamespace(force=vector(1, 2, bad), torque=vector(0, 0, 0)))
        )
    with pytest.raises(InvalidSampleError, match="for 'hand.1'"):
        decode(SKIN, array([0, bad, 0]))


def test_twists_and_wrenches_come_in_the_order_of_their_names():
    twist = SimpleNamespace(twist=SimpleNamespace(linear=vector(1, 2, 3), angular=vector(4, 5, 6)))
    wrench = SimpleNamespace(wrench=SimpleNamespace(force=vector(1, 2, 3), torque=vector(4, 5, 6)))
    np.testing.assert_array_equal(decode(TWIST, twist), np.arange(1.0, 7.0))
    np.testing.assert_array_equal(decode(WRENCH, wrench), np.arange(1.0, 7.0))
    assert TWIST.names[3] == "hand.angular.x"
    assert WRENCH.names[2] == "hand.force.z"


@pytest.mark.parametrize("sizes", [(), (3,), (1, 3), (3, 1, 1)])
def test_arrays_are_taken_whatever_their_dimensions(sizes):
    assert decode(SKIN, array([1.5, 2.5, 3.5], sizes)).tolist() == [1.5, 2.5, 3.5]
    assert decode(SKIN, array([9, 9, 1, 2, 3], sizes, offset=2)).tolist() == [1, 2, 3]
    assert decode(SKIN, array([1, 2, 3])).dtype == np.float32
    assert decode(NUMBERS, array([1, 2, 3])).dtype == np.float64


@pytest.mark.parametrize(
    ("message", "error", "words"),
    [
        (array([]), InvalidSampleError, "an array without values"),
        (array([1, 2]), DecodeError, "2 values, but the stream's length is 3"),
        (array([1, 2, 3, 4]), DecodeError, "4 values, but"),
        (array([1, 2, 3], offset=2**32 - 1), DecodeError, "0 values, but"),
        (array([1, 2, 3], (2, 2)), InvalidSampleError, "layout says 2 x 2"),
        (array([1, 2, 3], (2**32 - 1,) * 50), InvalidSampleError, "layout says 4294967295 x"),
        (array([1, 1e39, 3]), InvalidSampleError, "value inf for 'hand.1'"),
    ],
)
def test_when_an_array_does_not_fit_expect_the_reason(message, error, words):
    with pytest.raises(DecodeError, match=words) as caught:
        decode(SKIN, message)
    assert type(caught.value) is error


def test_a_text_is_one_line():
    result = decode(TASK, SimpleNamespace(data="  feed\n the   dog\0 "))
    assert result.shape == TASK.shape == ()
    assert str(result) == "feed the dog"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty text"),
        (" \n\0", "empty text"),
        ("a" * (MAX_TASK_CHARACTERS + 1), "1001 characters, expected 1000"),
    ],
)
def test_when_a_text_is_no_task_expect_it_refused(text, words):
    with pytest.raises(InvalidSampleError, match=words):
        decode(TASK, SimpleNamespace(data=text))


def test_messages_without_a_header_are_stamped_by_their_arrival():
    assert stamp_ns(array([1, 2, 3]), 77) == 77
    assert stamp_ns(SimpleNamespace(data="text"), 78) == 78


IMU = stream("sensor_msgs/msg/Imu", fields=("angular_velocity", "orientation", "linear_acceleration"))


def imu(turn=(0.0, 0.0, 0.0, 1.0), rate=(1.0, 2.0, 3.0), acceleration=(0.0, 0.0, 9.8), unmeasured=()):
    x, y, z, w = turn
    covariances = {
        f"{part}_covariance": [-1.0 if part in unmeasured else 0.0] + [0.0] * 8
        for part in ("orientation", "angular_velocity", "linear_acceleration")
    }
    return SimpleNamespace(
        orientation=SimpleNamespace(x=x, y=y, z=z, w=w),
        angular_velocity=vector(*rate),
        linear_acceleration=vector(*acceleration),
        **covariances,
    )


def test_an_imu_gives_its_streams_fields_in_its_order():
    turn = Rotation.from_euler("xyz", (0.3, -0.2, 1.0))
    columns = turn.as_matrix()[:, :2].T.ravel()
    result = decode(IMU, imu(turn.as_quat()))
    np.testing.assert_allclose(result, [1, 2, 3, *columns, 0, 0, 9.8], atol=1e-12)
    assert IMU.dim == len(result)
    assert IMU.names[:4] == (*(f"hand.angular_velocity.{axis}" for axis in "xyz"), "hand.r11")
    rates = stream("sensor_msgs/msg/Imu", fields=("angular_velocity",))
    assert decode(rates, imu((0.0, 0.0, 0.0, 0.0), unmeasured=("orientation",))).tolist() == [1, 2, 3]


def test_when_an_imu_does_not_measure_a_field_expect_it_named():
    with pytest.raises(
        DecodeError, match=r"without 'orientation': .* the sensor has angular_velocity, linear_acceleration"
    ) as it:
        decode(IMU, imu(unmeasured=("orientation",)))
    assert type(it.value) is DecodeError  # no later message will do either


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (imu(turn=(0.0, 0.0, 0.0, 0.0)), "the quaternion 0, 0, 0, 0"),
        (imu(rate=(1.0, np.nan, 0.0)), "nan for 'angular_velocity.y'"),
        (imu(acceleration=(0.0, 0.0, np.inf)), "inf for 'linear_acceleration.z'"),
    ],
)
def test_when_an_imus_values_are_unusable_expect_invalid_sample(message, words):
    with pytest.raises(InvalidSampleError, match=words):
        decode(IMU, message)
