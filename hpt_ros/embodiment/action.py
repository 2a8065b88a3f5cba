# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The action: which topics command the robot, with which messages, and within which limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from hpt_ros.embodiment.rotations import REPRESENTATIONS, elements
from hpt_ros.embodiment.streams import NAME, EmbodimentError, Stream, check_topic, in_namespace
from hpt_ros.structured import field

MODES = ("absolute", "delta", "relative")
JOINT_POSITION, CARTESIAN_POSE, CARTESIAN_TWIST = "joint_position", "cartesian_pose", "cartesian_twist"
# Which messages can carry which kind of command.
OUTPUT_TYPES: Mapping[str, tuple[str, ...]] = {
    JOINT_POSITION: (
        "trajectory_msgs/msg/JointTrajectory",
        "std_msgs/msg/Float64MultiArray",
        "sensor_msgs/msg/JointState",
        "std_msgs/msg/Float64",
    ),
    CARTESIAN_POSE: ("geometry_msgs/msg/PoseStamped",),
    CARTESIAN_TWIST: ("geometry_msgs/msg/TwistStamped",),
}
ACTION_TYPES = tuple(type_ for types in OUTPUT_TYPES.values() for type_ in types)
SINGLE = "action"  # name of the one output of a file that lists none
TOLERANCE_S = 0.1
# Frames that jump when a robot corrects where it believes to be (REP 105): a target in one would jump with it.
JUMPING_FRAMES = ("map", "earth")
TWIST_ELEMENTS = ("vx", "vy", "vz", "wx", "wy", "wz")
AXES = ("x", "y", "z")
URDF_KEYS = ("lower", "upper", "velocity")  # limits that a URDF has too
DEFAULT_RATE_HZ = 100.0  # the command rate that most arms' position controllers are run at


@dataclass(frozen=True, kw_only=True)
class JointLimit:
    """Limits of one commanded dimension, in the action's unit and its derivatives.

    A joint's lower, upper and velocity may be left out, for the robot's URDF to give (`with_limits`). It has no
    acceleration. A continuous joint has no lower and upper at all.
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
class Output:
    """One topic on which a part of the action is commanded."""

    name: str = field("short name, such as arm or gripper")
    topic: str = field("topic name of the command; a relative one lies in the namespace of the node")
    type: str = field("message type", choices=ACTION_TYPES)
    kind: str = field("quantity commanded", default=JOINT_POSITION, choices=tuple(OUTPUT_TYPES))
    names: tuple[str, ...] = field(
        "commanded joints, in the order of the message; none if Cartesian", default=()
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

    @property
    def cartesian(self) -> bool:
        """Whether it commands a pose or a twist."""
        return self.kind != JOINT_POSITION

    @cached_property
    def elements(self) -> tuple[str, ...]:
        """Names of its part of the action vector."""
        if self.kind == CARTESIAN_POSE:
            parts = (*AXES, *elements(self.rotation))
        elif self.kind == CARTESIAN_TWIST:
            parts = TWIST_ELEMENTS
        else:
            return self.names
        return tuple(f"{self.name}.{part}" for part in parts)

    @cached_property
    def limited(self) -> tuple[str, ...]:
        """Names that the action's limits are of: the joints, or the position of a Cartesian command."""
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
    horizon: int = field("ticks in one predicted chunk", minimum=1, maximum=256)
    topic: str = field(
        "topic name of the command; a relative one lies in the namespace of the node", default=""
    )
    type: str = field("message type", default="", choices=("", *OUTPUT_TYPES[JOINT_POSITION]))
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
                latency_s=self.latency_s,
            ),
        )  # fmt: skip

    def grips_only(self, output: Output) -> bool:
        """Whether an output is grippers alone, which are often commanded only when they are to change."""
        return bool(output.names) and set(output.names) <= set(self.grippers)


# Keys that say the same as `outputs` do.
_OF_ONE = ("topic", "type", "names", "kind", "unit", "tolerance_s", "latency_s")
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
                    f"{where} has outputs and the key {key!r}, which each output gives for itself; move it there"
                )
        units = dict.fromkeys(output.unit for output in action.outputs)
        names = tuple(name for output in action.outputs for name in output.elements)
        return replace(action, names=names, unit=", ".join(units))
    for key in ("topic", "type", "names"):
        if not getattr(action, key):
            raise EmbodimentError(
                f"{where} has no {key}, but a topic, a type and names were expected; give them, or list outputs"
            )
    return action


def check_action(action: Action, streams: tuple[Stream, ...], where: str) -> None:
    """Raise EmbodimentError for fields that contradict one another."""
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
                    f"{where} has the {kind} {value!r} twice, but each may stand once; remove one"
                )
    limited = tuple(limit.name for limit in action.limits)
    wanted = tuple(name for output in action.parts for name in output.limited)
    if limited != wanted:
        raise EmbodimentError(
            f"{where} has limits for {list(limited)}, but names are {list(wanted)}; "
            "give one limit per name in that order"
        )
    axes = {name for output in action.parts if output.cartesian for name in output.limited}
    for limit in action.limits:
        if limit.name in axes and limit.missing:
            raise EmbodimentError(
                f"{where}, limit of {limit.name!r} lacks the key {limit.missing[0]!r}, which only joints may leave "
                "to a URDF; add it"
            )
        if limit.lower is not None and limit.upper is not None and limit.lower >= limit.upper:
            raise EmbodimentError(
                f"{where}, limit of {limit.name!r} has lower {limit.lower:g} and upper {limit.upper:g}, but "
                "lower < upper was expected; correct them"
            )
    joints = [name for output in action.parts if not output.cartesian for name in output.names]
    for index, name in enumerate(action.grippers):
        if name not in joints or name in action.grippers[:index]:
            raise EmbodimentError(
                f"{where} has the gripper {name!r}, but each of the joints {', '.join(joints) or '(none)'} once at "
                "most was expected; correct it"
            )
    if action.mode != "absolute" and not any(
        output.kind == CARTESIAN_POSE or set(output.names) - set(action.grippers) for output in action.parts
    ):
        raise EmbodimentError(
            f"{where} has mode {action.mode!r}, but grippers and twists are absolute in every mode and there is "
            "nothing else; set mode to absolute"
        )


def _check_output(output: Output, streams: tuple[Stream, ...], where: str) -> None:
    check_topic(output.topic, where)
    if not NAME.fullmatch(output.name):
        raise EmbodimentError(
            f"{where} has a name that is not a lower-case letter followed by letters, digits or underscores; rename it"
        )
    if output.type not in OUTPUT_TYPES[output.kind]:
        raise EmbodimentError(
            f"{where} has kind {output.kind} and type {output.type}, but {' or '.join(OUTPUT_TYPES[output.kind])} "
            "was expected; correct one of them"
        )
    if not output.cartesian:
        if not output.names:
            raise EmbodimentError(
                f"{where} has no names, but at least one commanded joint was expected; list them"
            )
        if output.type == "std_msgs/msg/Float64" and len(output.names) != 1:
            raise EmbodimentError(
                f"{where} has {len(output.names)} names, but std_msgs/msg/Float64 commands one joint; use another type"
            )
    for key, default in (("names", ()), ("frame_id", ""), ("pose", ""), ("rotation_limit", None)):
        wanted = output.cartesian != (key == "names")
        if (getattr(output, key) != default) != wanted:
            raise EmbodimentError(
                f"{where} is of kind {output.kind}, which "
                + (f"needs the key {key!r}; add it" if wanted else f"takes no key {key!r}; remove it")
            )
    if output.cartesian:
        _check_cartesian(output, streams, where)


def _check_cartesian(output: Output, streams: tuple[Stream, ...], where: str) -> None:
    if output.frame_id.lstrip("/") in JUMPING_FRAMES:
        raise EmbodimentError(
            f"{where} has frame_id {output.frame_id!r}, which jumps when the robot corrects its position (REP 105); "
            "use a frame that is fixed to the robot, such as base_link"
        )
    poses = [stream.name for stream in streams if stream.type == "geometry_msgs/msg/PoseStamped"]
    if output.pose not in poses:
        raise EmbodimentError(
            f"{where} has pose {output.pose!r}, but the streams of geometry_msgs/msg/PoseStamped are "
            f"{', '.join(poses) or 'none'}; add a stream with the measured pose and name it"
        )
