# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which topics of a bag command the robot, and what the measured joints and poses say about them."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.action import JUMPING_FRAMES, Output, RotationLimit
from hpt_ros.embodiment.kinds import CARTESIAN_POSE, CARTESIAN_TWIST, JOINT_POSITION
from hpt_ros.observation import DecodeError, InvalidSampleError
from hpt_ros.observation.decode_commands import decode_command
from hpt_ros.observation.track import seconds
from rosbag_tools.first_senses import LeftOut
from rosbag_tools.reader import Bag

Floats = NDArray[np.float64]

STATE_TYPE = "sensor_msgs/msg/JointState"
TRAJECTORY_TYPE = "trajectory_msgs/msg/JointTrajectory"
ARRAY_TYPE, NUMBER_TYPE = "std_msgs/msg/Float64MultiArray", "std_msgs/msg/Float64"
POSE_TYPE, TWIST_TYPE = "geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/TwistStamped"
# Types that are commands if their topic's name says so; a JointTrajectory always is one.
NAMED_TYPES = (STATE_TYPE, ARRAY_TYPE, NUMBER_TYPE, POSE_TYPE, TWIST_TYPE)
COMMAND_WORDS = frozenset(
    "command commands cmd cmds target targets desired goal goals setpoint setpoints reference".split()
)
GRIPPER_WORDS = ("gripper", "finger", "knuckle", "jaw", "claw")
# A command and a joint are the same if they differ by less than this share of the range, root mean square: a gripper
# needs about half a second to follow a step.
ALIKE_SHARE = 0.35
# A joint that never moved by this much could be any that stands still, rad or m.
LEAST_RANGE = 1e-3


@dataclass
class Joints:
    """A topic of measured joints.

    Attributes:
        topic, rate_hz: of it.
        names: joints with a position, in the file's order.
        courses: each joint's (times, positions), s and its unit.
        partial: each message has only some of them.
    """

    topic: str
    rate_hz: float
    names: tuple[str, ...]
    courses: dict[str, tuple[Floats, Floats]]
    partial: bool


@dataclass
class Pose:
    """A topic of measured poses: position (N, 3) in m and the frame of all of its messages."""

    topic: str
    rate_hz: float
    frame_id: str
    positions: Floats


@dataclass
class Command:
    """A topic that commands the robot.

    Attributes:
        topic, type, kind, rate_hz: of its output.
        names: commanded joints; none if Cartesian.
        times_s: (N,), by time, each once.
        values: (N, n) joint positions, poses (n = 9, 6-D orientation) or twists (6).
        frame_id: of Cartesian ones.
        pose: topic of the measured pose of Cartesian ones.
        guessed: why the names are a guess; empty if the messages have them.
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

    @property
    def cartesian(self) -> bool:
        """Whether it commands a pose or a twist."""
        return self.kind != JOINT_POSITION

    @property
    def grips_only(self) -> bool:
        """Whether it commands grippers alone."""
        return bool(self.names) and set(self.names) <= set(self.grippers)

    @property
    def largest_gap_s(self) -> float:
        """Longest time without a command."""
        return float(np.diff(self.times_s).max())


def is_command(topic: str, type_: str) -> bool:
    """Whether a topic commands something, as far as its type and name tell."""
    if type_ == TRAJECTORY_TYPE:
        return True
    words = topic.lower().replace("/", "_").split("_")
    return type_ in NAMED_TYPES and not COMMAND_WORDS.isdisjoint(words)


def check_names(names: Sequence[str], positions: Floats) -> None:
    """Raise LeftOut for joints that no file can name."""
    if not names or len(set(names)) != len(names) or not all(name and name.isprintable() for name in names):
        raise LeftOut("its joint names are empty, double or not printable")
    if positions.shape != (len(names),):
        raise LeftOut(f"it has {positions.size} positions for {len(names)} joints")


def find_joints(bag: Bag, topic: str, rate_hz: float) -> Joints:
    """The joints that a topic measures in all of its messages, or in turn.

    Raises:
        LeftOut: none, and why.
    """
    times: dict[str, array[float]] = {}
    values: dict[str, array[float]] = {}
    common: dict[str, None] | None = None
    for message in bag.messages([topic]):
        names, positions = (
            list(message.content.name),
            np.asarray(message.content.position, dtype=np.float64),
        )
        check_names(names, positions)
        common = dict.fromkeys(names if common is None else [name for name in common if name in set(names)])
        at_s = seconds(message.log_ns - bag.start_ns)
        for name, value in zip(names, positions, strict=True):
            if np.isfinite(value):
                times.setdefault(name, array("d")).append(at_s)
                values.setdefault(name, array("d")).append(value)
    kept = tuple(name for name in common or () if name in times)
    partial = not kept
    kept = kept or tuple(times)
    if not kept:
        raise LeftOut("no joint has a position in all of its messages")
    courses = {name: (np.array(times[name]), np.array(values[name])) for name in kept}
    return Joints(topic, rate_hz, kept, courses, partial)


def find_pose(bag: Bag, topic: str, rate_hz: float) -> Pose:
    """A topic of measured poses; raises LeftOut if its messages are in several frames."""
    frames: set[str] = set()
    positions = []
    for message in bag.messages([topic]):
        place = message.content.pose.position
        frames.add(str(message.content.header.frame_id).lstrip("/"))
        positions.append((place.x, place.y, place.z))
    return Pose(topic, rate_hz, _one_frame(frames), np.array(positions, dtype=np.float64))


def _one_frame(frames: set[str]) -> str:
    if len(frames) != 1 or not (frame := next(iter(frames))) or not frame.isprintable() or len(frame) > 200:
        shown = ", ".join(repr(frame[:40]) for frame in sorted(frames)[:3])
        raise LeftOut(f"its frame_id is {shown}, but one name in all messages is used")
    return frame


def find_command(bag: Bag, topic: str, type_: str, rate_hz: float) -> Command:
    """What a topic commands; joints without names get some from `name_joints`.

    Raises:
        LeftOut: nothing that can be used, and why.
    """
    output: Output | None = None
    stamps: list[int] = []
    rows: list[Floats] = []
    for message in bag.messages([topic]):
        try:
            if output is None:
                output = _probe(topic, type_, message.content)
            elif type_ in (TRAJECTORY_TYPE, STATE_TYPE) and set(_names(message.content)) != set(output.names):
                raise LeftOut("its messages command different joints")
            time_ns, values = decode_command(output, message.content, message.log_ns)
        except InvalidSampleError:
            continue  # the next may be good
        except DecodeError as error:
            raise LeftOut(str(error)) from error
        stamps.append(time_ns)
        rows.append(values)
    # By time, each time once.
    unique, first = np.unique(np.array(stamps, dtype=np.int64), return_index=True)
    if output is None or len(unique) < 2:
        raise LeftOut("it has fewer than two commands")
    times_s = np.array([seconds(int(stamp) - bag.start_ns) for stamp in unique])
    named = type_ in (TRAJECTORY_TYPE, STATE_TYPE) or output.cartesian
    return Command(
        topic, type_, output.kind, rate_hz, output.names, times_s, np.stack(rows)[first], output.frame_id,
        guessed="" if named else "the messages have no names",
    )  # fmt: skip


def _probe(topic: str, type_: str, message: Any) -> Output:
    """An output that takes this topic's messages."""
    if type_ in (POSE_TYPE, TWIST_TYPE):
        kind = CARTESIAN_POSE if type_ == POSE_TYPE else CARTESIAN_TWIST
        frame = _one_frame({str(message.header.frame_id).lstrip("/")})
        if frame in JUMPING_FRAMES:
            raise LeftOut(f"its frame_id {frame!r} jumps when the robot corrects its position (REP 105)")
        turns = RotationLimit(1.0, 1.0)
        return Output("tool", topic, type_, kind, frame_id=frame, pose="tool", rotation_limit=turns)
    if type_ == TRAJECTORY_TYPE:
        if len(message.points) != 1:
            raise LeftOut(f"it has a trajectory of {len(message.points)} points, but one a message is used")
        check_names(list(message.joint_names), np.asarray(message.points[0].positions, dtype=np.float64))
        return Output("joints", topic, type_, names=tuple(message.joint_names))
    if type_ == STATE_TYPE:
        check_names(list(message.name), np.asarray(message.position, dtype=np.float64))
        return Output("joints", topic, type_, names=tuple(message.name))
    count = 1 if type_ == NUMBER_TYPE else len(message.data) - int(message.layout.data_offset)
    if not 1 <= count <= 64:
        raise LeftOut(f"its messages have {count} values, but 1 to 64 joints were expected")
    return Output("joints", topic, type_, names=tuple(f"joint_{place + 1}" for place in range(count)))


def _names(message: Any) -> list[str]:
    return list(message.joint_names if hasattr(message, "joint_names") else message.name)


def settle(
    commands: Sequence[Command], joints: Sequence[Joints], poses: Sequence[Pose], left_out: dict[str, str]
) -> list[Command]:
    """Commands that go together, with names, grippers and measured poses; arms first.

    Of several that command the same joint or tool the busiest is kept: it is the one that moves the robot. What is
    left out is added to `left_out` with the reason.
    """
    measured = {name: course for item in joints for name, course in item.courses.items()}
    kept: list[Command] = []
    taken: dict[str, str] = {}
    # Those that name their joints first, so that the others get what is left.
    order = sorted(commands, key=lambda item: (bool(item.guessed), -len(item.times_s), item.topic))
    for command in (item for item in order if not item.cartesian):
        if command.guessed:
            command = name_joints(
                command, {name: course for name, course in measured.items() if name not in taken}
            )
        if twice := [name for name in command.names if name in taken]:
            left_out[command.topic] = f"{taken[twice[0]]} has more commands for {twice[0]!r}"
            continue
        taken.update(dict.fromkeys(command.names, command.topic))
        kept.append(replace(command, grippers=tuple(filter(_grips, command.names))))
    arm = next((item for item in kept if not item.grips_only), None)
    tools: dict[str, str] = {}
    for command in (item for item in order if item.cartesian):
        pose = _measured_pose(command, poses)
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
    return sorted(kept, key=lambda item: (item.grips_only, -len(item.times_s), item.topic))


def name_joints(command: Command, measured: Mapping[str, tuple[Floats, Floats]]) -> Command:
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
        if best and scores[best] < ALIKE_SHARE:
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
    """Root mean square of the difference between a held command and a measured joint, as a share of the range."""
    inside = at_s >= times_s[0]
    if not inside.any():
        return float("inf")
    held = values[np.searchsorted(times_s, at_s[inside], side="right") - 1]
    span = max(float(np.ptp(values)), float(np.ptp(measured)), LEAST_RANGE)
    return float(np.sqrt(np.mean((held - measured[inside]) ** 2))) / span


def _word(topic: str) -> str:
    words = [word for word in topic.lower().replace("/", "_").split("_") if word.isalnum()]
    return next((word for word in words if word not in COMMAND_WORDS and word[0].isalpha()), "joint")


def _grips(name: str) -> bool:
    return any(word in name.lower() for word in GRIPPER_WORDS)


def _measured_pose(command: Command, poses: Sequence[Pose]) -> Pose | None:
    """The measured pose in the command's frame; of several the one nearest to the commanded places, else the first."""
    alike = [pose for pose in poses if pose.frame_id == command.frame_id]
    if command.kind != CARTESIAN_POSE:
        return alike[0] if alike else None
    middle = command.values[:, :3].mean(axis=0)
    return min(
        alike,
        key=lambda pose: float(np.linalg.norm(np.nanmean(pose.positions, axis=0) - middle)),
        default=None,
    )
