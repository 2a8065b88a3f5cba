# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which topics of a bag command the robot, and what the measured joints and poses say about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hpt_ros.embodiment.action_checks import JUMPING_FRAMES
from hpt_ros.embodiment.kinds import (
    BASE_VELOCITY,
    CARTESIAN,
    CARTESIAN_POSE,
    CARTESIAN_TWIST,
    JOINT_VELOCITY,
    TWIST_ELEMENTS,
)
from hpt_ros.embodiment.message_types import COMMANDS, MESSAGE_TYPES
from hpt_ros.embodiment.message_types.joint_jog import DISPLACEMENTS
from hpt_ros.embodiment.output import Output, RotationLimit
from hpt_ros.embodiment.streams import BY_ARRIVAL
from hpt_ros.errors import Code
from hpt_ros.observation import DecodeError, InvalidSampleError
from hpt_ros.observation.decode_commands import decode_command
from hpt_ros.observation.time_series import seconds
from rosbag_tools.bootstrap.actions import PARALLEL, TARGET
from rosbag_tools.bootstrap.any_type import ONE_NUMBER
from rosbag_tools.bootstrap.bases import NAME, TWIST_TYPE, commands_base, find_used_axes
from rosbag_tools.bootstrap.bases import STAMPED_TYPE as TWIST_STAMPED_TYPE
from rosbag_tools.bootstrap.joints import (
    LEAST_RANGE,
    STATE_TYPE,
    Floats,
    Joints,
    check_names,
    grips,
    wraps,
)
from rosbag_tools.bootstrap.poses import (
    POSE_TYPE,
    Pose,
    find_measured_pose,
    frame_of,
    one_frame,
    unlike_frame,
)
from rosbag_tools.bootstrap.sensors import OddMessages, Unsupported
from rosbag_tools.reading.reader import Bag
from rosbag_tools.reading.set_back import longest_clear

TRAJECTORY_TYPE = "trajectory_msgs/msg/JointTrajectory"
ARRAY_TYPE, NUMBER_TYPE = "std_msgs/msg/Float64MultiArray", "std_msgs/msg/Float64"
JOG_TYPE = "control_msgs/msg/JointJog"
# Types that are always commands, and those that are if their topic's name says so.
COMMAND_TYPES = (TRAJECTORY_TYPE, JOG_TYPE)
NAMED_TYPES = (STATE_TYPE, ARRAY_TYPE, NUMBER_TYPE, POSE_TYPE, TWIST_STAMPED_TYPE, TWIST_TYPE)
# Types whose messages name their joints.
NAMING_TYPES = (TRAJECTORY_TYPE, STATE_TYPE, JOG_TYPE)
COMMAND_WORDS = frozenset(
    "command commands cmd cmds target targets desired goal goals setpoint setpoints reference".split()
)
# A command and a joint are the same if they differ by less than this fraction of the range, root mean square: a gripper
# needs about half a second to follow a step.
ALIKE_RATIO = 0.35
# At which a policy commands where the bag has trajectories of many points, as planners send them.
PLANNED_RATE_HZ = 50.0


@dataclass
class DetectedCommand:
    """A topic that commands the robot.

    Attributes:
        topic, type, kind, rate_hz: of its output.
        names: commanded joints, or a base's axes; none if Cartesian.
        times_s: (N,), by time, each once.
        values: (N, n) joint positions or velocities, poses (n = 9, 6-D orientation), twists (6), or velocities of a
            base.
        frame_id: of Cartesian ones, and of others where it is needed.
        pose: topic of the measured pose of Cartesian ones.
        guessed: why the names are a guess; empty if the messages have them.
        grippers: those of the names that open and close.
        continuous: those of the names that turn without end.
        jog: what a JointJog holds, if not velocities.
        recorded: the topic that has an action's targets; empty if it is no action.
        note: what a person should know of the type.
        prefix: before its names, which messages have without it.
        paths: of its numbers, of a type that has no decoding of its own.
        odd: which of its messages do not fit, how many and why, in words; empty if all do.
    """

    topic: str
    type: str
    kind: str
    rate_hz: float
    names: tuple[str, ...]
    times_s: Floats
    values: Floats
    frame_id: str = ""
    pose: str = ""
    guessed: str = ""
    grippers: tuple[str, ...] = field(default=())
    continuous: tuple[str, ...] = field(default=())
    prefix: str = ""
    jog: str = ""
    recorded: str = ""
    note: str = ""
    paths: tuple[str, ...] = ()
    odd: str = ""

    @property
    def cartesian(self) -> bool:
        """Whether it commands a tool's pose or twist."""
        return self.kind in CARTESIAN

    @property
    def base(self) -> bool:
        """Whether it commands a mobile base."""
        return self.kind == BASE_VELOCITY

    @property
    def gripper_only(self) -> bool:
        """Whether it commands grippers alone."""
        return bool(self.names) and set(self.names) <= set(self.grippers)

    @property
    def largest_gap_s(self) -> float:
        """Longest time without a command."""
        return float(np.diff(self.times_s).max())


def is_command(topic: str, type_: str) -> bool:
    """Whether a topic commands something, as far as its type and name tell."""
    if type_ in COMMAND_TYPES:
        return True
    tokens = topic.lower().replace("/", "_").split("_")
    return (type_ in NAMED_TYPES or type_ in ONE_NUMBER) and not COMMAND_WORDS.isdisjoint(tokens)


def find_command(
    bag: Bag,
    topic: str,
    type_: str,
    rate_hz: float,
    base_frames: Collection[str] = (),
    *,
    coarse: bool = False,
) -> DetectedCommand:
    """What a topic commands; joints without names get some from `name_joints`.

    Args:
        bag: that has the topic.
        topic, type_, rate_hz: of it.
        coarse: its stamps do not tell when it was sent, so arrivals count.
        base_frames: frames in which odometry measures a base's velocity.

    Raises:
        Unsupported: nothing that can be used, and why.
    """
    output: Output | None = None
    stamps: list[int] = []
    rows: list[Floats] = []
    planned = False
    start_ns, end_ns = longest_clear((bag.start_ns, bag.end_ns), bag.set_backs())
    forms = Counter(
        _form(type_, message.content)
        for message in bag.messages([topic], start_ns=start_ns, stop_ns=end_ns + 1)
        if not _is_empty(type_, message.content)
    )
    usual = forms.most_common(1)[0][0] if forms else None
    odd = OddMessages()
    for message in bag.messages([topic], start_ns=start_ns, stop_ns=end_ns + 1):
        if _is_empty(type_, message.content):
            continue  # it does not count
        try:
            if (form := _form(type_, message.content)) != usual:
                raise Unsupported(Code.MISMATCH, problem=_unlike(form, usual))
            if output is None:
                output = _probe(topic, type_, message.content, base_frames)
                output = replace(output, time=BY_ARRIVAL) if coarse else output
            time_ns, values = decode_command(output, message.content, message.log_ns)
        except InvalidSampleError:
            continue  # the next may be good
        except (DecodeError, Unsupported) as error:
            odd.count(str(error))
            continue
        odd.count("")
        planned = planned or (type_ == TRAJECTORY_TYPE and len(message.content.points) > 1)
        stamps.append(time_ns)
        rows.append(values)
    if odd.too_many:
        raise Unsupported(Code.MISMATCH, problem=odd.sentence())
    # By time, each time once.
    unique, first = np.unique(np.array(stamps, dtype=np.int64), return_index=True)
    if output is None or len(unique) < 2:
        raise Unsupported(Code.EMPTY, problem="it has fewer than two commands")
    times_s = np.array([seconds(int(stamp) - bag.start_ns) for stamp in unique])
    values, names, guessed = np.stack(rows)[first], output.names, ""
    if planned:  # now and then, for the seconds after
        rate_hz = max(rate_hz, PLANNED_RATE_HZ)
    if output.kind == BASE_VELOCITY:
        names = find_used_axes(values)
        values = values[:, [output.names.index(axis) for axis in names]]
        rate_hz = 1.0 / float(np.median(np.diff(times_s)))  # often silent while the base is to stand
        guessed = "the axes that the bag uses; add those that a policy may need, with a limit each"
    elif type_ not in NAMING_TYPES and not output.cartesian:
        guessed = "the messages have no names"
    return DetectedCommand(
        topic, type_, output.kind, rate_hz, names, times_s, values, output.frame_id,
        guessed=guessed, jog=output.jog or "", paths=output.values, odd=odd.sentence(),
    )  # fmt: skip


def _is_empty(type_: str, message: Any) -> bool:
    return type_ in MESSAGE_TYPES and MESSAGE_TYPES[type_].empty(message)


def _form(type_: str, message: Any) -> Hashable:
    """What must be alike in all commands of a topic: the joints, the frame, or the number of values."""
    if type_ in NAMING_TYPES:
        return frozenset(_names(message))
    if type_ in (POSE_TYPE, TWIST_STAMPED_TYPE):
        return frame_of(message)
    return len(message.data) - int(message.layout.data_offset) if type_ == ARRAY_TYPE else None


def _unlike(form: Hashable, usual: Hashable) -> str:
    if isinstance(form, frozenset) and isinstance(usual, frozenset):
        shown = [", ".join(sorted(names)[:4]) or "none" for names in (form, usual)]
        return f"it commands the joints {shown[0]}, and others {shown[1]}"
    if isinstance(form, str):
        return unlike_frame(form, str(usual))
    return f"it has {form} values, and others {usual}"


def _probe(topic: str, type_: str, message: Any, base_frames: Collection[str]) -> Output:
    """An output that takes this topic's messages."""
    if type_ in (TWIST_TYPE, TWIST_STAMPED_TYPE):
        frame = str(message.header.frame_id).lstrip("/") if type_ == TWIST_STAMPED_TYPE else ""
        if commands_base(topic, type_, frame, base_frames):
            named = frame if frame.isprintable() and len(frame) <= 200 else ""
            return Output("base", topic, type_, BASE_VELOCITY, names=TWIST_ELEMENTS, frame_id=named)
    if type_ == JOG_TYPE:
        form = None if len(message.velocities) else DISPLACEMENTS
        check_names(
            list(message.joint_names),
            np.asarray(message.velocities if form is None else message.displacements),
        )
        return Output("joints", topic, type_, JOINT_VELOCITY, names=tuple(message.joint_names), jog=form)
    if type_ in (POSE_TYPE, TWIST_STAMPED_TYPE):
        kind = CARTESIAN_POSE if type_ == POSE_TYPE else CARTESIAN_TWIST
        frame = one_frame([frame_of(message)])
        if frame in JUMPING_FRAMES:
            raise Unsupported(
                Code.UNSUPPORTED,
                problem=f"its frame_id {frame!r} jumps when the robot corrects its position (REP 105)",
            )
        turns = RotationLimit(1.0, 1.0)
        return Output("tool", topic, type_, kind, frame_id=frame, pose="tool", rotation_limit=turns)
    if type_ in ONE_NUMBER:
        return Output("joints", topic, type_, names=("joint_1",), values=(ONE_NUMBER[type_],))
    if type_ == TRAJECTORY_TYPE:
        check_names(list(message.joint_names), np.asarray(message.points[0].positions, dtype=np.float64))
        return Output("joints", topic, type_, names=tuple(message.joint_names))
    if type_ == STATE_TYPE:
        check_names(list(message.name), np.asarray(message.position, dtype=np.float64))
        return Output("joints", topic, type_, names=tuple(message.name))
    count = 1 if type_ == NUMBER_TYPE else len(message.data) - int(message.layout.data_offset)
    if not 1 <= count <= 64:
        raise Unsupported(
            Code.UNSUPPORTED, problem=f"its messages have {count} values, but 1 to 64 joints were expected"
        )
    return Output("joints", topic, type_, names=tuple(f"joint_{place + 1}" for place in range(count)))


def _names(message: Any) -> list[str]:
    return list(message.joint_names if hasattr(message, "joint_names") else message.name)


def as_goals(command: DetectedCommand, type_: str, shown: bool) -> DetectedCommand:
    """The targets of an action as the command that they are."""
    name = command.topic.removesuffix(TARGET)
    if COMMANDS[type_].several and len(command.names) != 1:
        type_ = PARALLEL  # that takes several joints
    own_speed = COMMANDS[type_].own_speed
    return replace(
        command,
        topic=name,
        type=type_,
        recorded=command.topic,
        grippers=command.names if own_speed else (),
        note="" if shown else "guessed from its name; the bag has none of the action's hidden topics",
    )


def settle(
    commands: Sequence[DetectedCommand],
    joints: Sequence[Joints],
    poses: Sequence[Pose],
    left_out: dict[str, str],
) -> list[DetectedCommand]:
    """Commands that go together, with names, grippers and measured poses; arms first.

    Of several that command the same joint or tool the busiest is retained: it is the one that moves the robot. What is
    left out is added to `left_out` with the reason.
    """
    measured = {name: course for item in joints for name, course in item.courses.items()}
    endless = {name for item in joints for name in item.continuous}
    kept: list[DetectedCommand] = []
    taken: dict[str, str] = {}
    # Those that name their joints first, so that the others get what is left.
    order = sorted(commands, key=lambda item: (bool(item.guessed), -len(item.times_s), item.topic))
    for command in (item for item in order if not item.cartesian and not item.base):
        unseen = [name for name in command.names if command.kind == JOINT_VELOCITY and name not in measured]
        if unseen:
            left_out[command.topic] = (
                f"it commands the velocity of {unseen[0]!r}, whose position no topic measures; record its joint states"
            )
            continue
        if command.guessed:
            command = name_joints(
                command, {name: course for name, course in measured.items() if name not in taken}
            )
        if twice := [name for name in command.names if name in taken]:
            left_out[command.topic] = f"{taken[twice[0]]} has more commands for {twice[0]!r}"
            continue
        taken.update(dict.fromkeys(command.names, command.topic))
        alone = command.paths and grips(command.topic)
        grippers = command.grippers or (command.names if alone else tuple(filter(grips, command.names)))
        if command.kind == JOINT_VELOCITY:
            grippers = ()
        turning = tuple(
            name
            for name, column in zip(command.names, command.values.T, strict=True)
            if name not in grippers
            and (
                name in endless or (name not in measured and command.kind != JOINT_VELOCITY and wraps(column))
            )
        )
        kept.append(replace(command, grippers=grippers, continuous=turning))
    arm = next((item for item in kept if not item.gripper_only), None)
    tools: dict[str, str] = {}
    for command in (item for item in order if item.cartesian):
        places = command.values[:, :3] if command.kind == CARTESIAN_POSE else None
        pose = find_measured_pose(command.frame_id, places, poses)
        if arm is not None:
            left_out[command.topic] = f"{arm.topic} commands the arm by its joints; take one of them"
        elif pose is None:
            left_out[command.topic] = (
                f"no PoseStamped topic in its frame {command.frame_id!r} says where the tool is; record one"
            )
        elif pose.topic in tools:
            left_out[command.topic] = f"{tools[pose.topic]} has more commands for the tool of {pose.topic}"
        else:
            tools[pose.topic] = command.topic
            kept.append(replace(command, pose=pose.topic))
    kept += _bases([item for item in order if item.base], left_out)
    return sorted(kept, key=lambda item: (item.gripper_only, item.base, -len(item.times_s), item.topic))


def _bases(commands: Sequence[DetectedCommand], left_out: dict[str, str]) -> list[DetectedCommand]:
    """The one that drives the base: what Nav2 calls cmd_vel is the last before it, after cmd_vel_nav and others."""
    order = sorted(commands, key=lambda item: item.topic.rpartition("/")[2] != NAME)
    for other in order[1:]:
        left_out[other.topic] = f"{order[0].topic} commands the base; take the one that its driver listens to"
    return order[:1]


def name_joints(command: DetectedCommand, measured: Mapping[str, tuple[Floats, Floats]]) -> DetectedCommand:
    """The measured joint that each column moves like; where none does, a name made of the topic's."""
    names: list[str] = []
    unlike = []
    for place, column in enumerate(command.values.T):
        scores = {
            name: _unlikeness(command.times_s, column, *course)
            for name, course in measured.items()
            if name not in names
        }
        best = min(scores, key=lambda name: scores[name], default="")
        if best and scores[best] < ALIKE_RATIO:
            names.append(best)
        else:
            unlike.append(place)
            names.append(f"{_word(command.topic)}_{place + 1}")
    if unlike:
        which = "none" if len(unlike) == len(names) else f"nothing for {', '.join(names[p] for p in unlike)}"
        why = f"the joints' names in the order of the values; {which} of the measured joints moves like it"
    else:
        why = "these measured joints move like the values"
    return replace(command, names=tuple(names), guessed=why)


def _unlikeness(times_s: Floats, values: Floats, at_s: Floats, measured: Floats) -> float:
    """Root mean square of the difference between a held command and a measured joint, as a fraction of the range."""
    inside = at_s >= times_s[0]
    if not inside.any():
        return float("inf")
    held = values[np.searchsorted(times_s, at_s[inside], side="right") - 1]
    span = max(float(np.ptp(values)), float(np.ptp(measured)), LEAST_RANGE)
    return float(np.sqrt(np.mean((held - measured[inside]) ** 2))) / span


def _word(topic: str) -> str:
    tokens = [word for word in topic.lower().replace("/", "_").split("_") if word.isalnum()]
    return next((word for word in tokens if word not in COMMAND_WORDS and word[0].isalpha()), "joint")
