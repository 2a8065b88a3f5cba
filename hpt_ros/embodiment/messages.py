# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Numbers and times out of messages, of streams and commands alike: of any object that has the message's fields."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.errors import Code, HptError

NS_PER_S = 1_000_000_000


class DecodeError(HptError):
    """A stream's messages do not hold what the embodiment file says; no later message will either."""


class InvalidSampleError(DecodeError):
    """This one message's values are unusable (not finite, cut short); the next may be good."""


def time_ns(time: Any) -> int:
    """builtin_interfaces/Time or Duration in nanoseconds."""
    return int(time.sec) * NS_PER_S + int(time.nanosec)


def stamp_ns(message: Any, arrival_ns: int) -> int:
    """The message's header stamp in nanoseconds; its arrival for a zero stamp ("now") and for a type without stamp.

    Foxglove's types have a timestamp in place of a header.
    """
    header = getattr(message, "header", None)
    stamp = getattr(message, "timestamp", None) if header is None else header.stamp
    return arrival_ns if stamp is None else time_ns(stamp) or arrival_ns


def says_nothing(message: Any) -> bool:
    """Whether a message names no joint, has no point and no value, as drivers send it at their start and as a stop."""
    if hasattr(message, "points"):  # JointTrajectory
        return not len(message.points)
    if hasattr(message, "position") and hasattr(message, "name"):  # JointState
        return not (
            len(message.name) or len(message.position) or len(message.velocity) or len(message.effort)
        )
    if hasattr(message, "displacements"):  # JointJog
        return not (len(message.joint_names) or len(message.velocities) or len(message.displacements))
    return hasattr(message, "layout") and not len(message.data)  # arrays


def finite(values: NDArray[Any], names: tuple[str, ...], where: str) -> NDArray[Any]:
    """The values, unless one of them is not finite as float32, in which datasets and policies hold it.

    Raises:
        InvalidSampleError: names the first such element.
    """
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


def pose_vector(pose: Any, names: tuple[str, ...], where: str) -> NDArray[np.float64]:
    """geometry_msgs/Pose to float64 (9,): x, y, z in m, then the first two columns of the rotation matrix.

    The quaternion is normalised first. Both of its signs give the same numbers.

    Raises:
        InvalidSampleError: a value is not finite, or the quaternion is zero.
    """
    position, turn = pose.position, pose.orientation
    quaternion = finite(numbers(turn, "xyzw"), ("qx", "qy", "qz", "qw"), where)
    largest = np.abs(quaternion).max()
    if largest == 0.0:
        raise InvalidSampleError(
            Code.INVALID, where, problem="has a pose with the quaternion 0, 0, 0, 0, which is no orientation",
            remedy="let the driver fill it",
        )  # fmt: skip
    quaternion = quaternion / largest  # first, so that no square overflows
    x, y, z, w = (quaternion / math.sqrt(float(quaternion @ quaternion))).tolist()
    columns = (
        1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w),
        2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w),
    )  # fmt: skip
    return finite(np.concatenate([numbers(position, "xyz"), columns]), names, where)


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
