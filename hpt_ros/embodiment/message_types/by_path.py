# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Messages of any type, by the paths of their numbers: `values` of a stream or an output.

A path is made of fields and, in brackets, of places in lists: a number, from the end if it is negative, or the name of
an entry in a list of names beside the list or further out, as messages of controllers have them::

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
from hpt_ros.embodiment.message_types.base import CommandType, Decoded, MessageType, Sending, Told
from hpt_ros.embodiment.messages import DecodeError, InvalidSampleError, finite, place, stamp_ns
from hpt_ros.errors import did_you_mean

if TYPE_CHECKING:
    from hpt_ros.embodiment.action import Output
    from hpt_ros.embodiment.streams import Stream

# A field, a place in a list, or a list of names and the name to look for.
Step: TypeAlias = "str | int | tuple[str, str]"
MOST_VALUES = 1024
FORM = "fields with dots between them and places in brackets, such as feedback.positions[0] or values[names=elbow],"
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
        f"{where} has a {type(value).__name__} at {path!r}, but a number was expected; correct the path"
    )


def _field(value: Any, name: str, path: str, where: str) -> Any:
    try:
        return getattr(value, name)
    except AttributeError:
        there = fields_of(value)
        raise DecodeError(
            f"{where} has no field {name!r} of the path {path!r}; there is {', '.join(there) or 'none'}"
            f"{did_you_mean(name, there) or '; correct values in the embodiment file'}"
        ) from None


def _place(value: Any, step: Step, outer: list[Any], path: str, where: str) -> int:
    try:
        count = len(value)
    except TypeError:
        raise DecodeError(f"{where} has no list at {path!r}; take the brackets out of it") from None
    if isinstance(step, tuple):
        names, wanted = step
        lists = [getattr(item, names) for item in reversed(outer) if hasattr(item, names)]
        if not lists:
            raise DecodeError(
                f"{where} has no list {names!r} beside {path!r} or further out; correct the path"
            )
        listed = list(lists[0])
        if not listed:
            raise InvalidSampleError(
                f"{where} has a message without {names}, which does not count; check its sender"
            )
        if wanted not in listed:
            raise DecodeError(
                f"{where} has no {wanted!r} among {names} ({', '.join(map(str, listed))[:400]})"
                f"{did_you_mean(wanted, [str(item) for item in listed]) or '; correct the path'}"
            )
        index = listed.index(wanted)
    else:
        assert isinstance(step, int)
        index = step
    if not -count <= index < count:
        raise InvalidSampleError(
            f"{where} has a list of {count} values where {path!r} takes one further on; check its sender, or correct "
            "the path"
        )
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
    where = place(stream)
    found = np.array([read(message, path, where) for path in stream.values], dtype=stream.kind.dtype)
    return finite(found, stream.names, where)


def decode(output: Output, message: Any, arrival_ns: int, where: str) -> Decoded:
    """A message's numbers at the output's paths, at its stamp, or its arrival if it has none."""
    found = np.array([read(message, path, where) for path in output.values], dtype=np.float64)
    return stamp_ns(message, arrival_ns), finite(found, output.names, where)


def encode(told: Told, output: Output, sending: Sending) -> Any:
    """A message of the output's type with the positions at its paths; all else is as the type has it."""
    message = sending.interface(output.type)()
    if hasattr(message, "header"):
        message.header.stamp = sending.time(told.time_ns)
    for path, value in zip(output.values, told.position.tolist(), strict=True):
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
            value >= 0.5 if isinstance(present, bool) else type(present)(_rounded(present, value)),
        )
        return
    kind = holder.get_fields_and_field_types()[name]
    values = list(present)
    values += [0] * (index + 1 - len(values))
    values[index] = value if "float" in kind or "double" in kind else round(value)
    setattr(holder, name, values)


def _rounded(present: Any, value: float) -> float:
    return round(value) if isinstance(present, int) else value


def check(output: Output) -> str:
    """Refuse paths that do not fit the names, and those to which nothing can be written."""
    if len(output.values) != len(output.names):
        return (
            f"has {len(output.values)} values and {len(output.names)} names, but a path for each name was expected; "
            "correct one of them"
        )
    for path in output.values:
        if not is_path(path):
            return f"has the path {path!r} among its values, but {FORM} was expected; correct it"
        if any(not isinstance(step, str) for step in steps(path)[:-1]) or isinstance(steps(path)[-1], tuple):
            return (
                f"has the path {path!r} among its values, but a command is written to fields, of which the last may "
                "have a number in brackets; correct it"
            )
        if isinstance(last := steps(path)[-1], int) and last < 0:
            return f"has the path {path!r} among its values, but a place from 0 was expected; correct it"
    return ""


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
            check=check,
        ),
    )
