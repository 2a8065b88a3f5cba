# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""JSON schemas of what `hpt_ros.structured.read_dataclass` takes, from the same fields."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from hpt_ros.structured import Tagged, is_union, to_plain, type_hints


def json_schema(cls: type[Any], *, title: str) -> dict[str, Any]:
    """Return a JSON schema (draft 2020-12) of the mappings that `read_dataclass` takes for a dataclass.

    It is as strict: keys, types, ranges and choices. What a dataclass checks of several keys at once is not in it.
    """
    definitions: dict[str, Any] = {}
    schema = _schema_of(cls, {}, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **definitions.pop(schema["$ref"].removeprefix("#/$defs/")),
        "$defs": dict(sorted(definitions.items())),
    }


def _schema_of(hint: Any, metadata: Mapping[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        (inner,) = [arg for arg in args if arg is not type(None)]
        return {"anyOf": [_schema_of(inner, metadata, definitions), {"type": "null"}]}
    if origin is tuple:
        return {"type": "array", "items": _schema_of(args[0], metadata, definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema_of(args[1], metadata, definitions)}
    if is_union(hint):
        return {"oneOf": [_schema_of(hint.of_kind(name), {}, definitions) for name in hint.kinds()]}
    if dataclasses.is_dataclass(hint):
        name = typing.cast(Any, hint).__name__
        if name not in definitions:
            definitions[name] = {}  # before its fields, which may hold it again
            definitions[name] = _object_schema(typing.cast(Any, hint), definitions)
        return {"$ref": f"#/$defs/{name}"}
    if hint is Any:
        return {}
    schema: dict[str, Any] = {"type": {bool: "boolean", int: "integer", float: "number", str: "string"}[hint]}
    if hint is str and metadata.get("choices"):
        schema["enum"] = list(metadata["choices"])
    if hint in (int, float):
        bounds = {"minimum": "minimum", "maximum": "maximum", "above": "exclusiveMinimum"}
        schema |= {key: metadata[name] for name, key in bounds.items() if metadata.get(name) is not None}
    return schema


def _object_schema(cls: type[Any], definitions: dict[str, Any]) -> dict[str, Any]:
    hints = type_hints(cls)
    fields = [item for item in dataclasses.fields(cls) if item.init]
    properties = {}
    for item in fields:
        schema = _schema_of(hints[item.name], item.metadata, definitions)
        doc, unit = item.metadata.get("doc", ""), item.metadata.get("unit", "")
        if doc:
            schema["description"] = f"{doc} [{unit}]" if unit else doc
        if item.default is not dataclasses.MISSING:
            schema["default"] = to_plain(item.default)
        properties[item.name] = schema
    tag = []
    if issubclass(cls, Tagged):
        properties = {"kind": {"const": cls.kind}} | properties
        tag = ["kind"] if cls.kind != cls.default_kind else []
    required = tag + [
        item.name
        for item in fields
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    ]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
