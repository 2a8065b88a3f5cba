# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Numbers and times out of messages, of streams and commands alike: of any object that has the message's fields."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.errors import Code, HptError

if TYPE_CHECKING:
    from hpt_ros.embodiment.streams import Stream

NS_PER_S = 1_000_000_000
# Elements of vectors. An orientation becomes the first two columns of its rotation matrix: continuous, unlike
# quaternions and angles (Zhou et al., arXiv 1812.07035), so that it can be interpolated.
ORIENTATION_ELEMENTS = ("r11", "r21", "r31", "r12", "r22", "r32")
POSE_ELEMENTS = ("x", "y", "z", *ORIENTATION_ELEMENTS)
_SURELY_FINITE = 1e38  # the largest float32 is 3.4e38
VELOCITY_ELEMENTS = ("linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z")


class DecodeError(HptError):
    """A stream's messages do not hold what the embodiment file says; no later message will either."""


class InvalidSampleError(DecodeError):
    """This one message's values are unusable (not finite, cut short); the next may be good."""


def time_ns(time: Any) -> int:
    """builtin_interfaces/Time or Duration in nanoseconds."""
    return int(time.sec) * NS_PER_S + int(time.nanosec)


def header_stamp_ns(message: Any) -> int | None:
    """The stamp of a message's header in nanoseconds; None without one, 0 where it says "now".

    Foxglove's types have a timestamp in place of a header.
    """
    header = getattr(message, "header", None)
    stamp = getattr(message, "timestamp", None) if header is None else header.stamp
    return (
        None if stamp is None else int(stamp.sec) * NS_PER_S + int(stamp.nanosec)
    )  # of each message: no call


def stamp_ns(message: Any, arrival_ns: int) -> int:
    """The message's header stamp in nanoseconds; its arrival for a zero stamp ("now") and for a type without stamp."""
    return header_stamp_ns(message) or arrival_ns


def describe_stream(stream: Stream) -> str:
    """The stream, as errors name it."""
    return stream.described


def surely_finite(values: NDArray[Any]) -> bool:
    """Whether all values of a vector are finite as float32; where it is false, each must be looked at.

    It is many times faster than that. NumPy's dot would release the interpreter's lock each time, and wait for an
    encoder's thread to give it back.
    """
    return values.ndim == 1 and values.dtype == np.float64 and math.hypot(*values.tolist()) < _SURELY_FINITE


def finite(values: NDArray[Any], names: tuple[str, ...], where: str) -> NDArray[Any]:
    """The values, unless one of them is not finite as float32, in which datasets and policies hold it.

    Raises:
        InvalidSampleError: names the first such element.
    """
    if surely_finite(values):
        return values
    with np.errstate(over="ignore"):
        good = np.isfinite(np.asarray(values, dtype=np.float32))
    if not good.all():
        index = int(np.argmin(good))
        raise InvalidSampleError(
            Code.NOT_FINITE, where, names[index], problem=f"has the value {values[index]} for {{value}}",
            expected="a finite number (float32)", remedy="check the driver",
        )  # fmt: skip
    return values


def numbers(point: Any, parts: str) -> NDArray[np.float64]:
    """Fields of one letter each, e.g. ``"xyz"``."""
    return np.array([getattr(point, part) for part in parts], dtype=np.float64)


def orientation_vector(orientation: Any, where: str) -> NDArray[np.float64]:
    """geometry_msgs/Quaternion to float64 (6,): the first two columns of the rotation matrix.

    It is normalised first. Both of its signs give the same numbers.

    Raises:
        InvalidSampleError: a value is not finite, or all are zero.
    """
    quaternion = numbers(orientation, "xyzw")
    largest = np.abs(quaternion).max()
    if largest == 0.0:
        raise InvalidSampleError(
            Code.INVALID, where, problem="has a pose with the quaternion 0, 0, 0, 0, which is no orientation",
            remedy="let the driver fill it",
        )  # fmt: skip
    if np.isfinite(largest):
        quaternion = quaternion / largest  # first, so that no square overflows
    finite(quaternion, ("qx", "qy", "qz", "qw"), where)
    x, y, z, w = (quaternion / math.sqrt(float(quaternion @ quaternion))).tolist()
    columns = (
        1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w),
        2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w),
    )  # fmt: skip
    return np.array(columns)


def pose_vector(pose: Any, names: tuple[str, ...], where: str) -> NDArray[np.float64]:
    """geometry_msgs/Pose to float64 (9,): x, y, z in m, then `orientation_vector`.

    Raises:
        InvalidSampleError: a value is not finite, or the quaternion is zero.
    """
    orientation = orientation_vector(pose.orientation, where)
    return finite(np.concatenate([numbers(pose.position, "xyz"), orientation]), names, where)


def twist_vector(twist: Any, names: tuple[str, ...], where: str) -> NDArray[np.float64]:
    """geometry_msgs/Twist to float64 (6,): linear in m/s, then angular in rad/s.

    Raises:
        InvalidSampleError: a value is not finite.
    """
    values = np.concatenate([numbers(twist.linear, "xyz"), numbers(twist.angular, "xyz")])
    return finite(values, names, where)


@functools.lru_cache(maxsize=64)
def joint_order(wanted: tuple[str, ...], names: tuple[str, ...], where: str) -> NDArray[np.intp]:
    """Indices of the wanted joints in a message's names; messages of a topic nearly always repeat their names."""
    for name in wanted:
        if name not in names:
            there = ", ".join(names) or "none"
            raise DecodeError(
                Code.UNKNOWN, where, name, problem=f"lacks the joint {{value}}; the message has {there[:600]}",
                expected="each joint of the stream", known=names, remedy="correct the names in the embodiment file",
            )  # fmt: skip
    order = np.array([names.index(name) for name in wanted], dtype=np.intp)
    order.setflags(write=False)
    return order
