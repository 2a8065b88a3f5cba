# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where the numbers of a CDR message lie, learned from messages that the library has parsed.

Messages of a topic nearly always repeat their texts and the lengths of their arrays, and then the numbers lie at the
same places. There is no second parser here that could disagree with the first: the library's own serializer shows
which bytes a number becomes, its own unpackers read them there, and a message in which any other byte differs is
parsed by the library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, TypeAlias

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.serde import primitives
from rosbags.typesys.store import Typestore

# A layout is worth learning for the third message of its length; types whose lengths vary have few of these.
REPEATED, MOST_LENGTHS, MOST_LEARNED, MOST_A_LENGTH = 3, 256, 32, 4
MOST_NUMBERS = 64  # single numbers and arrays of a message; one with more takes long to learn
_HEAD_BYTES = 4  # of CDR: 0, byte order, options
_LITTLE_ENDIAN = b"\x00\x01"

Maker: TypeAlias = Callable[[Any], Any]
_Numbers: TypeAlias = tuple[
    Any, Any, Any
]  # what has it, under which name or index, and the field's description


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout of a type's messages.

    Attributes:
        fixed: all bytes that are of no number, stretch by stretch.
        unpack: what gives those of a message.
        make: makes a message of its bytes from `start` on.
        start: 0, or where the body begins, so that arrays in a copy of it are aligned as the library's are.
    """

    fixed: tuple[bytes, ...]
    unpack: Callable[[Any], tuple[Any, ...]]
    make: Maker
    start: int

    def read(self, data: Any) -> Any:
        """Return the message, None if it has another layout; it must be as long as the one that this was learned of."""
        if self.unpack(data) != self.fixed:
            return None
        return self.make(data[self.start :] if self.start else data)


@dataclass(slots=True)
class LearnedLayouts:
    """Layouts of the messages of one type, by their length in bytes."""

    store: Typestore
    name: str
    _found: dict[int, list[Layout]] = field(default_factory=dict)
    _seen: dict[int, int] = field(default_factory=dict)
    _learned: int = 0

    def deserialize(self, data: Any) -> Any:
        """Return a message out of its bytes, equal to what the library makes of it; raises what the library raises."""
        length = len(data)
        layouts = self._found.get(length, ())
        for layout in layouts:
            if (message := layout.read(data)) is not None:
                return message
        message = self.store.deserialize_cdr(data, self.name)
        if self._learned < MOST_LEARNED and len(layouts) < MOST_A_LENGTH:
            seen = self._seen.get(length, 0) + 1
            if seen > 1 or len(self._seen) < MOST_LENGTHS:
                self._seen[length] = seen
            if seen >= REPEATED:
                self._learned += 1
                if (learned := _learn(self.store, self.name, bytes(data))) is not None:
                    self._found.setdefault(length, []).append(learned)
        return message


def _learn(store: Typestore, name: str, data: bytes) -> Layout | None:
    """Return the layout of a message, None if it has none that the serializer confirms."""
    if data[:2] != _LITTLE_ENDIAN:
        return None
    probe = store.deserialize_cdr(data, name)
    numbers = list(_numbers(store, name, probe))
    written = _write(store, name, probe)
    if len(numbers) > MOST_NUMBERS or data[_HEAD_BYTES : _HEAD_BYTES + len(written)] != written:
        return None  # gaps or strings are filled in a way that is not the serializer's
    # With all numbers 0, and then one after another of bytes that are 1, only that one's bytes differ.
    for owner, key, kind in numbers:
        _put(owner, key, _fill(kind, _get(owner, key), 0))
    zeros = _write(store, name, probe)
    spans = []
    for owner, key, kind in numbers:
        zero = _get(owner, key)
        _put(owner, key, _fill(kind, zero, 1))
        changed = np.flatnonzero(_as_bytes(_write(store, name, probe)) != _as_bytes(zeros))
        _put(owner, key, zero)
        if not len(changed) or changed[-1] - changed[0] + 1 != len(changed):
            return None
        spans.append((_HEAD_BYTES + int(changed[0]), _HEAD_BYTES + int(changed[-1]) + 1))
    if spans != sorted(spans):
        return None
    aligned = any(
        isinstance(_get(owner, key), np.ndarray) and _get(owner, key).itemsize > 1
        for owner, key, _ in numbers
    )
    start = _HEAD_BYTES if aligned else 0
    make = _maker(store, name, store.deserialize_cdr(data, name), iter([begin - start for begin, _ in spans]))
    form, at = "<", 0
    for begin, end in [*spans, (len(data), len(data))]:
        form += f"{begin - at}s{end - begin}x"
        at = end
    unpack = Struct(form).unpack
    layout = Layout(unpack(data), unpack, make, start)
    ones = bytearray(data)
    for begin, end in spans:
        ones[begin:end] = b"\x01" * (end - begin)
    for sample in (data, bytes(ones)):
        read = layout.read(sample)
        if read is None or _write(store, name, read) != _write(
            store, name, store.deserialize_cdr(sample, name)
        ):
            return None
    return layout


def _write(store: Typestore, name: str, message: Any) -> bytes:
    return bytes(store.serialize_cdr(message, name, little_endian=True)[_HEAD_BYTES:])


def _as_bytes(data: bytes) -> Any:
    return np.frombuffer(data, np.uint8)


def _numbers(store: Typestore, name: str, message: Any) -> Iterator[_Numbers]:
    """Yield where the numbers of a message are, in the order of its bytes; arrays without elements are none."""
    for field_name, kind in store.get_msgdef(name).fields:
        yield from _numbers_in(store, message, field_name, kind)


def _numbers_in(store: Typestore, owner: Any, key: Any, kind: Any) -> Iterator[_Numbers]:
    node, detail = kind
    value = _get(owner, key)
    if node == Nodetype.NAME:
        yield from _numbers(store, detail, value)
    elif isinstance(value, np.ndarray):
        if value.size:
            yield owner, key, kind
    elif node == Nodetype.BASE:
        if not isinstance(value, str):
            yield owner, key, kind
    else:
        for index in range(len(value)):
            yield from _numbers_in(store, value, index, detail[0])


def _maker(store: Typestore, name: str, message: Any, places: Iterator[int]) -> Maker:
    """Return what makes a message of bytes, of one like it and the places of its numbers.

    It is one expression, as the library's own readers are code that is made: a call for each field would take as long
    as all of what they do. It has names of its own alone, no text of a bag.
    """
    known: dict[str, Any] = {"array": np.frombuffer}
    source = _expression(store, name, message, places, known)
    made: Maker = eval(f"lambda data: {source}", known)  # noqa: S307
    return made


def _expression(
    store: Typestore, name: str, message: Any, places: Iterator[int], known: dict[str, Any]
) -> str:
    """Return the expression of an object; what it needs by name goes into `known`."""
    definition = store.get_msgdef(name)
    values = [getattr(message, key) for key, _ in definition.fields]
    kinds = [kind for _, kind in definition.fields]
    if kinds and all(
        kind[0] == Nodetype.BASE and not isinstance(value, str)
        for kind, value in zip(kinds, values, strict=True)
    ):
        found = f"*{_flat([_struct(kind) for kind in kinds], [next(places) for _ in kinds], known)}"
    else:
        pairs = zip(values, kinds, strict=True)
        found = ", ".join(_field(store, value, kind, places, known) for value, kind in pairs)
    return f"{_name(known, definition.cls)}({found})"


def _flat(structs: Sequence[Struct], places: Sequence[int], known: dict[str, Any]) -> str:
    """Return the expression of the numbers of an object that has no other fields, such as a time or a quaternion."""
    gaps = [
        then - place - struct.size for struct, place, then in zip(structs, places, places[1:], strict=False)
    ]
    formats = [struct.format.removeprefix("<") for struct in structs]
    whole = Struct("<" + "".join(f"{form}{gap}x" for form, gap in zip(formats, [*gaps, 0], strict=True)))
    return f"{_name(known, whole.unpack_from)}(data, {places[0]})"


def _field(store: Typestore, value: Any, kind: Any, places: Iterator[int], known: dict[str, Any]) -> str:
    """Return the expression of a field; what is the same in all messages is one object, if nobody can change it."""
    node, detail = kind
    if node == Nodetype.NAME:
        return _expression(store, detail, value, places, known)
    if isinstance(value, np.ndarray):
        if not value.size:
            return _name(known, value)
        return f"array(data, {_name(known, value.dtype)}, {value.size}, {next(places)})"
    if node == Nodetype.BASE:
        if isinstance(value, str):
            return _name(known, value)
        return f"{_name(known, _struct(kind).unpack_from)}(data, {next(places)})[0]"
    if all(isinstance(item, str) for item in value):
        return f"{_name(known, value)}.copy()"
    return f"[{', '.join(_field(store, item, detail[0], places, known) for item in value)}]"


def _name(known: dict[str, Any], value: Any) -> str:
    name = f"value_{len(known)}"
    known[name] = value
    return name


def _struct(kind: Any) -> Struct:
    """Return how the library reads a number."""
    found: Struct = getattr(primitives, f"unpack_{kind[1][0]}_le").__self__
    return found


def _fill(kind: Any, value: Any, byte: int) -> Any:
    """Return a number or an array like `value`, all of whose bytes are `byte`."""
    if isinstance(value, np.ndarray):
        return np.frombuffer(bytes([byte]) * value.nbytes, value.dtype)
    return _struct(kind).unpack_from(bytes([byte]) * 8)[0]


def _get(owner: Any, key: Any) -> Any:
    return owner[key] if isinstance(owner, list) else getattr(owner, key)


def _put(owner: Any, key: Any, value: Any) -> None:
    if isinstance(owner, list):
        owner[key] = value
    else:
        setattr(owner, key, value)
