# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""ROS parameters declared from, and read back into, the configuration's dataclasses."""

from __future__ import annotations

import dataclasses
import math
import sys
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rcl_interfaces.srv import ListParameters
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from hpt_ros.errors import Code, HptError, did_you_mean
from hpt_ros.structured import read_dataclass, read_value

T = TypeVar("T")

_LARGEST = {int: 2**63 - 1, float: sys.float_info.max}
# rclpy takes an empty list for a byte array, so an empty list of strings is declared as one empty string.
_NO_STRINGS = [""]
_ARRAYS = {
    Parameter.Type.STRING_ARRAY: _NO_STRINGS,
    Parameter.Type.DOUBLE_ARRAY: [],
    Parameter.Type.INTEGER_ARRAY: [],
    Parameter.Type.BOOL_ARRAY: [],
}
# Declared by rclpy itself when a publisher or subscription is made, which may be long after the node's start.
QOS_OVERRIDES = "qos_overrides."


class StrictParameters(Node):
    """Mixin in front of rclpy's `Node` or `LifecycleNode`: what `ros2 param set` and `load` may do to a node.

    - An integer for a floating-point parameter is accepted, as is an array of them, and an empty array.
    - An unknown name is refused with a guess instead of rclpy's exception.
    - A read-only parameter accepts the value that it has, so that a node's own `ros2 param dump` loads into it; a
      change is refused with a sentence.
    """

    def set_parameters(self, parameter_list: list[Parameter[Any]]) -> list[SetParametersResult]:
        """Set each by itself; see `set_parameters_atomically`."""
        return [self.set_parameters_atomically([parameter]) for parameter in parameter_list]

    def set_parameters_atomically(self, parameter_list: list[Parameter[Any]]) -> SetParametersResult:
        """Set all or none; the result's reason is a sentence."""
        wanted: list[Parameter[Any]] = []
        for parameter in parameter_list:
            name = parameter.name
            if not self.has_parameter(name):
                return _refuse(str(_list_unknown(self, name)))
            present = self.get_parameter(name)
            asked = _to_declared(parameter, present.type_)
            if Parameter.Type.NOT_SET not in (present.type_, asked.type_) and asked.type_ != present.type_:
                return _refuse(
                    f"the parameter {name} is {parameter.value!r:.80} ({_type(parameter.type_)}), but "
                    f"{_type(present.type_)} was expected; correct it"
                )
            if name in (fields := _find_declared(self)):
                try:
                    read_value(
                        *fields[name],
                        _texts(plain(asked.value), fields[name][1]),
                        where=f"the parameter {name}",
                    )
                except HptError as error:
                    return _refuse(str(error))
            if self.describe_parameter(name).read_only:
                if plain(asked.value) == plain(present.value):
                    continue
                return _refuse(
                    f"the parameter {name} is read when the process starts; start it again with the new value"
                )
            wanted.append(asked)
        return super().set_parameters_atomically(wanted) if wanted else SetParametersResult(successful=True)


def declare(
    node: Node,
    cls: type[Any],
    *,
    read_only: Collection[str] | None = (),
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Declare every field of a dataclass as a parameter with its default, description and range; nested with dots.

    Args:
        node: whose parameters they become.
        cls: the dataclass.
        read_only: names of those that never change once the process runs; None: all of them.
        defaults: by name, in place of the dataclass's.

    Raises:
        HptError: the user's value is of the wrong type or out of range.
    """
    for name, item, hint in _fields(cls, ""):
        _find_declared(node)[name] = (item, hint)
        default = _to_ros(defaults.get(name, item.default), hint)
        _take_override(node, name, item, hint)
        try:
            node.declare_parameter(
                name, default, _descriptor(item, hint, read_only=read_only is None or name in read_only)
            )
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            sentence = " ".join(str(error).split())
            raise HptError(
                Code.INVALID, f"the parameter {name!r} of {node.get_fully_qualified_name()}",
                problem=f"has an unusable value ({sentence})", expected=f"{item.metadata['doc']}",
            ) from error  # fmt: skip


def require_known(node: Node, *, qos: bool = False) -> None:
    """Refuse values that were given at the start, by files, ``-p`` or a launch file, for parameters that there are not.

    rcl hands a node what stands under its name and under wildcards such as ``/**`` alike, so a name that belongs to
    another node in a wildcard section is refused too: a file of safety settings is applied in full or not at all.

    Args:
        node: that has declared all its parameters.
        qos: whether all publishers and subscriptions exist, so that ``qos_overrides`` must be known too.

    Raises:
        HptError: names the first one and a guess.
    """
    for name in sorted(node._parameter_overrides):
        if not node.has_parameter(name) and (qos or not name.startswith(QOS_OVERRIDES)):
            raise _list_unknown(node, name)


def read(node: Node, cls: type[T], changes: Mapping[str, Any] | None = None) -> T:
    """Build the dataclass from the node's parameters, strictly.

    Args:
        node: where `declare` was called.
        cls: the dataclass.
        changes: values by full parameter name that replace the node's, to check them before they are set.

    Raises:
        StructureError: a value out of its range.
    """
    where = f"the parameters of node {node.get_fully_qualified_name()}"
    return read_dataclass(cls, _mapping(node, cls, "", changes or {}), where=where)


def declare_fixed(node: Node, cls: type[T], defaults: Mapping[str, Any] = MappingProxyType({})) -> T:
    """Declare a dataclass as all parameters that a node has, of which none changes once it runs, and read them.

    Args:
        node: whose parameters they become.
        cls: the dataclass.
        defaults: by name, in place of the dataclass's.

    Raises:
        HptError: a value of the wrong type or out of its range, or a parameter that there is not.
    """
    declare(node, cls, read_only=None, defaults=defaults)
    require_known(node)
    return read(node, cls)


def names(*classes: type[Any]) -> frozenset[str]:
    """Names of the parameters that `declare` makes of dataclasses."""
    return frozenset(name for cls in classes for name, _, _ in _fields(cls, ""))


def check(node: Node, wanted: Mapping[str, Any], *classes: type[Any]) -> None:
    """Check values that parameters are to have, as far as they are the dataclasses' fields.

    Raises:
        HptError: they cannot be set.
    """
    for cls in classes:
        if names(cls) & wanted.keys():
            read(node, cls, wanted)


def read_changes(parameters: Sequence[Parameter[Any]]) -> dict[str, Any]:
    """Name to value of parameters that somebody wants to set."""
    return {parameter.name: plain(parameter.value) for parameter in parameters}


def plain(value: Any) -> Any:
    """A parameter's value with arrays as lists, whether it came from a file (list) or a service (array.array)."""
    return value if isinstance(value, (str, bytes)) or not isinstance(value, Sequence) else list(value)


def _find_declared(node: Node) -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    """Fields that a node's parameters were declared from, by name, with their types."""
    found: dict[str, tuple[dataclasses.Field[Any], Any]] = vars(node).setdefault("_declared_fields", {})
    return found


def _refuse(reason: str) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=reason)


def _list_unknown(node: Node, name: str) -> HptError:
    who = node.get_fully_qualified_name()
    known = node.list_parameters([], ListParameters.Request.DEPTH_RECURSIVE).names
    remedy = f"correct it ('ros2 param list {who}' lists those it has), or put another node's under that node's name"
    return HptError(
        Code.UNKNOWN, f"the node {who}", name, problem="has no parameter {value}",
        remedy=did_you_mean(name, known).removeprefix("; ") or remedy,
    )  # fmt: skip


def _type(type_: Any) -> str:
    return str(Parameter.Type(type_).name).lower().replace("_", " ")


def _to_declared(parameter: Parameter[Any], type_: Any) -> Parameter[Any]:
    """The parameter in its declared type, where that takes no guess; otherwise as it is."""
    name, value, types = parameter.name, parameter.value, Parameter.Type
    if parameter.type_ == type_:
        return parameter
    if type_ == types.DOUBLE and parameter.type_ == types.INTEGER:
        return Parameter(name, type_, float(value))
    if type_ == types.DOUBLE_ARRAY and parameter.type_ == types.INTEGER_ARRAY:
        return Parameter(name, type_, [float(item) for item in value])
    # An empty list has no type on its way: a file's is not set, rclpy's is one of bytes.
    if type_ in _ARRAYS and (value is None or (parameter.type_ == types.BYTE_ARRAY and not value)):
        return Parameter(name, type_, list(_ARRAYS[type_]))
    return parameter


def _take_override(node: Node, name: str, item: dataclasses.Field[Any], hint: Any) -> None:
    """Check the value that the user gave at the start, and give it its declared type.

    rclpy keeps these values in a private attribute (9.1.2 and 7.1.6 alike) and offers no other access; rclcpp has
    `get_parameter_overrides`.
    """
    override = node._parameter_overrides.get(name)
    if override is None:
        return
    type_ = Parameter.Type.from_parameter_value(_to_ros(item.default, hint))
    typed = _to_declared(override, type_)
    where = f"the parameter {name} of {node.get_fully_qualified_name()}"
    read_value(item, hint, _texts(plain(typed.value), hint), where=where)
    node._parameter_overrides[name] = typed


def _mapping(node: Node, cls: type[Any], prefix: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        hint, name = hints[item.name], f"{prefix}{item.name}"
        if dataclasses.is_dataclass(hint):
            values[item.name] = _mapping(node, typing.cast(Any, hint), f"{name}.", changes)
        else:
            value = plain(changes[name] if name in changes else node.get_parameter(name).value)
            values[item.name] = _texts(value, hint)
    return values


def _texts(value: Any, hint: Any) -> Any:
    """A parameter's value without the empty strings that stand for an empty list."""
    return [text for text in value if text] if hint == tuple[str, ...] and isinstance(value, list) else value


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
        return list(value) or list(_NO_STRINGS)
    return value


def _descriptor(item: dataclasses.Field[Any], hint: Any, *, read_only: bool) -> ParameterDescriptor:
    """Description and range. What a ROS range cannot state, an exclusive bound or the elements of an array, is said in
    `additional_constraints`; `read` checks it all.
    """
    meta = item.metadata
    sentence = meta["doc"] + (f" [{meta['unit']}]" if meta["unit"] else "")
    low, high, above = meta["minimum"], meta["maximum"], meta["above"]
    constraints = [f"one of {', '.join(meta['choices'])}"] if meta["choices"] else []
    if above is not None:
        constraints.append(f"more than {above:g}")
    if hint not in (int, float):
        constraints += [f"each at least {low:g}"] if low is not None else []
        constraints += [f"each at most {high:g}"] if high is not None else []
    descriptor = ParameterDescriptor(
        description=sentence, additional_constraints="; ".join(constraints), read_only=read_only
    )
    low = low if low is not None else above
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
