# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Objects with the fields of ROS messages as bytes, without ROS."""

from __future__ import annotations

from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys.store import Typestore

from hpt_ros.errors import Code
from rosbag_tools.errors import BagError

_TEXT = ("string", "wstring")


def serialize(message: Any, type_: str, types: Typestore) -> bytes:
    """Return a message as CDR with its four bytes of encapsulation.

    A field that the object lacks is as in a new ROS message: 0, false, an empty text or list.

    Args:
        message: any object with the fields of its type.
        type_: name of the message type.
        types: definitions of it and of all that it is made of.

    Raises:
        BagError: a field holds what its type cannot.
    """
    try:
        return bytes(types.serialize_cdr(_build(message, type_, types), type_))
    except (TypeError, ValueError, AttributeError, OverflowError, AssertionError) as error:
        first = " ".join(str(error).split())[:200]
        raise BagError(
            Code.INVALID, "a message", type_, problem="cannot be written as {value}",
            cause=f"{type(error).__name__}: {first}", remedy="correct its fields",
        ) from error  # fmt: skip


def _build(message: Any, type_: str, types: Typestore) -> Any:
    definition = types.get_msgdef(type_)
    values = {name: _value(getattr(message, name, None), field, types) for name, field in definition.fields}
    return definition.cls(**values)


def _value(value: Any, field: Any, types: Typestore) -> Any:
    kind, about = field
    if kind is Nodetype.BASE:
        name = about[0]
        if name in _TEXT:
            return "" if value is None else str(value)
        return np.dtype(name).type(0 if value is None else value).item()
    if kind is Nodetype.NAME:
        return _build(value, about, types)
    inner, length = about
    count = length if kind is Nodetype.ARRAY else 0
    if inner[0] is Nodetype.BASE and inner[1][0] not in _TEXT:
        dtype = np.dtype(inner[1][0])
        return np.zeros(count, dtype) if value is None else np.ascontiguousarray(value, dtype)
    items = [None] * count if value is None else value
    return [_value(item, inner, types) for item in items]
