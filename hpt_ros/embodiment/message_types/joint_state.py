# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/JointState: measured joints; as a command positions and velocities, and when the robot is to be there."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.kinds import JOINT_POSITION
from hpt_ros.embodiment.message_types.base import (
    CommandType,
    Decoded,
    MessageType,
    Sending,
    SentCommand,
    in_order,
)
from hpt_ros.embodiment.messages import (
    DecodeError,
    InvalidSampleError,
    describe_stream,
    finite,
    joint_order,
    stamp_ns,
)
from hpt_ros.errors import Code

if TYPE_CHECKING:
    from hpt_ros.embodiment.output import Output
    from hpt_ros.embodiment.streams import Stream

FIELDS = ("position", "velocity", "effort")
_ANGLE = (".cos", ".sin")  # of a continuous joint's position, which has no seam so


def encode(command: SentCommand, output: Output, sending: Sending) -> Any:
    """Stamped with the command's time."""
    message = sending.interface("sensor_msgs/msg/JointState")(
        name=list(output.message_names),
        position=command.position.tolist(),
        velocity=command.velocity.tolist(),
    )
    message.header.stamp = sending.time(command.time_ns)
    return message


def decode(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    """Positions at the message's stamp."""
    return stamp_ns(message, arrival_ns), in_order(output, message.name, message.position, "positions", where)


def empty(message: Any) -> bool:
    """Whether a message names no joint and has no value."""
    return not (len(message.name) or len(message.position) or len(message.velocity) or len(message.effort))


def names(stream: Stream) -> tuple[str, ...]:
    """All joints of the first field first; of a continuous joint's position cosine and sine."""
    return tuple(f"{joint}.{part}{element}" for part, joint, element in _elements(stream))


def elements_of(stream: Stream, joints: tuple[str, ...]) -> tuple[bool, ...]:
    """Of each element of the stream's vector whether it is of one of these joints, (dim,)."""
    return tuple(joint in joints for _, joint, _ in _elements(stream))


def _elements(stream: Stream) -> list[tuple[str, str, str]]:
    return [
        (part, joint, element)
        for part in stream.fields
        for joint in stream.joints
        for element in (_ANGLE if part == "position" and joint in stream.continuous else ("",))
    ]


def observe(stream: Stream, message: Any) -> NDArray[np.float64]:
    """sensor_msgs/JointState to the stream's vector, float64 (dim,): its fields of its joints, in the file's order.

    Joints may come in any order and further joints may be there. Where the stream is partial, joints may lack; their
    elements are NaN, which is no value that a joint in the message can have. Of a continuous joint's position the
    vector has cosine and sine, so that it is the same whether a driver reports it from -pi to pi or over many turns.

    Raises:
        DecodeError: a joint is missing, or a field is empty.
        InvalidSampleError: a value is not finite, a field has not one for every joint, or the message is empty, as
            some drivers' first is.
    """
    where = describe_stream(stream)
    if empty(message):
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
        index = stream.fields.index("position")
        counts = 1 + angles
        position = np.repeat(parts[index], counts)
        cosines = (np.cumsum(counts) - counts)[angles]
        position[cosines] = np.cos(parts[index][angles])
        position[cosines + 1] = np.sin(parts[index][angles])
        parts = [*parts[:index], position, *parts[index + 1 :]]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _field(message: Any, part: str, names: tuple[str, ...], where: str) -> NDArray[np.float64]:
    values = np.asarray(getattr(message, part), dtype=np.float64)
    if values.shape != (len(names),):
        # A field that the driver does not fill stays empty; one of another length is one message's fault.
        error = InvalidSampleError if values.size else DecodeError
        raise error(
            Code.WRONG_SHAPE, where, values.size,
            problem=f"has {{value}} values of {part!r} for {len(names)} joints", expected="one for each",
            remedy=f"take {part!r} out of the stream's fields or let the driver fill it",
        )  # fmt: skip
    return values


MESSAGE_TYPE = MessageType(
    name="sensor_msgs/msg/JointState",
    decoders={"state": observe},
    names=names,
    fields=FIELDS,
    needs=("joints",),
    empty=empty,
    command=CommandType(
        kinds=(JOINT_POSITION,),
        controllers="drivers that follow joint states, such as Isaac Sim's and teleoperators'",
        encode=encode,
        decode=decode,
    ),
)
