# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Messages of any type, by the paths of their numbers: `values` of a stream or an output.

A path is made of fields and, in brackets, of positions in lists: a number, from the end if it is negative, or the name
of an entry in a list of names beside the list or further out, as messages of controllers have them::

    data
    data[2]
    transforms[0].transform.translation.x
    feedback.positions[joint_names=elbow]
    interface_values[joint_names=elbow].values[interface_names=effort]
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.kinds import JOINT_POSITION
from hpt_ros.embodiment.message_types.base import CommandType, Decoded, MessageType, Sending, SentCommand
from hpt_ros.embodiment.messages import DecodeError, InvalidSampleError, describe_stream, finite, stamp_ns
from hpt_ros.errors import Code

if TYPE_CHECKING:
    from hpt_ros.embodiment.output import Output
    from hpt_ros.embodiment.streams import Stream

# A field, a position in a list, or a list of names and the name to look for.
Step: TypeAlias = "str | int | tuple[str, str]"
MOST_VALUES = 1024
FORM = "fields with dots between them and places in brackets, such as feedback.positions[0] or values[names=elbow]"
_FIELD = r"[A-Za-z][A-Za-z0-9_]*"
_PLACE = rf"-?\d{{1,6}}|{_FIELD}=[^\]\s]+"
_PATH = re.compile(rf"{_FIELD}(\[({_PLACE})\])?(\.{_FIELD}(\[({_PLACE})\])?)*")
_STEP = re.compile(rf"({_FIELD})(?:\[({_PLACE})\])?(?:\.|$)")
_TYPE = re.compile(rf"{_FIELD}/msg/{_FIELD}")


def is_path(text: str) -> bool:
    """Whether a text is a path."""
    return _PATH.fullmatch(text) is not None


def is_message_type(name: str) -> bool:
    """Whether a text is the name of a type of messages."""
    return _TYPE.fullmatch(name) is not None


def is_written(path: str) -> bool:
    """Whether a number can be written to a path: to a field, or to a location from 0 in the list of the last field."""
    *outer, last = steps(path)
    if isinstance(last, tuple) or (isinstance(last, int) and last < 0):
        return False
    return all(isinstance(step, str) for step in outer)


@functools.lru_cache(maxsize=4096)
def steps(path: str) -> tuple[Step, ...]:
    """The steps of a path."""
    found: list[Step] = []
    for name, index in _STEP.findall(path):
        found.append(name)
        if "=" in index:
            names, _, wanted = index.partition("=")
            found.append((names, wanted))
        elif index:
            found.append(int(index))
    return tuple(found)


def read(message: Any, path: str, where: str) -> float:
    """The number at a path.

    Args:
        message: any object that has the fields.
        path: as this module describes.
        where: names the stream or output in errors.

    Raises:
        DecodeError: the message has no such field or name, or there is no number.
        InvalidSampleError: a list is shorter than that in this message.
    """
    value, outer = message, [message]
    for step in steps(path):
        if isinstance(step, str):
            value = _field(value, step, path, where)
        else:
            value = value[_place(value, step, outer, path, where)]
        outer.append(value)
    if isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
        return float(value)
    raise DecodeError(
        Code.WRONG_TYPE, where, path, problem=f"has a {type(value).__name__} at {{value}}", expected="a number",
        remedy="correct the path",
    )  # fmt: skip


def _field(value: Any, name: str, path: str, where: str) -> Any:
    try:
        return getattr(value, name)
    except AttributeError:
        there = fields_of(value)
        raise DecodeError(
            Code.UNKNOWN, where, name, problem=f"has no field {{value}} of the path {path!r}", known=there,
            remedy="correct values in the embodiment file",
        ) from None  # fmt: skip


def _place(value: Any, step: Step, outer: list[Any], path: str, where: str) -> int:
    try:
        count = len(value)
    except TypeError:
        raise DecodeError(
            Code.WRONG_TYPE,
            where,
            path,
            problem="has no list at {value}",
            remedy="take the brackets out of it",
        ) from None
    if isinstance(step, tuple):
        names, wanted = step
        lists = [getattr(item, names) for item in reversed(outer) if hasattr(item, names)]
        if not lists:
            raise DecodeError(
                Code.UNKNOWN, where, names, problem=f"has no list {{value}} beside {path!r} or further out",
                remedy="correct the path",
            )  # fmt: skip
        listed = [str(item) for item in lists[0]]
        if not listed:
            raise InvalidSampleError(
                Code.EMPTY, where, problem=f"has a message without {names}, which does not count",
                remedy="check its sender",
            )  # fmt: skip
        if wanted not in listed:
            raise DecodeError(
                Code.UNKNOWN, where, wanted, problem=f"has no {{value}} among {names}", known=listed,
                remedy="correct the path",
            )  # fmt: skip
        index = listed.index(wanted)
    else:
        assert isinstance(step, int)
        index = step
    if not -count <= index < count:
        raise InvalidSampleError(
            Code.WRONG_SHAPE, where, count, problem=f"has a list of {{value}} values where {path!r} takes one more",
            remedy="check its sender, or correct the path",
        )  # fmt: skip
    return index


def fields_of(value: Any) -> list[str]:
    """Names of a message's fields, of rosbags' messages and of rclpy's."""
    known = getattr(value, "__dataclass_fields__", None)
    if known is None and hasattr(value, "get_fields_and_field_types"):
        known = value.get_fields_and_field_types()
    return [name for name in known or () if not name.startswith("_")]


def names(stream: Stream) -> tuple[str, ...]:
    """Positions of the joints that the stream names, or the paths after its own name."""
    if stream.joints:
        return tuple(f"{joint}.position" for joint in stream.joints)
    return tuple(f"{stream.name}.{path}" for path in stream.values)


def observe(stream: Stream, message: Any) -> NDArray[Any]:
    """A message's numbers at the stream's paths, (dim,): float64, and float32 of a tactile stream.

    Raises:
        DecodeError, InvalidSampleError: as `read`; or a number is not finite.
    """
    where = describe_stream(stream)
    found = np.array([read(message, path, where) for path in stream.values], dtype=stream.kind.dtype)
    return finite(found, stream.names, where)


def decode(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    """A message's numbers at the output's paths, at its stamp, or its arrival if it has none."""
    found = np.array([read(message, path, where) for path in output.values], dtype=np.float64)
    return stamp_ns(message, arrival_ns), finite(found, output.names, where)


def encode(command: SentCommand, output: Output, sending: Sending) -> Any:
    """A message of the output's type with the positions at its paths; all else is as the type has it."""
    message = sending.interface(output.type)()
    if hasattr(message, "header"):
        message.header.stamp = sending.time(command.time_ns)
    for path, value in zip(output.values, command.position.tolist(), strict=True):
        *outer, last = steps(path)
        index = last if isinstance(last, int) else None
        if index is not None:
            last = outer.pop()
        holder = message
        for name in outer:
            holder = getattr(holder, str(name))
        _set(holder, last, index, value)
    return message


def _set(holder: Any, name: Any, index: int | None, value: float) -> None:
    present = getattr(holder, name)
    if index is None:
        setattr(
            holder,
            name,
            value >= 0.5 if isinstance(present, bool) else type(present)(_round(present, value)),
        )
        return
    kind = holder.get_fields_and_field_types()[name]
    values = list(present)
    values += [0] * (index + 1 - len(values))
    values[index] = value if "float" in kind or "double" in kind else round(value)
    setattr(holder, name, values)


def _round(present: Any, value: float) -> float:
    return round(value) if isinstance(present, int) else value


@functools.cache
def any_type(name: str) -> MessageType:
    """A type of messages that is read, and written, by paths."""
    return MessageType(
        name=name,
        decoders={"state": observe, "wrench": observe, "tactile": observe},
        names=names,
        needs=("values",),
        command=CommandType(
            kinds=(JOINT_POSITION,),
            controllers=f"whatever takes {name}",
            encode=encode,
            decode=decode,
        ),
    )
