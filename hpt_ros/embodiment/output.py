# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The outputs: which topics and actions command the robot, with which messages, and the limits of each dimension."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hpt_ros.embodiment.kinds import (
    AXES,
    BASE_VELOCITY,
    CARTESIAN,
    CARTESIAN_POSE,
    CARTESIAN_TWIST,
    JOINT_POSITION,
    JOINTS,
    KINDS,
    TWIST_ELEMENTS,
)
from hpt_ros.embodiment.message_types import COMMANDS, MESSAGE_TYPES, CommandType, MessageType, by_path
from hpt_ros.embodiment.message_types.joint_jog import FORMS
from hpt_ros.embodiment.rotations import REPRESENTATIONS, elements
from hpt_ros.embodiment.streams import (
    BY_ARRIVAL,
    BY_STAMP,
    with_prefix,
)
from hpt_ros.structured import field

# Types that a file without outputs may have.
ONE_COMMAND = tuple(
    name
    for name, command in COMMANDS.items()
    if JOINT_POSITION in command.kinds and command.decode is not None
)
RECORDED_TYPE = "sensor_msgs/msg/JointState"
SINGLE = "action"  # name of the one output of a file that lists none
TOLERANCE_S = 0.1
URDF_KEYS = ("lower", "upper", "velocity")  # limits that a URDF has too


def tolerance_field() -> Any:
    """Return the field of how old a command may be."""
    return field("oldest command that still counts at a tick", default=TOLERANCE_S, unit="s", above=0.0)


def latency_field() -> Any:
    """Return the field of how early a command is sent."""
    return field(
        "how far ahead of its time a command is sent", default=0.0, unit="s", minimum=0.0, maximum=2.0
    )


def time_field() -> Any:
    """Return the field of whose clock says when a command was sent."""
    return field(
        "what says when a command was sent: its header's stamp, or its arrival, for a sender with a clock of its own; "
        "in recordings",
        default=BY_STAMP, choices=(BY_STAMP, BY_ARRIVAL),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class JointLimit:
    """Limits of one commanded dimension, in the action's unit and its derivatives.

    A joint's lower, upper and velocity may be left out, for the robot's URDF to give (`with_limits`). It has no
    acceleration. A continuous joint has no lower and upper at all. Of a base's axis lower and upper are its velocities
    too, and the opposite of `velocity` and itself if they are left out.
    """

    name: str = field("the action's name")
    lower: float | None = field("lowest permitted command; left out: robot_description's", default=None)
    upper: float | None = field("highest permitted command; left out: robot_description's", default=None)
    velocity: float | None = field(
        "largest permitted speed; left out: robot_description's", default=None, above=0.0
    )
    acceleration: float = field("largest permitted acceleration", above=0.0)
    jerk: float | None = field("largest permitted jerk; left out: none", default=None, above=0.0)
    continuous: bool = field(
        "the joint turns without end, and a turn further is the same position; in rad", default=False
    )

    @property
    def missing(self) -> tuple[str, ...]:
        """Keys that are left out, and are needed."""
        needed = ("velocity",) if self.continuous else URDF_KEYS
        return tuple(key for key in needed if getattr(self, key) is None)


@dataclass(frozen=True)
class RotationLimit:
    """Limits of a commanded orientation, whatever the axis."""

    velocity: float = field("largest permitted angular speed", unit="rad/s", above=0.0)
    acceleration: float = field("largest permitted angular acceleration", unit="rad/s^2", above=0.0)


@dataclass(frozen=True)
class Goals:
    """How the goals of a gripper's action are made and when one is sent; the gripper keeps the last."""

    max_effort: float = field("largest force or torque; 0: the driver's own", default=0.0, minimum=0.0)
    scale: float = field(
        "the driver's unit per unit of the joint, e.g. 2.0 for the gap of two fingers", default=1.0, above=0.0
    )
    resolution: float = field(
        "a target that moved by no more than this since the last goal is not sent, in the action's unit",
        default=0.001, minimum=0.0,
    )  # fmt: skip
    rate_hz: float = field("at most so many goals a second", default=5.0, unit="Hz", above=0.0, maximum=100.0)


@dataclass(frozen=True)
class Recorded:
    """The topic that has an action's targets in recordings, since goals are no messages."""

    topic: str = field("topic name; a relative one lies in the namespace of the node")
    type: str = field("message type", default=RECORDED_TYPE, choices=COMMANDS)


@dataclass(frozen=True)
class Output:
    """One topic or action by which a part of the robot is commanded."""

    name: str = field("short name, such as arm or gripper")
    topic: str = field(
        "name of the command's topic, or of the action; a relative one lies in the namespace of the node"
    )
    type: str = field("message or action type; with values any message type that is installed")
    kind: str = field("quantity commanded", default=JOINT_POSITION, choices=KINDS)
    names: tuple[str, ...] = field(
        "commanded joints, in the order of the message; of a base its axes, some of vx, vy, vz, wx, wy, wz; none if "
        "Cartesian",
        default=(),
    )
    prefix: str = field(
        "put before the joints' names, which messages have without it, such as left/ where two arms have equal names; "
        "limits and grippers are given with it",
        default="",
    )
    values: tuple[str, ...] = field(
        "paths of the joints' numbers in a message of whatever type, one for each name, such as data or position; a "
        "bool is true from 0.5 on",
        default=(),
    )
    rotation: str = field(
        "how the action vector holds an orientation; for cartesian_pose",
        default="rotation_6d", choices=REPRESENTATIONS,
    )  # fmt: skip
    frame_id: str = field("fixed frame of a Cartesian command and of its measured pose", default="")
    pose: str = field("the PoseStamped state stream with the measured pose; for Cartesian kinds", default="")
    rotation_limit: RotationLimit | None = field(
        "limits of the orientation; for Cartesian kinds", default=None
    )
    unit: str = field("unit of the values", default="rad")
    tolerance_s: float = tolerance_field()
    latency_s: float = latency_field()
    time: str = time_field()
    jog: str | None = field("what a JointJog holds; left out: velocities", default=None, choices=FORMS)
    goal: Goals | None = field("goals of a gripper's action; left out: its defaults", default=None)
    recorded: Recorded | None = field(
        "where recordings have an action's targets; left out: a JointState on the action's name and /target, which the "
        "policy node publishes",
        default=None,
    )

    def add_prefix(self) -> Output:
        """The same with its prefix before its joints' names, where it is not yet."""
        return replace(self, names=with_prefix(self.prefix, self.names)) if self.prefix else self

    @cached_property
    def message_names(self) -> tuple[str, ...]:
        """The joints as messages name them, in the order of `names`."""
        return tuple(name.removeprefix(self.prefix) for name in self.names)

    @property
    def command(self) -> CommandType:
        """What its messages or goals are."""
        command = self.message_type.command
        assert command is not None  # the schema saw to it
        return command

    @cached_property
    def message_type(self) -> MessageType:
        """What its messages are, or the action's goals."""
        return by_path.any_type(self.type) if self.values else MESSAGE_TYPES[self.type]

    @cached_property
    def is_action(self) -> bool:
        """Whether its commands are goals of an action, and not a topic's messages."""
        return self.message_type.is_action

    @property
    def cartesian(self) -> bool:
        """Whether it commands a tool's pose or twist."""
        return self.kind in CARTESIAN

    @property
    def joints(self) -> tuple[str, ...]:
        """Joints that it commands."""
        return self.names if self.kind in JOINTS else ()

    @property
    def goals(self) -> Goals:
        """How goals are made."""
        return self.goal or Goals()

    @cached_property
    def recorded_as(self) -> Recorded:
        """The topic that has its commands in recordings: its own, or that of an action's targets."""
        if not self.is_action:
            return Recorded(self.topic, self.type)
        return self.recorded or Recorded(f"{self.topic}/target")

    def with_topic(self, resolve: Callable[[str], str]) -> Output:
        """The same with its names resolved."""
        recorded = self.recorded
        if recorded is not None:
            recorded = replace(recorded, topic=resolve(recorded.topic))
        return replace(self, topic=resolve(self.topic), recorded=recorded)

    @cached_property
    def elements(self) -> tuple[str, ...]:
        """Names of its part of the action vector."""
        if self.kind == CARTESIAN_POSE:
            parts = (*AXES, *elements(self.rotation))
        elif self.kind == CARTESIAN_TWIST:
            parts = TWIST_ELEMENTS
        elif self.kind == BASE_VELOCITY:
            parts = self.names
        else:
            return self.names
        return tuple(f"{self.name}.{part}" for part in parts)

    @cached_property
    def limited(self) -> tuple[str, ...]:
        """Names that the action's limits are of: joints, a base's axes, or the position of a Cartesian command."""
        if self.kind == BASE_VELOCITY:
            return self.elements
        return tuple(f"{self.name}.{axis}" for axis in AXES) if self.cartesian else self.names


@dataclass(frozen=True)
class OutputSlice:
    """An output, and where it stands in the action vector and in the control vector."""

    output: Output
    action: slice
    control: slice
