# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Messages that are vectors: joints, poses, twists, wrenches, arrays of numbers."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Stream
from hpt_ros.embodiment.messages import joint_order, numbers, pose_vector, says_nothing, twist_vector
from hpt_ros.errors import Code
from hpt_ros.observation.checks import DecodeError, InvalidSampleError, finite, place


def decode_joint_state(stream: Stream, message: Any) -> NDArray[np.float64]:
    """sensor_msgs/JointState to the stream's vector, float64 (dim,): its fields of its joints, in the file's order.

    Joints may come in any order and further joints may be there. Where the stream is partial, joints may lack; their
    elements are NaN, which is no value that a joint in the message can have. Of a continuous joint's position the
    vector has cosine and sine, so that it is the same whether a driver reports it from -pi to pi or over many turns.

    Raises:
        DecodeError: a joint is missing, or a field is not filled for every joint.
        InvalidSampleError: a value is not finite, or the message is empty, as some drivers' first is.
    """
    where = place(stream)
    if says_nothing(message):
        raise InvalidSampleError(
            Code.EMPTY, where, problem="has a message without joints, which does not count",
            remedy="check the driver",
        )  # fmt: skip
    names = tuple(message.name)
    if stream.partial:
        return _partial_joint_state(stream, message, names, where)
    order = joint_order(stream.message_joints, names, where)
    _require_one_value(stream, message, names, where)
    parts = [
        finite(_field(message, part, names, where)[order], _labels(stream.joints, part), where)
        for part in stream.fields
    ]
    return _vector(stream, parts)


def decode_pose(stream: Stream, message: Any) -> NDArray[np.float64]:
    """geometry_msgs/PoseStamped to float64 (9,): x, y, z in m, then the first two columns of the rotation matrix.

    The quaternion is normalised first. Both of its signs give the same numbers.

    Raises:
        InvalidSampleError: a value is not finite, or the quaternion is zero.
    """
    return pose_vector(message.pose, stream.names, place(stream))


def decode_twist(stream: Stream, message: Any) -> NDArray[np.float64]:
    """geometry_msgs/TwistStamped to float64 (6,): linear in m/s, then angular in rad/s.

    Raises:
        InvalidSampleError: a value is not finite.
    """
    return twist_vector(message.twist, stream.names, place(stream))


def decode_odometry(stream: Stream, message: Any) -> NDArray[np.float64]:
    """nav_msgs/Odometry to float64 (dim,): the stream's fields in its order, pose (9,) and twist (6,) as theirs above.

    The pose is in the message's frame, which begins where the base was switched on; the twist is in the base's own.

    Raises:
        InvalidSampleError: a value is not finite, or the quaternion is zero.
    """
    where, names, found = place(stream), stream.names, []
    for part in stream.fields:
        if part == "pose":
            found.append(pose_vector(message.pose.pose, names[:9], where))
            names = names[9:]
        else:
            found.append(twist_vector(message.twist.twist, names[:6], where))
            names = names[6:]
    return np.concatenate(found)


def decode_wrench(stream: Stream, message: Any) -> NDArray[np.float64]:
    """geometry_msgs/WrenchStamped to float64 (6,): force in N, then torque in Nm.

    Raises:
        InvalidSampleError: a value is not finite.
    """
    wrench = message.wrench
    values = np.concatenate([numbers(wrench.force, "xyz"), numbers(wrench.torque, "xyz")])
    return finite(values, stream.names, place(stream))


def decode_array(stream: Stream, message: Any) -> NDArray[Any]:
    """std_msgs/Float32MultiArray or Float64MultiArray to (length,): float32 of a tactile stream, float64 of a state.

    Whatever the layout's dimensions, the values are taken in the order in which they come, after its data_offset.

    Raises:
        DecodeError: another number of values than the stream's length.
        InvalidSampleError: no values at all, dimensions that do not multiply to their number, or one is not finite.
    """
    where, layout = place(stream), message.layout
    count = len(message.data) - int(layout.data_offset)
    if not len(message.data):
        raise InvalidSampleError(
            Code.EMPTY, where, problem="has an array without values", remedy="check the driver"
        )
    if count != stream.length:
        raise DecodeError(
            Code.INVALID, where,
            problem=f"has an array of {max(count, 0)} values, but the stream's length is {stream.length}",
            remedy="correct the embodiment file or the driver",
        )  # fmt: skip
    sizes = [int(dimension.size) for dimension in layout.dim]
    if sizes and math.prod(sizes) != count:
        raise InvalidSampleError(
            Code.INVALID, where,
            problem=f"has an array of {count} values whose layout says {' x '.join(map(str, sizes[:8]))}",
            remedy="check the driver",
        )  # fmt: skip
    kind: Any = np.float32 if stream.modality == "tactile" else np.float64
    with np.errstate(over="ignore"):
        values = np.array(message.data, dtype=kind)[int(layout.data_offset) :]
    return finite(values, stream.names, where)


def _partial_joint_state(
    stream: Stream, message: Any, names: tuple[str, ...], where: str
) -> NDArray[np.float64]:
    here = [
        (index, names.index(joint)) for index, joint in enumerate(stream.message_joints) if joint in names
    ]
    if not here:  # of another driver on the same topic
        return np.full(stream.dim, np.nan)
    _require_one_value(stream, message, names, where)
    targets, sources = np.array(here).T
    labels = tuple(stream.joints[index] for index in targets)
    parts = []
    for part in stream.fields:
        values = np.full(len(stream.joints), np.nan)
        values[targets] = finite(_field(message, part, names, where)[sources], _labels(labels, part), where)
        parts.append(values)
    return _vector(stream, parts)


def _require_one_value(stream: Stream, message: Any, names: tuple[str, ...], where: str) -> None:
    """A message may have a joint twice, but not at two places."""
    for joint, first, second in _twice(stream.message_joints, names):
        for part in stream.fields:
            values = _field(message, part, names, where)
            if values[first] != values[second]:
                raise InvalidSampleError(
                    Code.INVALID, where,
                    problem=f"has {joint!r} twice, with the {part} {values[first]:g} and {values[second]:g}",
                    expected="one value", remedy="let its driver publish each joint once",
                )  # fmt: skip


@functools.lru_cache(maxsize=64)
def _twice(wanted: tuple[str, ...], names: tuple[str, ...]) -> tuple[tuple[str, int, int], ...]:
    """Wanted joints that a message has again: name, index of the first and of the further one."""
    return tuple(
        (name, names.index(name), index)
        for index, name in enumerate(names)
        if name in wanted and names.index(name) < index
    )


@functools.lru_cache(maxsize=64)
def _labels(joints: tuple[str, ...], part: str) -> tuple[str, ...]:
    return tuple(f"{joint}.{part}" for joint in joints)


def _vector(stream: Stream, parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The stream's vector of its joints' fields, (joints,) each."""
    if stream.continuous:
        angles = np.array([joint in stream.continuous for joint in stream.joints])
        place = stream.fields.index("position")
        counts = 1 + angles
        position = np.repeat(parts[place], counts)
        cosines = (np.cumsum(counts) - counts)[angles]
        position[cosines] = np.cos(parts[place][angles])
        position[cosines + 1] = np.sin(parts[place][angles])
        parts = [*parts[:place], position, *parts[place + 1 :]]
    return np.concatenate(parts)


def _field(message: Any, part: str, names: tuple[str, ...], where: str) -> NDArray[np.float64]:
    values = np.asarray(getattr(message, part), dtype=np.float64)
    if values.shape != (len(names),):
        raise DecodeError(
            Code.WRONG_SHAPE, where, values.size,
            problem=f"has {{value}} values of {part!r} for {len(names)} joints", expected="one for each",
            remedy=f"take {part!r} out of the stream's fields or let the driver fill it",
        )  # fmt: skip
    return values
