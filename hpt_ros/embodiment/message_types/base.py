# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a type of messages is: how they are observed, and how a command becomes one, or a goal, and is read again."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.messages import NS_PER_S, DecodeError, finite, header_stamp_ns, joint_order
from hpt_ros.errors import Code
from hpt_ros.modalities import Decoder

if TYPE_CHECKING:
    from hpt_ros.embodiment.output import Output
    from hpt_ros.embodiment.streams import Stream

Floats = NDArray[np.float64]
Decoded = tuple[int, Floats]


class Knots(Protocol):
    """As `hpt_ros.control.curve.Knots`."""

    @property
    def times_ns(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def positions(self) -> Floats: ...  # noqa: D102
    @property
    def velocities(self) -> Floats: ...  # noqa: D102
    @property
    def accelerations(self) -> Floats: ...  # noqa: D102


class Curve(Protocol):
    """As `hpt_ros.control.curve.Curve`."""

    @property
    def controls(self) -> Floats: ...  # noqa: D102
    @property
    def period_ns(self) -> int: ...  # noqa: D102
    def at(self, time_ns: int) -> Any: ...  # noqa: D102
    def knots(self, from_ns: int) -> Knots: ...  # noqa: D102


class SentCommand(Protocol):
    """A command of one output's dimensions, as `hpt_ros.control.Command`."""

    @property
    def time_ns(self) -> int: ...  # noqa: D102
    @property
    def position(self) -> Floats: ...  # noqa: D102
    @property
    def velocity(self) -> Floats: ...  # noqa: D102
    @property
    def curve(self) -> Curve: ...  # noqa: D102
    @property
    def pace(self) -> float: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Sending:
    """What sending needs beside the command.

    Attributes:
        interface: the class of a message or action by its type, e.g. "builtin_interfaces/msg/Time".
        now_ns: now, on the clock of the command's times.
        past_ns: points in time are repeated from this long before now on.
        stamp_zero: header.stamp is 0, so a controller counts from when it first looks at the message, on whatever
            clock it has.
    """

    interface: Callable[[str], Any]
    now_ns: int
    past_ns: int = 0
    stamp_zero: bool = False

    def time(self, time_ns: int) -> Any:
        """builtin_interfaces/Time of nanoseconds."""
        kind = self.interface("builtin_interfaces/msg/Time")
        return kind(sec=time_ns // NS_PER_S, nanosec=time_ns % NS_PER_S)


@dataclass(frozen=True, kw_only=True, eq=False)
class CommandType:
    """How messages or goals of a type command robots.

    Attributes:
        kinds: quantities that it can carry, see `hpt_ros.embodiment.kinds`.
        controllers: who takes it, for people.
        encode: makes the message, or the goal, of a command (of the output's dimensions).
        decode: the time and values of a message, given the output, the message, its arrival in ns and the text that
            names it in errors; None: it is no message.
        several: what to do where one output moves several joints, which this type cannot; empty: it can.
        own_speed: the driver moves as fast as it likes, so it is given targets, not the way there.
    """

    kinds: tuple[str, ...]
    controllers: str
    encode: Callable[[SentCommand, Output, Sending], Any]
    decode: Callable[[Output, Any, int, str], Decoded] | None = None
    several: str = ""
    own_speed: bool = False


def _no_names(stream: Stream) -> tuple[str, ...]:
    return ()


def _never(message: Any) -> bool:
    return False


@dataclass(frozen=True, kw_only=True, eq=False)
class MessageType:
    """One type of messages or actions. Adding one: a file beside this one and its line in `MESSAGE_TYPES`.

    Attributes:
        name: of the type, e.g. "sensor_msgs/msg/JointState"; nodes import its class by it.
        decoders: modality to what makes a sample of a stream's message; none: it is not observed. A modality may name
            types itself (`hpt_ros.modalities.Modality.message_types`).
        names: gives the names of a stream's vector; none where a sample is no vector.
        fields: what a stream may take of a message, in `Stream.fields`; none: it has no such key.
        needs: keys of a stream that it needs, beside those of its modality ("joints", "length").
        empty: whether a message names no joint, has no point and no value, as drivers send it at their start and as a
            stop: it does not count.
        stamp_ns: when a message was measured, ns; 0 or None where it does not say: then its arrival counts.
        decoded_late: decoding takes long, so only messages that a tick needs are decoded, beside the control loop.
        video: its messages are packets of H.264 or H.265, of which each needs those before it.
        content: name of what it carries, where other types carry the same: a cell may have one of these.
        command: how it commands robots; None if it does not.
    """

    name: str
    decoders: Mapping[str, Decoder] = field(default_factory=dict)
    names: Callable[[Stream], tuple[str, ...]] = _no_names
    fields: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    empty: Callable[[Any], bool] = _never
    stamp_ns: Callable[[Any], int | None] = header_stamp_ns
    decoded_late: bool = False
    video: bool = False
    content: str = ""
    command: CommandType | None = None

    @property
    def debian_package(self) -> str:
        """Debian package of a ROS distribution that has the type, without ros-DISTRO-."""
        return self.name.partition("/")[0].replace("_", "-")

    @property
    def is_action(self) -> bool:
        """Whether it is an action, whose goals are sent when the target changes, and not a topic's message."""
        return "/action/" in self.name


def elements(*names: str) -> Callable[[Stream], tuple[str, ...]]:
    """Return what names a vector's elements after its stream, e.g. "tool.x"."""
    return lambda stream: tuple(f"{stream.name}.{name}" for name in names)


def rows_of_doubles(values: Floats) -> list[array[float]]:
    """A float64[] field of each row of values (n, dim), as arrays, whose elements rclpy need not look at one by one."""
    data, size = np.ascontiguousarray(values).tobytes(), values.shape[1] * values.itemsize
    return [array("d", data[row * size : (row + 1) * size]) for row in range(len(values))]


def target(command: SentCommand) -> Floats:
    """Where the robot comes to rest if it is commanded nothing more, (dim,)."""
    return np.asarray(command.curve.controls[-1])


def fill(message: Any, parts: str, values: Floats) -> None:
    """Set fields of one letter each, e.g. ``"xyz"``."""
    for part, value in zip(parts, values.tolist(), strict=True):
        setattr(message, part, value)


def in_order(output: Output, names: Any, values: Any, what: str, where: str) -> Floats:
    """Values in the output's order of a message that names its joints; others may be there."""
    joints = tuple(names)
    order = joint_order(output.message_names, joints, where)
    found = np.asarray(values, dtype=np.float64)
    if found.shape != (len(joints),):
        raise DecodeError(
            Code.WRONG_SHAPE, where, found.size, problem=f"has {{value}} {what} for {len(joints)} joints",
            expected="one for each", remedy="correct the teleoperation",
        )  # fmt: skip
    return finite(found[order], output.names, where)


def require_frame(output: Output, message: Any, where: str) -> None:
    """Raise DecodeError unless a message's header is in the output's frame: numbers of another mean something else."""
    frame = str(message.header.frame_id).lstrip("/")
    if frame != output.frame_id.lstrip("/"):
        raise DecodeError(
            Code.INVALID, f"{where}, frame_id", frame[:80],
            problem=f"is {{value}}, but the command {output.name!r} is in {output.frame_id!r}",
            remedy="correct frame_id in the embodiment file, or let its sender use that frame",
        )  # fmt: skip
