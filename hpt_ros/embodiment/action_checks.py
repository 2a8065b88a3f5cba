# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Whether the fields of an action fit one another, and the streams."""

from __future__ import annotations

from hpt_ros.embodiment.action import Action
from hpt_ros.embodiment.kinds import (
    BASE_VELOCITY,
    JOINT_POSITION,
    JOINT_VELOCITY,
    JOINTS,
    TWIST_ELEMENTS,
    VELOCITIES,
)
from hpt_ros.embodiment.message_types import COMMANDS, by_path
from hpt_ros.embodiment.output import ONE_COMMAND, JointLimit, Output
from hpt_ros.embodiment.streams import (
    NAME,
    EmbodimentError,
    Stream,
    check_prefix,
    check_recorded_topic,
    in_namespace,
)
from hpt_ros.errors import Code

# Frames that jump when a robot corrects where it believes to be (REP 105): a target in one would jump with it.
JUMPING_FRAMES = ("map", "earth")


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
