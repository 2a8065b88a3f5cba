# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Message types of a bag, each made from its own definition when a message of it is asked for.

A bag holds topics that nobody needs: of services, of actions, of packages whose definitions the recorder did not find,
in languages that no parser here knows. What is wrong with one of them concerns that one alone.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.base import TypesysError
from rosbags.typesys.msg import normalize_msgtype
from rosbags.typesys.store import Typestore

from hpt_ros.embodiment.message_types import MESSAGE_TYPES
from hpt_ros.errors import Code
from rosbag_tools.errors import BagError
from rosbag_tools.reading.channels import (
    CDR,
    IDL_ENCODINGS,
    MSG_ENCODINGS,
    NO_ENCODINGS,
    ROS1,
    Channel,
    usual_name,
)
from rosbag_tools.reading.learned_layouts import LearnedLayouts

# Message definitions beyond this are hostile: the library makes code of each field, and of each element of some arrays.
MOST_DEFINITION_CHARACTERS, MOST_FIELDS, MOST_ARRAY = 1 << 18, 2000, 1_000_000
# Bags of one robot have the same types, and many short bags are converted one after another.
REMEMBERED = 512
_SEPARATOR = "=" * 80
# Of types that some writers take for built in.
_BUILT_IN = ("builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration")
# A message that begins with a header, as rosbags describes its first field.
_HEADER = (Nodetype.NAME, "std_msgs/msg/Header")
# Foxglove's begin with a stamp alone.
_TIMESTAMP = ("timestamp", (Nodetype.NAME, "builtin_interfaces/msg/Time"))
# What a stamp and the sequence number or the CDR head before it take.
_HEAD_BYTES = 12


class UnreadableTypeError(BagError):
    """Messages of a channel cannot be read, and why; the sentence is about a topic ("its ...")."""


@dataclass(frozen=True, slots=True)
class MessageType:
    """How messages of one channel are read.

    Attributes:
        name: of the type in `store`.
        store: of the type and of what it is made of.
        ros1: messages are serialized as in ROS 1.
        stamped: they begin with a std_msgs/Header, or a stamp that is called timestamp.
        layouts: of the messages that were read, unless they are ROS 1's.
    """

    name: str
    store: Typestore
    ros1: bool
    stamped: bool
    layouts: LearnedLayouts = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layouts", LearnedLayouts(self.store, self.name))

    def reader(self) -> Callable[[Any], Any]:
        """What makes a message out of its bytes, and raises whatever the parser raises."""
        if self.ros1:
            return functools.partial(self.store.deserialize_ros1, typename=self.name)
        return self.layouts.deserialize

    def stamp_ns(self, data: Any) -> int | None:
        """The header's stamp; None without a header, and for a stamp of 0, which says "now".

        CDR begins with 4 bytes, of which the second tells the byte order; ROS 1 is little-endian and has 4 bytes of a
        sequence number there.

        Raises:
            ValueError: the message is shorter than a header.
        """
        if not self.stamped:
            return None
        head = bytes(data[:_HEAD_BYTES])
        if len(head) < _HEAD_BYTES:
            raise ValueError(f"a message of {len(data)} bytes is shorter than its header")
        order: Any = "little" if self.ros1 or head[1] & 1 else "big"
        # Seconds of ROS 2 are signed, those of ROS 1 are not.
        sec = int.from_bytes(head[4:8], order, signed=not self.ros1)
        nanosec = int.from_bytes(head[8:12], order)
        return sec * 10**9 + nanosec or None


def message_type(channel: Channel) -> MessageType:
    """How the messages of a channel are read.

    Raises:
        UnreadableTypeError: they cannot be read.
    """
    return _message_type(channel.type, channel.encoding, channel.schema, channel.definition, channel.digest)


@functools.lru_cache(maxsize=REMEMBERED)
def _message_type(type_: str, encoding: str, schema: str, definition: str, digest: str) -> MessageType:
    if encoding not in (CDR, ROS1):
        raise UnreadableTypeError(
            Code.UNSUPPORTED, "its messages", encoding[:40], problem="are encoded as {value}",
            expected=f"{CDR!r} or {ROS1!r}",
        )  # fmt: skip
    try:
        return _make(type_, encoding == ROS1, schema, definition, digest)
    except UnreadableTypeError:
        raise
    except Exception as error:  # parsers of texts fail in every way
        what = "is not one of a message (it has a line of three hyphens)"
        if not re.search(r"^---\s*$", definition, re.MULTILINE):
            # The parser's message begins with the entire text.
            why = "" if isinstance(error, TypesysError) else f" ({' '.join(str(error).split())[:80]})"
            what = f"cannot be parsed as {schema}{why}"
        raise UnreadableTypeError(Code.UNREADABLE, "its definition", problem=what) from error


def _make(type_: str, ros1: bool, schema: str, definition: str, digest: str) -> MessageType:
    text = definition.replace("\r\n", "\n").strip().removesuffix(_SEPARATOR).strip()
    if schema in NO_ENCODINGS or not text:
        name, store = _standard(type_, ros1, digest)
    elif schema in (*MSG_ENCODINGS, *IDL_ENCODINGS):
        name, store = _parse_text(type_, schema, text)
    else:
        raise UnreadableTypeError(
            Code.UNSUPPORTED, "its definition", schema[:40], problem="is written in {value}",
            expected=f"one of {', '.join((*MSG_ENCODINGS, *IDL_ENCODINGS))}",
        )  # fmt: skip
    _check_digest(store, name, ros1, digest)
    if type_ in MESSAGE_TYPES:
        _check_standard_fields(store, ros1)
    fields = store.fielddefs[name][1]
    first = fields[0] if fields else None
    stamped = first is not None and (first[1] == _HEADER or (first == _TIMESTAMP and not ros1))
    return MessageType(name, store, ros1, stamped)


def _standard(type_: str, ros1: bool, digest: str) -> tuple[str, Typestore]:
    """A type without a definition: old sqlite3 bags have none, and recorders leave out what they do not find."""
    store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_KILTED)
    if type_ in store.fielddefs:
        return type_, store
    if ros1 and digest == hashlib.md5(b"", usedforsecurity=False).hexdigest():  # a message without fields
        return _parse_text(type_, MSG_ENCODINGS[1], "")
    raise UnreadableTypeError(
        Code.MISSING, "the bag", type_[:100],
        problem=f"has no definition of its type {type_[:100]}".rstrip(),
        remedy="record it again with its type",
    )  # fmt: skip


def _parse_text(type_: str, schema: str, text: str) -> tuple[str, Typestore]:
    if len(text) > MOST_DEFINITION_CHARACTERS:
        raise UnreadableTypeError(
            Code.OUT_OF_RANGE, "its definition", problem=f"has more than {MOST_DEFINITION_CHARACTERS} characters",
            remedy="leave it out",
        )  # fmt: skip
    found = _parse(type_, schema, text)
    name = next((name for name in found if usual_name(name) in (type_, normalize_msgtype(type_))), "")
    if not name:
        raise UnreadableTypeError(
            Code.MISMATCH, "its definition", type_[:100], problem=f"is not one of {type_[:100]}",
        )  # fmt: skip
    standard = get_typestore(Stores.ROS2_KILTED).fielddefs
    found = {item: standard[item] for item in _BUILT_IN} | found
    found = {item: found[item] for item in _list_used(name, found)}
    for item, (_, fields) in found.items():
        if len(fields) > MOST_FIELDS or any(_array_length(kind) > MOST_ARRAY for _, kind in fields):
            raise UnreadableTypeError(
                Code.OUT_OF_RANGE, f"its definition of {item[:100]}",
                problem=f"has more than {MOST_FIELDS} fields or an array of more than {MOST_ARRAY} elements",
                remedy="leave it out",
            )  # fmt: skip
    store = get_typestore(Stores.EMPTY)
    store.register(found)
    store.get_msgdef(name)  # makes the code that reads it, which may fail too
    return name, store


def _parse(type_: str, schema: str, text: str) -> Any:
    if schema in MSG_ENCODINGS:
        return get_types_from_msg(f"{text}\n", type_)
    found: Any = {}
    # rosbag2 puts several files into one text, each under its name; the parser knows no preprocessor.
    for part in text.split(f"{_SEPARATOR}\n"):
        lines = [line for line in part.splitlines() if not line.lstrip().startswith(("#", "IDL: "))]
        if any(line.strip() for line in lines):
            found.update(get_types_from_idl("\n".join(lines)))
    return found


def _list_used(name: str, found: Any) -> list[str]:
    """Every type that a type is made of, itself first."""
    waiting, known = [name], dict[str, None]()
    while waiting:
        item = waiting.pop()
        if item in known:
            continue
        if item not in found:
            raise UnreadableTypeError(
                Code.MISSING, "its definition", item[:100], problem=f"lacks {item[:100]}, which it is made of",
                remedy="record it again with all its definitions",
            )  # fmt: skip
        known[item] = None
        waiting += [inner for _, kind in found[item][1] for inner in _names(kind)]
    return list(known)


def _names(kind: Any) -> Iterator[str]:
    node, detail = kind
    if node == Nodetype.NAME:
        yield detail
    elif node in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        yield from _names(detail[0])


def _check_digest(store: Typestore, name: str, ros1: bool, digest: str) -> None:
    if ros1 and digest not in ("", "*"):
        real = store.generate_msgdef(name)[1]
    elif not ros1 and digest.startswith("RIHS01_"):
        real = store.hash_rihs01(name)
    else:
        return
    if real != digest:
        raise UnreadableTypeError(
            Code.MISMATCH, f"its definition of {name[:100]}", real[:24],
            problem=f"has the hash {real[:24]}, but the bag lists {digest[:24]}",
        )  # fmt: skip


def _check_standard_fields(store: Typestore, ros1: bool) -> None:
    """What decodes messages relies on the fields of the standard definition; a bag's may have more of them."""
    standard = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_KILTED).fielddefs
    for name, (_, fields) in store.fielddefs.items():
        if name in standard:
            there = {field for field, _ in fields}
            if lacking := [field for field, _ in standard[name][1] if field not in there]:
                raise UnreadableTypeError(
                    Code.MISSING, f"its definition of {name}", lacking[0], problem="lacks the field {value}",
                    remedy="record it with the standard type",
                )  # fmt: skip


def _array_length(kind: Any) -> int:
    return int(kind[1][1]) if kind[0] == Nodetype.ARRAY else 0
