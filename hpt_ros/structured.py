# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Strict reading of frozen dataclasses from plain mappings (YAML), and back.

One set of dataclasses is the schema of the embodiment file, of the policy's configuration, of the training recipe
and of the nodes' parameters. Reading is strict: unknown and missing keys, wrong types and values out of range are
errors that name the position in the file. Supported field types: bool, int, float, str, nested dataclasses,
``tuple[X, ...]``, ``dict[str, X]``, ``X | None`` and tagged unions (`Tagged`).
"""

from __future__ import annotations

import dataclasses
import math
import sys
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml

from hpt_ros.errors import Code, HptError, did_you_mean

T = TypeVar("T")

MAX_YAML_BYTES = 4 * 1024 * 1024  # an embodiment file is a few KiB; anything near this is not one of ours


class StructureError(HptError):
    """A mapping does not fit the dataclass that it was read into."""


class Tagged:
    """Base of a union of dataclasses: the key `kind` of a mapping says of which one the other keys are.

    A union is a dataclass of the keys that all its kinds have, with `kinds`, `of_kind` and `default_kind`; a kind is a
    frozen dataclass that inherits from it, with a `kind`.
    """

    __slots__ = ()
    kind: ClassVar[str] = ""
    default_kind: ClassVar[str]

    @classmethod
    def kinds(cls) -> Collection[str]:
        """Return the names of all kinds."""
        raise NotImplementedError

    @classmethod
    def of_kind(cls, name: str) -> type[Any]:
        """Return the dataclass of a kind."""
        raise NotImplementedError


def is_union(cls: object) -> bool:
    """Return whether a class is a union itself, and none of its kinds."""
    return isinstance(cls, type) and issubclass(cls, Tagged) and not cls.kind


def field(
    doc: str,
    *,
    default: Any = dataclasses.MISSING,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    choices: Collection[str] = (),
) -> Any:
    """Declare a dataclass field with its description, unit and permitted range.

    Args:
        doc: one line for people; becomes the ROS parameter's description too.
        default: the value when the key is absent; a field without one must be given.
        unit: SI unit as text, e.g. ``"s"``.
        minimum, maximum: inclusive bounds of a number, or of each number in a tuple.
        above: exclusive lower bound.
        choices: the permitted strings.
    """
    metadata = {
        "doc": doc,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "above": above,
        "choices": choices,
    }
    return dataclasses.field(default=default, metadata=metadata)


def load_yaml_mapping(text: str, *, where: str) -> dict[str, Any]:
    """Parse YAML text that must be one mapping; `where` names the text in errors.

    Raises:
        StructureError: not YAML, not a mapping, or larger than `MAX_YAML_BYTES`.
    """
    if len(text) > MAX_YAML_BYTES:
        raise StructureError(
            Code.OUT_OF_RANGE, where, len(text),
            problem=f"has {{value}} characters, more than the {MAX_YAML_BYTES} allowed",
            remedy="look whether it is the right file",
        )  # fmt: skip
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        first = " ".join(str(error).split())[:300]
        raise StructureError(
            Code.UNREADABLE, where, problem="is not valid YAML", cause=first, remedy="correct the file",
        ) from error  # fmt: skip
    if not isinstance(data, dict):
        kind = "empty" if data is None else type(data).__name__
        raise StructureError(
            Code.WRONG_TYPE, where, problem=f"is {kind}", expected="a YAML mapping of names to values",
            remedy="correct the file",
        )  # fmt: skip
    return data


def read_yaml_file(path: Path) -> dict[str, Any]:
    """Read a YAML mapping from a file; errors name the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise StructureError(
            Code.NOT_FOUND, f"the file {str(path)!r}", remedy="give the path of an existing YAML file",
        ) from error  # fmt: skip
    except (OSError, UnicodeDecodeError) as error:
        raise StructureError(
            Code.UNREADABLE, f"the file {str(path)!r}", problem="cannot be read as text", cause=error,
            remedy="give a readable YAML file",
        ) from error  # fmt: skip
    return load_yaml_mapping(text, where=f"the file {str(path)!r}")


def read_dataclass(cls: type[T], data: object, *, where: str) -> T:
    """Build the dataclass `cls` from a mapping, strictly.

    Args:
        cls: a dataclass type.
        data: the mapping (as from YAML).
        where: the mapping's name in error messages, e.g. ``"embodiment 'robot.yaml'"``.

    Raises:
        StructureError: an unknown or missing key, a wrong type, a value outside the declared range.
    """
    if not isinstance(data, Mapping):
        raise StructureError(
            Code.WRONG_TYPE, where, data, problem=f"is {_describe(data)}", expected="a mapping",
            remedy=f"see the fields of {cls.__name__}",
        )  # fmt: skip
    if is_union(cls):
        cls, data = _kind_of(cls, data, where)
    hints = type_hints(cls)
    known = {item.name: item for item in dataclasses.fields(typing.cast(Any, cls)) if item.init}
    for key in data:
        if key not in known:
            hint = did_you_mean(str(key), known).removeprefix("; ")
            raise StructureError(
                Code.UNEXPECTED, where, key,
                problem=f"has the unknown key {{value}}{_of_kind(cls)}; known keys are {', '.join(known)}", remedy=hint,
            )  # fmt: skip
    values: dict[str, Any] = {}
    for name, item in known.items():
        if name in data:
            values[name] = _convert(hints[name], data[name], f"{where}, key {name!r}")
            _check_range(values[name], item.metadata, f"{where}, key {name!r}")
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            doc = item.metadata.get("doc", "")
            raise StructureError(
                Code.MISSING, where, name, problem=f"lacks the key {{value}}{f' ({doc})' if doc else ''}",
            )  # fmt: skip
    return cls(**values)


def read_value(item: dataclasses.Field[Any], hint: Any, value: object, *, where: str) -> Any:
    """Check one value as `read_dataclass` would for a field.

    Args:
        item: the field, declared with `field`.
        hint: its resolved type.
        value: as from YAML.
        where: the value's name in error messages.

    Raises:
        StructureError: a wrong type, or a value outside the declared range.
    """
    found = _convert(hint, value, where)
    _check_range(found, item.metadata, where)
    return found


def to_mapping(instance: Any) -> dict[str, Any]:
    """Turn a dataclass into plain dicts, lists and scalars that YAML can hold; inverse of `read_dataclass`.

    Fields that are None are left out, since their default is None.
    """
    result: dict[str, Any] = {"kind": instance.kind} if isinstance(instance, Tagged) else {}
    for item in dataclasses.fields(instance):
        value = getattr(instance, item.name)
        if value is not None and item.init:
            result[item.name] = to_plain(value)
    return result


def dump_yaml(mapping: Mapping[str, Any]) -> str:
    """Write a mapping as YAML text in its own order; the text is the same for the same mapping."""
    plain = dict(mapping)
    text = _dump(plain, allow_unicode=True)
    # Some line separators of Unicode do not survive as themselves; escaped they do.
    return text if yaml.safe_load(text) == plain else _dump(plain, allow_unicode=False)


def _dump(plain: dict[str, Any], *, allow_unicode: bool) -> str:
    return yaml.safe_dump(
        plain, sort_keys=False, allow_unicode=allow_unicode, default_flow_style=None, width=110
    )


def differences(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """List (dotted key, value in a, value in b) where two plain mappings differ; a missing key shows as None."""
    found: list[tuple[str, Any, Any]] = []
    for key in [*a, *(key for key in b if key not in a)]:
        left, right, path = a.get(key), b.get(key), f"{prefix}{key}"
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += differences(left, right, f"{path}.")
        elif left != right:
            found.append((path, left, right))
    return found


def without_other_kinds(union: type[Tagged], mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping of a union without the keys that only kinds other than its own have."""
    names = union.kinds()
    kind = mapping.get("kind", union.default_kind)
    if kind not in names:  # reading it says so
        return dict(mapping)
    own = {item.name for item in dataclasses.fields(union.of_kind(kind))}
    others = {item.name for name in names for item in dataclasses.fields(union.of_kind(name))} - own
    return {key: value for key, value in mapping.items() if key not in others}


def union_at(cls: Any, keys: Sequence[str]) -> type[Tagged] | None:
    """Return the union that nested keys of a dataclass lead to; None if they lead to something else."""
    for key in keys:
        if not dataclasses.is_dataclass(cls) or is_union(cls):
            return None
        cls = type_hints(typing.cast(type, cls)).get(key)
    return typing.cast("type[Tagged]", cls) if is_union(cls) else None


def _kind_of(cls: type[Any], data: Mapping[str, Any], where: str) -> tuple[type[Any], dict[str, Any]]:
    """Return the dataclass that a mapping's `kind` names, and the mapping's other keys."""
    kind, known = data.get("kind", cls.default_kind), cls.kinds()
    subject = f"{where}, key 'kind'"
    if not isinstance(kind, str):
        raise StructureError(
            Code.WRONG_TYPE,
            subject,
            kind,
            problem=f"is {_describe(kind)}",
            expected=f"one of {', '.join(known)}",
        )
    if kind not in known:
        raise StructureError(Code.UNKNOWN, subject, kind, known=known)
    return cls.of_kind(kind), {key: value for key, value in data.items() if key != "kind"}


def _of_kind(cls: type[Any]) -> str:
    return f" for the kind {cls.kind!r}" if issubclass(cls, Tagged) else ""


def type_hints(cls: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields by name."""
    module = sys.modules[cls.__module__]
    return typing.get_type_hints(cls, vars(module))


def to_plain(value: Any) -> Any:
    """Return a value as YAML and JSON have it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_mapping(value)
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    return value


def _describe(value: object) -> str:
    text = repr(value)
    return f"{text[:80]} ({type(value).__name__})"


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        (inner,) = [arg for arg in args if arg is not type(None)]
        return _convert(inner, value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise StructureError(
                Code.WRONG_TYPE, where, value, problem=f"is {_describe(value)}", expected="a list",
                remedy="write [a, b, ...]",
            )  # fmt: skip
        return tuple(_convert(args[0], item, f"{where}, item {index}") for index, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise StructureError(
                Code.WRONG_TYPE, where, value, problem=f"is {_describe(value)}", expected="a mapping",
                remedy="write name: value",
            )  # fmt: skip
        return {str(key): _convert(args[1], item, f"{where}, entry {key!r}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return read_dataclass(typing.cast(Any, hint), value, where=where)
    return _scalar(hint, value, where)


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
        raise StructureError(
            Code.NOT_FINITE, where, value, problem=f"is {repr(value)[:40]}", expected="a finite number",
        )  # fmt: skip
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if (hint is str and isinstance(value, str)) or (hint is bool and isinstance(value, bool)):
        return value
    name = getattr(hint, "__name__", str(hint))
    raise StructureError(Code.WRONG_TYPE, where, value, problem=f"is {_describe(value)}", expected=name)


def _check_range(value: Any, metadata: Mapping[str, Any], where: str) -> None:
    if isinstance(value, tuple):
        for index, item in enumerate(value):
            _check_range(item, metadata, f"{where}, item {index}")
        return
    choices = metadata.get("choices", ())
    if isinstance(value, str) and choices and value not in choices:
        raise StructureError(Code.UNKNOWN, where, value, known=choices)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    unit = f" {metadata['unit']}" if metadata.get("unit") else ""
    minimum, maximum, above = metadata.get("minimum"), metadata.get("maximum"), metadata.get("above")
    for bound, bad, words in (
        (minimum, minimum is not None and value < minimum, "at least"),
        (maximum, maximum is not None and value > maximum, "at most"),
        (above, above is not None and value <= above, "more than"),
    ):
        if bad:
            raise StructureError(
                Code.OUT_OF_RANGE, where, value, problem=f"is {value:g}{unit}", expected=f"{words} {bound:g}{unit}",
            )  # fmt: skip
