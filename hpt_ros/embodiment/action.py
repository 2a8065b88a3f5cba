# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The action: which topics command the robot, with which messages, and within which limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from hpt_ros.embodiment.kinds import (
    AXES,
    BASE_VELOCITY,
    CARTESIAN,
    CARTESIAN_POSE,
    CARTESIAN_TWIST,
    JOINT_POSITION,
    JOINT_VELOCITY,
    JOINTS,
    KINDS,
    TWIST_ELEMENTS,
    VELOCITIES,
)
from hpt_ros.embodiment.message_types import COMMANDS, MESSAGE_TYPES, CommandType, MessageType, by_path
from hpt_ros.embodiment.message_types.joint_jog import FORMS
from hpt_ros.embodiment.rotations import REPRESENTATIONS, elements
from hpt_ros.embodiment.streams import (
    BY_ARRIVAL,
    BY_STAMP,
    NAME,
    EmbodimentError,
    Stream,
    check_prefix,
    check_recorded_topic,
    in_namespace,
    with_prefix,
)
from hpt_ros.errors import Code
from hpt_ros.structured import field

MODES = ("absolute", "delta", "relative")
# Types that a file without outputs may have.
ONE_COMMAND = tuple(
    name
    for name, command in COMMANDS.items()
    if JOINT_POSITION in command.kinds and command.decode is not None
)
RECORDED_TYPE = "sensor_msgs/msg/JointState"
SINGLE = "action"  # name of the one output of a file that lists none
TOLERANCE_S = 0.1
# Frames that jump when a robot corrects where it believes to be (REP 105): a target in one would jump with it.
JUMPING_FRAMES = ("map", "earth")
URDF_KEYS = ("lower", "upper", "velocity")  # limits that a URDF has too
DEFAULT_RATE_HZ = 100.0  # the command rate that most arms' position controllers are run at


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
    tolerance_s: float = field(
        "oldest command that still counts at a tick", default=TOLERANCE_S, unit="s", above=0.0
    )
    latency_s: float = field(
        "how far ahead of its time a command is sent", default=0.0, unit="s", minimum=0.0, maximum=2.0
    )
    time: str = field(
        "what says when a command was sent: its header's stamp, or its arrival, for a sender with a clock of its own; "
        "in recordings",
        default=BY_STAMP, choices=(BY_STAMP, BY_ARRIVAL),
    )  # fmt: skip
    jog: str | None = field("what a JointJog holds; left out: velocities", default=None, choices=FORMS)
    goal: Goals | None = field("goals of a gripper's action; left out: its defaults", default=None)
    recorded: Recorded | None = field(
        "where recordings have an action's targets; left out: a JointState on the action's name and /target, which the "
        "policy node publishes",
        default=None,
    )

    def prefixed(self) -> Output:
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

    @property
    def message_type(self) -> MessageType:
        """What its messages are, or the action's goals."""
        return by_path.any_type(self.type) if self.values else MESSAGE_TYPES[self.type]

    @property
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

    @property
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


@dataclass(frozen=True, kw_only=True)
class Action:
    """What the policy commands, and what a teleoperator commanded while recording.

    A robot with one command gives its topic, type and names; one with several, or a Cartesian one, lists `outputs`,
    and `names` and `unit` follow from them.
    """

    limits: tuple[JointLimit, ...] = field(
        "limits: one per joint and per axis of a Cartesian position, in the order of the commands"
    )
    rate_hz: float = field(
        "rate at which commands are sent", default=DEFAULT_RATE_HZ, unit="Hz", above=0.0, maximum=1000.0
    )
    horizon: int = field("ticks in one predicted chunk, 2 or more", maximum=256)
    topic: str = field(
        "topic name of the command; a relative one lies in the namespace of the node", default=""
    )
    type: str = field("message type", default="", choices=("", *ONE_COMMAND))
    names: tuple[str, ...] = field("commanded joints, in the order of the action vector", default=())
    kind: str = field("quantity commanded", default=JOINT_POSITION, choices=(JOINT_POSITION,))
    mode: str = field(
        "what the policy's values are relative to: nothing, the action before, or the pose at the observation; "
        "grippers and twists always to nothing",
        default="absolute", choices=MODES,
    )  # fmt: skip
    unit: str = field("unit of the values", default="rad")
    tolerance_s: float = field(
        "oldest command that still counts at a tick", default=TOLERANCE_S, unit="s", above=0.0
    )
    latency_s: float = field(
        "how far ahead of its time a command is sent", default=0.0, unit="s", minimum=0.0, maximum=2.0
    )
    time: str = field(
        "what says when a command was sent: its header's stamp, or its arrival, for a sender with a clock of its own; "
        "in recordings",
        default=BY_STAMP, choices=(BY_STAMP, BY_ARRIVAL),
    )  # fmt: skip
    grippers: tuple[str, ...] = field(
        "names that open and close: never blended or averaged, absolute in every mode, slowed by themselves",
        default=(),
    )
    outputs: tuple[Output, ...] = field("several commands, or Cartesian ones", default=())

    @property
    def dim(self) -> int:
        """Length of the action vector."""
        return len(self.names)

    @cached_property
    def parts(self) -> tuple[Output, ...]:
        """The commands in the order of the action vector; one of the name "action" for a file that lists none."""
        if self.outputs:
            return self.outputs
        return (
            Output(
                SINGLE, self.topic, self.type, names=self.names, unit=self.unit, tolerance_s=self.tolerance_s,
                latency_s=self.latency_s, time=self.time,
            ),
        )  # fmt: skip

    def gripper_only(self, output: Output) -> bool:
        """Whether an output is grippers alone, which are often commanded only when they are to change."""
        return bool(output.names) and set(output.names) <= set(self.grippers)


# Keys that say the same as `outputs` do.
_OF_ONE = ("topic", "type", "names", "kind", "unit", "tolerance_s", "latency_s", "time")
_OF_SEVERAL = ("outputs", "grippers")


def redundant_keys(action: Action) -> tuple[str, ...]:
    """Keys that an action's text does without."""
    return _OF_ONE if action.outputs else tuple(key for key in _OF_SEVERAL if not getattr(action, key))


def completed(action: Action, given: Mapping[str, object], where: str) -> Action:
    """The action with what follows from its outputs.

    Args:
        action: as it was read.
        given: the keys that the file had.
        where: names it in errors.

    Raises:
        EmbodimentError: neither one command nor outputs, or both.
    """
    if action.outputs:
        for key in _OF_ONE:
            if key in given:
                raise EmbodimentError(
                    Code.INVALID, where, key,
                    problem="has outputs and the key {value}, which each output gives for itself",
                    remedy="move it there",
                )  # fmt: skip
        units = dict.fromkeys(output.unit for output in action.outputs)
        names = tuple(name for output in action.outputs for name in output.elements)
        base = {name for part in action.outputs if part.kind == BASE_VELOCITY for name in part.limited}
        limits = tuple(_both_ways(limit) if limit.name in base else limit for limit in action.limits)
        return replace(action, names=names, unit=", ".join(units), limits=limits)
    for key in ("topic", "type", "names"):
        if not getattr(action, key):
            raise EmbodimentError(
                Code.MISSING, where, key, problem="has no {value}", expected="a topic, a type and names",
                remedy="give them, or list outputs",
            )  # fmt: skip
    return action


def check_action(action: Action, streams: tuple[Stream, ...], where: str) -> None:
    """Raise EmbodimentError for fields that contradict one another."""
    if action.horizon < 2:
        raise EmbodimentError(
            Code.OUT_OF_RANGE, where, action.horizon, problem="has horizon {value}",
            expected="2 or more: a chunk's first action is for the time of its observation, which is over when the "
            "chunk comes",
            remedy="raise it, and train with that",
        )  # fmt: skip
    for output in action.parts:
        named = where if not action.outputs else f"{where}, output {output.name!r}"
        _check_output(output, streams, named)
    for kind, values in (
        ("output name", [output.name for output in action.parts]),
        ("topic", [in_namespace(output.topic) for output in action.parts]),
        ("name", list(action.names)),
    ):
        for index, value in enumerate(values):
            if value in values[:index]:
                raise EmbodimentError(
                    Code.DUPLICATE, where, value,
                    problem=f"has the {kind} {{value}} twice, but each may stand once",
                )  # fmt: skip
    limited = tuple(limit.name for limit in action.limits)
    wanted = tuple(name for output in action.parts for name in output.limited)
    if limited != wanted:
        raise EmbodimentError(
            Code.INVALID, where, list(limited),
            problem=f"has limits for {{value}}, but names are {list(wanted)}",
            remedy="give one limit per name in that order",
        )  # fmt: skip
    axes = {name for output in action.parts if output.cartesian for name in output.limited}
    base = {name for output in action.parts if output.kind == BASE_VELOCITY for name in output.limited}
    for limit in action.limits:
        if limit.name in base:
            _check_base(limit, where)
        if limit.name in axes and limit.missing:
            raise EmbodimentError(
                Code.MISSING, f"{where}, limit of {limit.name!r}", limit.missing[0],
                problem="lacks the key {value}, which only joints may leave to a URDF",
            )  # fmt: skip
        if limit.lower is not None and limit.upper is not None and limit.lower >= limit.upper:
            raise EmbodimentError(
                Code.INVALID, f"{where}, limit of {limit.name!r}", limit.lower,
                problem=f"has lower {{value}} and upper {limit.upper:g}", expected="lower < upper",
            )  # fmt: skip
    joints = [name for output in action.parts if output.kind == JOINT_POSITION for name in output.names]
    for index, name in enumerate(action.grippers):
        if name not in joints or name in action.grippers[:index]:
            raise EmbodimentError(
                Code.DUPLICATE, f"{where}, gripper", name,
                expected=f"each of the joints {', '.join(joints) or '(none)'} once at most",
                remedy="correct it",
            )  # fmt: skip
    for output in action.parts:
        if output.command.own_speed and not action.gripper_only(output):
            raise EmbodimentError(
                Code.INVALID, f"{where}, output {output.name!r}",
                problem=f"is of {output.type}, which moves grippers, but grippers lists "
                f"{', '.join(action.grippers) or 'none'}", remedy=f"add {', '.join(output.names)} to it",
            )  # fmt: skip
    if action.mode != "absolute" and not any(
        output.kind not in VELOCITIES and (output.cartesian or set(output.names) - set(action.grippers))
        for output in action.parts
    ):
        raise EmbodimentError(
            Code.INVALID, f"{where}, mode", action.mode,
            problem="is {value}, but grippers and twists are absolute in every mode and there is nothing else",
            remedy="set mode to absolute",
        )  # fmt: skip


def _check_output(output: Output, streams: tuple[Stream, ...], where: str) -> None:
    check_recorded_topic(output.topic, where)
    if not output.values and output.type not in COMMANDS:
        raise EmbodimentError(
            Code.UNKNOWN, f"{where}, type", output.type, known=COMMANDS, remedy="correct it, or give values",
            problem="is {value}, and no values give the paths of its numbers",
        )  # fmt: skip
    if output.values and not by_path.is_message_type(output.type):
        raise EmbodimentError(
            Code.INVALID, f"{where}, type", output.type, expected="one such as std_msgs/msg/Bool"
        )
    if not NAME.fullmatch(output.name):
        raise EmbodimentError(
            Code.INVALID, where,
            problem="has a name that is not a lower-case letter followed by letters, digits or underscores",
            remedy="rename it",
        )  # fmt: skip
    if output.kind not in output.command.kinds:
        fitting = [name for name, command in COMMANDS.items() if output.kind in command.kinds]
        raise EmbodimentError(
            Code.INVALID, where, problem=f"has kind {output.kind} and type {output.type}",
            expected=" or ".join(fitting), remedy="correct one of them",
        )  # fmt: skip
    check_prefix(output.prefix, output.kind in JOINTS, where)
    if not output.cartesian:
        if not output.names:
            raise EmbodimentError(
                Code.MISSING, where, problem="has no names", expected="at least one commanded joint",
                remedy="list them",
            )  # fmt: skip
        if output.command.several and len(output.names) != 1:
            raise EmbodimentError(
                Code.WRONG_SHAPE, where, len(output.names), problem="has {value} names", remedy=output.command.several,
                expected=f"one, which is all that {output.type} moves",
            )  # fmt: skip
    if output.values:
        _check_values(output, where)
    framed = output.cartesian or (output.kind in VELOCITIES and bool(output.frame_id))
    for key, default, wanted in (
        ("names", (), not output.cartesian),
        ("frame_id", "", framed),
        ("pose", "", output.cartesian),
        ("rotation_limit", None, output.cartesian),
    ):
        if (getattr(output, key) != default) != wanted:
            raise EmbodimentError(
                Code.MISSING if wanted else Code.UNEXPECTED, where, key,
                problem=f"is of kind {output.kind}, which "
                + ("needs the key {value}" if wanted else "takes no key {value}"),
            )  # fmt: skip
    for key, taken in (
        ("jog", output.kind == JOINT_VELOCITY),
        ("goal", output.command.own_speed),
        ("recorded", output.is_action),
    ):
        if getattr(output, key) is not None and not taken:
            raise EmbodimentError(
                Code.UNEXPECTED, where, key, problem=f"is of {output.type}, which takes no key {{value}}"
            )
    if output.kind == BASE_VELOCITY:
        for index, name in enumerate(output.names):
            if name not in TWIST_ELEMENTS or name in output.names[:index]:
                raise EmbodimentError(
                    Code.DUPLICATE, f"{where}, axis", name,
                    expected=f"each of {', '.join(TWIST_ELEMENTS)} once at most", remedy="correct names",
                )  # fmt: skip
    if output.recorded is not None:
        check_recorded_topic(output.recorded.topic, f"{where}, recorded")
        if JOINT_POSITION not in COMMANDS[output.recorded.type].kinds:
            raise EmbodimentError(
                Code.INVALID, where, output.recorded.type, problem="is recorded as {value}",
                expected=f"one of {', '.join(ONE_COMMAND)}",
            )  # fmt: skip
    if output.cartesian:
        _check_cartesian(output, streams, where)


def _check_values(output: Output, where: str) -> None:
    """Raise EmbodimentError for paths that do not fit the names, and those to which nothing can be written."""
    if len(output.values) != len(output.names):
        raise EmbodimentError(
            Code.WRONG_SHAPE, where, problem=f"has {len(output.values)} values and {len(output.names)} names",
            expected="a path for each name", remedy="correct one of them",
        )  # fmt: skip
    for path in output.values:
        if not by_path.is_path(path):
            raise EmbodimentError(
                Code.INVALID,
                where,
                path,
                problem="has the path {value} among its values",
                expected=by_path.FORM,
            )
        if not by_path.is_written(path):
            raise EmbodimentError(
                Code.INVALID, where, path, problem="has the path {value} among its values",
                expected="fields, of which the last may have a number in brackets, since a command is written to them",
            )  # fmt: skip


def _both_ways(limit: JointLimit) -> JointLimit:
    """The limit of a base's axis, as fast backwards as forwards where it does not say so."""
    if limit.velocity is None:
        return limit  # `_check_base` tells
    lower = -limit.velocity if limit.lower is None else limit.lower
    return replace(limit, lower=lower, upper=limit.velocity if limit.upper is None else limit.upper)


def _check_base(limit: JointLimit, where: str) -> None:
    if limit.velocity is None:
        raise EmbodimentError(
            Code.MISSING, f"{where}, limit of {limit.name!r}", "velocity", problem="lacks the key {value}"
        )
    for key, sign in (("lower", -1.0), ("upper", 1.0)):
        value = getattr(limit, key)
        if sign * value < 0.0:
            raise EmbodimentError(
                Code.OUT_OF_RANGE, f"{where}, limit of {limit.name!r}", value,
                problem=f"has {key} {{value}}, but a base must be able to stand",
                remedy=f"give {'0 or less' if sign < 0 else '0 or more'}",
            )  # fmt: skip


def _check_cartesian(output: Output, streams: tuple[Stream, ...], where: str) -> None:
    if output.frame_id.lstrip("/") in JUMPING_FRAMES:
        raise EmbodimentError(
            Code.INVALID, f"{where}, frame_id", output.frame_id,
            problem="is {value}, which jumps when the robot corrects its position (REP 105)",
            remedy="use a frame that is fixed to the robot, such as base_link",
        )  # fmt: skip
    poses = {
        stream.name: stream
        for stream in streams
        if stream.type == "geometry_msgs/msg/PoseStamped" or stream.frame
    }
    if output.pose not in poses:
        raise EmbodimentError(
            Code.INVALID, f"{where}, pose", output.pose,
            problem="is {value}, but the streams of geometry_msgs/msg/PoseStamped or of transforms are "
            f"{', '.join(poses) or 'none'}", remedy="add a stream with the measured pose and name it",
        )  # fmt: skip
    frame = poses[output.pose].frame
    if frame and frame.lstrip("/") != output.frame_id.lstrip("/"):
        raise EmbodimentError(
            Code.CONFLICT, f"{where}, frame_id", output.frame_id,
            problem=f"is {{value}}, but its pose {output.pose!r} is in the frame {frame!r}",
            remedy="give both one frame",
        )  # fmt: skip
