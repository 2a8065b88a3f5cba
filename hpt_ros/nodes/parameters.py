"""ROS parameters declared from, and read back into, the configuration's dataclasses."""

from __future__ import annotations

import dataclasses
import math
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from hpt_ros.errors import HptError
from hpt_ros.structured import read_dataclass

T = TypeVar("T")

_LARGEST = {int: 2**63 - 1, float: sys.float_info.max}
# rclpy takes an empty list for a byte array, so an empty list of strings is declared as one empty string.
_NO_STRINGS = [""]


def declare(node: Node, cls: type[Any], prefix: str = "") -> None:
    """Declare every field of a dataclass as a parameter with its default, description and range; nested with dots.

    An exclusive bound cannot be said in a descriptor; `read` checks it.

    Raises:
        HptError: the user's value is of the wrong type or out of range.
    """
    for name, item, hint in _fields(cls, prefix):
        try:
            node.declare_parameter(name, _to_ros(item.default, hint), _descriptor(item, hint))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            words = " ".join(str(error).split())
            raise HptError(
                f"the parameter {name!r} of {node.get_name()} has an unusable value ({words}), but "
                f"{item.metadata['doc']} was expected; correct it"
            ) from error


def read(node: Node, cls: type[T], changes: Mapping[str, Any] | None = None) -> T:
    """Build the dataclass from the node's parameters, strictly.

    Args:
        node: where `declare` was called with an empty prefix.
        cls: the dataclass.
        changes: values by full parameter name that replace the node's, to check them before they are set.

    Raises:
        StructureError: a value out of its range.
    """
    where = f"the parameters of node {node.get_fully_qualified_name()}"
    return read_dataclass(cls, _mapping(node, cls, "", changes or {}), where=where)


def names(*classes: type[Any]) -> frozenset[str]:
    """Names of the parameters that `declare` makes of dataclasses."""
    return frozenset(name for cls in classes for name, _, _ in _fields(cls, ""))


def refusal(node: Node, wanted: Mapping[str, Any], *classes: type[Any]) -> str:
    """Why parameters cannot be set, a sentence; empty if they can, or are none of the dataclasses' fields."""
    try:
        for cls in classes:
            if names(cls) & wanted.keys():
                read(node, cls, wanted)
    except HptError as error:
        return str(error)
    return ""


def changed(parameters: Sequence[Parameter[Any]]) -> dict[str, Any]:
    """Name to value of parameters that somebody wants to set."""
    return {parameter.name: parameter.value for parameter in parameters}


def _mapping(node: Node, cls: type[Any], prefix: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        hint, name = hints[item.name], f"{prefix}{item.name}"
        if dataclasses.is_dataclass(hint):
            values[item.name] = _mapping(node, typing.cast(Any, hint), f"{name}.", changes)
        else:
            value = changes[name] if name in changes else node.get_parameter(name).value
            values[item.name] = [text for text in value if text] if hint == tuple[str, ...] else value
    return values


def _fields(cls: type[Any], prefix: str) -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        hint, name = hints[item.name], f"{prefix}{item.name}"
        if dataclasses.is_dataclass(hint):
            yield from _fields(typing.cast(Any, hint), f"{name}.")
        else:
            yield name, item, hint


def _to_ros(value: Any, hint: Any) -> Any:
    if hint == tuple[str, ...]:
        return list(value) or _NO_STRINGS
    return value


def _descriptor(item: dataclasses.Field[Any], hint: Any) -> ParameterDescriptor:
    meta = item.metadata
    words = meta["doc"] + (f" [{meta['unit']}]" if meta["unit"] else "")
    constraints = f"one of {', '.join(meta['choices'])}" if meta["choices"] else ""
    if meta["above"] is not None:
        constraints = f"more than {meta['above']:g}"
    descriptor = ParameterDescriptor(description=words, additional_constraints=constraints)
    low = meta["minimum"] if meta["minimum"] is not None else meta["above"]
    high = meta["maximum"]
    if hint in (int, float) and (low is not None or high is not None):
        largest = _LARGEST[hint]
        bounds = (hint(-largest if low is None else low), hint(largest if high is None else high))
        if hint is float:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=bounds[0], to_value=bounds[1], step=0.0)
            ]
        elif math.isfinite(bounds[0]):
            descriptor.integer_range = [IntegerRange(from_value=bounds[0], to_value=bounds[1], step=0)]
    return descriptor
