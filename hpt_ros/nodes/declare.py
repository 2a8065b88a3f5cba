"""ROS parameters from a frozen dataclass whose fields were made with `hpt_ros.structured.field`."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node

from hpt_ros.errors import HptError
from hpt_ros.structured import read_dataclass

T = TypeVar("T")

_INT64_MAX = 2**63 - 1
_FLOAT_MAX = 1.7976931348623157e308


def declare_parameters(node: Node, cls: type[T]) -> T:
    """Declare one read-only ROS parameter for each field of `cls`, and return what the user set.

    Each parameter carries the field's description and range; the default is the dataclass's.

    Raises:
        HptError: a value of the wrong type or out of its range.
    """
    values: dict[str, Any] = {}
    for item in dataclasses.fields(cls):  # type: ignore[arg-type]
        try:
            values[item.name] = node.declare_parameter(item.name, item.default, _descriptor(item)).value
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise HptError(
                f"the parameter {item.name!r} of {node.get_name()} has an unusable value "
                f"({' '.join(str(error).split())}); "
                f"expected {item.metadata['doc']}"
            ) from error
    return read_dataclass(cls, values, where=f"the parameters of {node.get_name()}")


def _descriptor(item: dataclasses.Field[Any]) -> ParameterDescriptor:
    unit = item.metadata["unit"]
    descriptor = ParameterDescriptor(
        name=item.name, description=item.metadata["doc"] + (f" [{unit}]" if unit else ""), read_only=True
    )
    low, high = item.metadata["minimum"], item.metadata["maximum"]
    if isinstance(item.default, int) and not isinstance(item.default, bool) and (low, high) != (None, None):
        limits = IntegerRange(
            from_value=int(low or 0), to_value=_INT64_MAX if high is None else int(high), step=0
        )
        descriptor.integer_range = [limits]
    if isinstance(item.default, float) and (low, high) != (None, None):
        bounds = FloatingPointRange(
            from_value=-_FLOAT_MAX if low is None else float(low),
            to_value=_FLOAT_MAX if high is None else float(high),
        )
        descriptor.floating_point_range = [bounds]
    return descriptor
