# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Messages without ROS: objects with the fields of ROS messages, for code that takes any object that has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NS_PER_S = 1_000_000_000


class Message:
    """Fields by name; a header that nobody set has the stamp 0, as a new ROS message's.

    A field that was not set is missing, so that a reader of it fails rather than reads a default that ROS lacks.
    """

    header: Any

    def __init__(self, **fields: Any) -> None:
        """Set these fields."""
        self.__dict__ = fields

    def __getattr__(self, name: str) -> Any:
        """Make the header on its first use; every other field must be set."""
        if name != "header":
            raise AttributeError(
                f"the message has no field {name!r}, only {', '.join(self.__dict__) or 'none'}"
            )
        self.header = Message(stamp=Message(sec=0, nanosec=0), frame_id="")
        return self.header


def _pose() -> Message:
    return Message(position=Message(), orientation=Message())


def _twist() -> Message:
    return Message(linear=Message(), angular=Message())


def _array(data: Sequence[float]) -> Message:
    return Message(layout=Message(dim=[], data_offset=0), data=data)


# What a new message of these types has inside, for encoders that fill it.
_INSIDE: Mapping[str, Callable[..., Message]] = {
    "geometry_msgs/msg/PoseStamped": lambda: Message(pose=_pose()),
    "geometry_msgs/msg/Twist": _twist,
    "geometry_msgs/msg/TwistStamped": lambda: Message(twist=_twist()),
    "std_msgs/msg/Float64MultiArray": _array,
}


def interface(type_: str) -> Callable[..., Message]:
    """Return what stands for the class of a message type, as `hpt_ros.embodiment.message_types.Sending` wants it."""
    return _INSIDE.get(type_, Message)


def stamped(time_ns: int, frame_id: str = "", **fields: Any) -> Message:
    """Make a message with a header of this time in ns."""
    stamp = Message(sec=time_ns // NS_PER_S, nanosec=time_ns % NS_PER_S)
    return Message(header=Message(stamp=stamp, frame_id=frame_id), **fields)


@dataclass(frozen=True, slots=True)
class Sample:
    """One message of a sensor.

    Attributes:
        topic: that it comes on, as the embodiment names it.
        message: any object with the fields of the topic's message type.
        arrival_ns: when it is there, on the environment's clock; its header has when it was measured.
    """

    topic: str
    message: Any
    arrival_ns: int
