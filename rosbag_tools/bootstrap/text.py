# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The text of a first embodiment file, with a mark wherever a person must look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hpt_ros.embodiment import FORMAT
from hpt_ros.embodiment.estimates import MARGIN_LEAST, MARGIN_RATIO, default_horizon
from hpt_ros.embodiment.kinds import CARTESIAN_TWIST, JOINT_POSITION, JOINT_VELOCITY
from hpt_ros.embodiment.message_types.transforms import TF_TYPE
from hpt_ros.embodiment.output import ONE_COMMAND
from hpt_ros.embodiment.urdf import UrdfLimit
from hpt_ros.modalities import MODALITIES
from rosbag_tools.bootstrap.actions import TRAJECTORY
from rosbag_tools.bootstrap.bases import ODOMETRY_TYPE, TIMEOUT_S, Odometry
from rosbag_tools.bootstrap.commands import JOG_TYPE, DetectedCommand
from rosbag_tools.bootstrap.joints import Joints, unit_lines
from rosbag_tools.bootstrap.limits import (
    base_limits,
    joint_limits,
    quote,
    tool_limits,
)
from rosbag_tools.bootstrap.poses import POSE_TYPE, Pose
from rosbag_tools.bootstrap.sensors import CHECK, DetectedStream, sense_lines, stream_names
from rosbag_tools.reading.inspection import AHEAD_S, CLOCK_OFF_S, LATE_S

# The oldest sample that counts: one and a half periods, and no less than this, for the jitter of slow machines.
TOLERANCE_PERIODS, TOLERANCE_LEAST_S = 1.5, 0.1
# Messages that arrive within this of their stamp are there when a tick needs them.
LATE_LEAST_S = 0.02
# A gripper's command is often sent only when it is to change, and holds until then.
HELD_TOLERANCE_S = 5.0
# Ticks without a camera to set them; ten a second is what teleoperation data is commonly resampled to.
TICK_WITHOUT_CAMERA_HZ = 10.0
# A task is said when it changes, and holds until then.
TEXT_RATE_HZ, TEXT_TOLERANCE_S = 0.1, 60.0
# Faster than an embodiment file allows; and than goals of a trajectory's action are worth.
MOST_RATE_HZ, GOAL_RATE_HZ = 1000.0, 50.0


@dataclass
class Camera:
    """A topic of colour pictures."""

    topic: str
    type: str
    rate_hz: float
    height: int
    width: int
    encoding: str = ""  # that a person must confirm


@dataclass
class Found:
    """What a bag has for an embodiment file."""

    cameras: list[Camera] = field(default_factory=list)
    joints: list[Joints] = field(default_factory=list)
    poses: list[Pose] = field(default_factory=list)
    commands: list[DetectedCommand] = field(default_factory=list)
    senses: list[DetectedStream] = field(default_factory=list)
    odometry: list[Odometry] = field(default_factory=list)
    urdf: dict[str, UrdfLimit] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    delays_s: dict[str, float] = field(default_factory=dict)
    late_s: dict[str, float] = field(default_factory=dict)  # 95th percentile
    coarse: dict[str, float] = field(default_factory=dict)  # fraction of messages with the stamp of another

    leap: str = ""  # of log times against the stamps, in words
    uncommanded: bool = False  # the measured joints stand for commands

    @property
    def observed(self) -> list[Camera | Joints | Pose | DetectedStream | Odometry]:
        """What becomes streams."""
        return [*self.cameras, *self.joints, *self.poses, *self.senses, *self.odometry]

    def without(self, topic: str) -> Found:
        """The same without what a topic has."""
        less = replace(
            self, cameras=list(self.cameras), joints=list(self.joints), poses=list(self.poses),
            senses=list(self.senses), odometry=list(self.odometry), commands=list(self.commands),
        )  # fmt: skip
        less.drop(topic)
        return less

    def drop(self, topic: str) -> None:
        """Take out what a topic has."""
        groups: tuple[list[Any], ...] = (
            self.cameras, self.joints, self.poses, self.senses, self.odometry, self.commands,
        )  # fmt: skip
        for group in groups:
            group[:] = [item for item in group if item.topic != topic]

    def own_clock(self, topic: str) -> float | None:
        """How long after its stamps a topic arrives, if those are of another clock than other topics'."""
        if self.leap:  # a median of before and after says nothing
            return None
        delay_s = self.delays_s.get(topic, 0.0)
        others = any(-AHEAD_S <= other_s <= CLOCK_OFF_S for other_s in self.delays_s.values())
        return delay_s if not -AHEAD_S <= delay_s <= CLOCK_OFF_S and others else None

    def lateness_s(self, topic: str) -> float:
        """How late messages of a topic arrive, as far as its samples' ages at ticks are to cover it."""
        late_s = self.late_s.get(topic, 0.0)
        stamped = self.own_clock(topic) is None and topic not in self.coarse
        return late_s if stamped and 0.0 < late_s <= CLOCK_OFF_S else 0.0

    def advice(self) -> list[str]:
        """What to do about the bag as a whole when it is converted."""
        found = []
        if self.uncommanded:
            found.append("no topic of the bag commands the robot: convert it with --actions state")
        delays_s = list(self.delays_s.values())
        if self.leap:
            found.append(self.leap)
        elif delays_s and all(abs(delay_s) > CLOCK_OFF_S for delay_s in delays_s):
            found.append(
                "its log times are of another clock than all its stamps: convert it with --ignore-arrival"
            )
        return found


def first_text(found: Found, name: str, tick_hz: float | None) -> str:
    """The file's text.

    Args:
        found: what the bag has; at least one command and one topic to observe.
        name: the embodiment's name.
        tick_hz: rate of observations; the slowest camera's if None.
    """
    tick = tick_hz or _tick(found)
    lines = [
        f"# A first embodiment file, made from what is in a bag. Look at every line marked {CHECK}, and take the mark",
        "# away, before the robot runs a policy; `hpt embodiment check` lists those that are left.",
        f"format: {FORMAT}",
        f"name: {quote(name)}",
        'description: ""  # one line for people',
        'task: ""  # what the episodes do, used where the recorder left no task',
        f"tick_hz: {tick:.1f}  # {CHECK}: rate of observations; the slowest camera's unless chosen",
        "observation_horizon: 1  # ticks that the policy sees",
        "streams:",
    ]
    blocks = _streams(found)
    names = stream_names([topic for topic, _ in blocks])
    streams = dict(zip((topic for topic, _ in blocks), names, strict=True))
    for topic, block in blocks:
        lines += [f"  - name: {streams[topic]}", *block]
    lines += _action(found, streams, tick)
    if found.left_out:
        lines.append("# Left out, and why:")
        lines += [f"#   {line}" for line in list_left_out(found)]
    return "\n".join(lines) + "\n"


def list_left_out(found: Found) -> list[str]:
    """A line for each topic that was left out, with the reason and what to do."""
    return [f"{topic!r}: {' '.join(reason.split())[:300]}" for topic, reason in found.left_out.items()]


def find_marked_lines(text: str) -> list[tuple[int, str]]:
    """What a person has not looked at yet: number and content of each line with a mark.

    Comments of complete lines explain marks and are none.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        content, mark, note = line.partition(f"# {CHECK}")
        if mark and content.strip():
            shown = content.strip().removeprefix("- ")
            note = note.removeprefix(":").strip()
            found.append((number, f"{shown[:140]}  ({note[:160]})" if note else shown[:140]))
    return found


def _tick(found: Found) -> float:
    rates = [camera.rate_hz for camera in found.cameras]
    rates += [sense.rate_hz for sense in found.senses if sense.modality == "depth"]
    others = [joints.rate_hz for joints in found.joints] + [pose.rate_hz for pose in found.poses]
    others += [odometry.rate_hz for odometry in found.odometry]
    slowest = min(rates) if rates else min([TICK_WITHOUT_CAMERA_HZ, *others])
    return float(max(round(slowest), 1))  # an integer, as a dataset's fps must be


def _streams(found: Found) -> list[tuple[str, list[str]]]:
    """Topic and lines of each stream, without its name."""
    sizes = {(camera.height, camera.width) for camera in found.cameras}
    blocks = [(camera.topic, _camera(found, camera, sizes)) for camera in found.cameras]
    for measured in found.joints:
        lines = [
            "    modality: state",
            *_common(found, measured.topic, measured.type, measured.rate_hz),
            *(f"    {line}" for line in _prefix("" if measured.paths else measured.prefix)),
            f"    joints: [{', '.join(quote(item) for item in measured.names)}]",
            f"    values: [{', '.join(quote(item) for item in measured.paths)}]  # the joints' positions"
            if measured.paths
            else "    fields: [position]  # velocity and effort may be added where the driver fills them",
            f"    {unit_lines(measured.names, found.urdf, CHECK)}",
        ]
        if measured.partial:
            lines.append("    partial: true  # each message has only some of the joints")
        if measured.holds:
            held = ", ".join(quote(item) for item in measured.holds)
            lines.append(f"    holds: [{held}]  # {CHECK}: published only while they move?")
        if measured.continuous:
            turning = ", ".join(quote(item) for item in measured.continuous)
            known = all(item in found.urdf for item in measured.continuous)
            note = "as in robot_description" if known else f"{CHECK}: they turn without end?"
            lines.append(f"    continuous: [{turning}]  # {note}")
        blocks.append((measured.topic, lines))
    for pose in found.poses:
        note = f"    unit: m  # {CHECK}: the pose of the tool, in frame {quote(pose.frame_id)}?"
        type_ = TF_TYPE if pose.child else POSE_TYPE
        lines = ["    modality: state", *_common(found, pose.topic, type_, pose.rate_hz), note]
        if pose.child:
            mark = f"  # {CHECK}: the frame of the tool?"
            lines += [f"    frame: {quote(pose.frame_id)}", f"    child: {quote(pose.child)}{mark}"]
        blocks.append((pose.topic, lines))
    for odometry in found.odometry:
        lines = ["    modality: state", *_common(found, odometry.topic, ODOMETRY_TYPE, odometry.rate_hz)]
        note = "the pose drifts; [pose, twist] if all episodes begin at one place"
        blocks.append((odometry.topic, [*lines, f"    fields: [twist]  # {note}", "    unit: m/s"]))
    for sense in found.senses:
        common = _common(found, sense.topic, sense.type, sense.rate_hz, sense.modality)
        blocks.append((sense.topic, [f"    modality: {sense.modality}", *common, *sense_lines(sense)]))
    for topic, lines in blocks:
        if topic in found.coarse:
            note = (
                f"{found.coarse[topic]:.0%} of its messages have the stamp of another; better fix its driver"
            )
            lines.append(f"    time: arrival  # {CHECK}: {note}")
        elif (delay_s := found.own_clock(topic)) is not None:
            side = "behind" if delay_s > 0 else "ahead of"
            note = f"its stamps are {abs(delay_s):.4g} s {side} their arrival; better correct its driver"
            lines.append(f"    time: arrival  # {CHECK}: {note}")
    return blocks


def _common(found: Found, topic: str, type_: str, rate_hz: float, modality: str = "") -> list[str]:
    late_s = found.lateness_s(topic)
    if modality and MODALITIES[modality].holds:
        rate_hz, tolerance_s = TEXT_RATE_HZ, TEXT_TOLERANCE_S
    else:
        tolerance_s = _tolerance(rate_hz, late_s)
    why = f"  # {late_s:.3f} s of it since messages arrive so late" if late_s > LATE_S else ""
    return [
        f"    topic: {_relative(topic)}",
        f"    type: {type_}",
        f"    rate_hz: {rate_hz:g}",
        f"    tolerance_s: {tolerance_s:g}{why}",
    ]


def _tolerance(rate_hz: float, late_s: float = 0.0) -> float:
    least_s = max(TOLERANCE_PERIODS / rate_hz, TOLERANCE_LEAST_S)
    return round(least_s + (late_s if late_s > LATE_LEAST_S else 0.0), 3)


def _camera(found: Found, camera: Camera, sizes: set[tuple[int, int]]) -> list[str]:
    # All views of a policy have one size, and H.264 asks for even numbers.
    height, width = (min(max(edge - edge % 2, 8), 4096) for edge in min(sizes))
    note = f"stored size; the camera gives {camera.width}x{camera.height}"
    if len(sizes) > 1:
        note = f"{CHECK}: {note}; all views have one size, the smallest camera's"
    encoding = (
        f"    encoding: {camera.encoding}  # {CHECK}: the driver does not say the order of the channels"
    )
    return [
        "    modality: image",
        *_common(found, camera.topic, camera.type, camera.rate_hz),
        f"    image: {{height: {height}, width: {width}}}  # {note}",
        *([encoding] if camera.encoding else []),
    ]


def _action(found: Found, streams: dict[str, str], tick_hz: float) -> list[str]:
    commands = found.commands
    arms = [command for command in commands if not command.gripper_only] or commands
    most_hz = GOAL_RATE_HZ if any(command.type == TRAJECTORY for command in arms) else MOST_RATE_HZ
    rate_hz = min(max(command.rate_hz for command in arms), most_hz)
    grippers = [name for command in commands for name in command.grippers]
    single = len(commands) == 1 and commands[0].kind == JOINT_POSITION and commands[0].type in ONE_COMMAND
    lines = [
        "action:",
        f"  rate_hz: {rate_hz:g}",
        f"  horizon: {default_horizon(tick_hz)}  # ticks that the policy predicts",
        "  mode: absolute  # or relative, delta: chosen when a policy is trained; datasets are the same",
    ]
    if grippers:
        listed = ", ".join(quote(name) for name in grippers)
        lines.append(f"  grippers: [{listed}]  # {CHECK}: joints that open and close, by their names")
    if single:
        lines += [f"  {line}" for line in _output(found, commands[0])]
    else:
        lines.append("  outputs:")
    limits: list[str] = []
    measured = {name: course for item in found.joints for name, course in item.courses.items()}
    for command, name in zip(commands, _output_names(commands), strict=True):
        turns = ""
        if command.cartesian:
            (pose,) = (item for item in found.poses if item.topic == command.pose)
            rows, turns = tool_limits(command, name, pose.positions, tick_hz)
            limits += rows
        elif command.base:
            limits += base_limits(command, name, tick_hz)
        else:
            limits += joint_limits(command, measured, tick_hz, found.urdf)
        if not single:
            lines.append(f"    - name: {name}")
            lines += [f"      {line}" for line in _output(found, command)]
        if command.cartesian:
            lines += [f"      pose: {streams[command.pose]}", f"      rotation_limit: {turns}"]
    return [
        *lines,
        "  # These limits are guessed from one bag. lower and upper: the range seen, widened by "
        f"{MARGIN_RATIO:.0%} of it (at least",
        f"  # {MARGIN_LEAST:g}) on either side. velocity and acceleration: the peaks between ticks. Put the robot's "
        "own numbers",
        "  # here (data sheet, joint_limits.yaml) before a policy moves it.",
        "  limits:",
        *limits,
    ]


def _output(found: Found, command: DetectedCommand) -> list[str]:
    moves = "the action that moves the robot" if command.recorded else "the topic that moves the robot"
    lines = [
        f"topic: {_relative(command.topic)}  # {CHECK}: {moves}",
        f"type: {command.type}" + (f"  # {CHECK}: {command.note}" if command.note else ""),
    ]
    if (command.recorded or command.topic) in found.coarse:
        lines.append(f"time: arrival  # {CHECK}: most of its messages have the stamp of another")
    tolerance_s = _tolerance(command.rate_hz, found.lateness_s(command.recorded or command.topic))
    tolerance = f"tolerance_s: {tolerance_s:g}"
    if command.recorded or (command.gripper_only and command.largest_gap_s > TOLERANCE_LEAST_S):
        held_s = max(HELD_TOLERANCE_S, round(1.5 * command.largest_gap_s, 1))
        tolerance = f"tolerance_s: {held_s:g}  # sent only when it is to change"
    if command.cartesian:
        unit = "m/s" if command.kind == CARTESIAN_TWIST else "m"
        return [
            *lines,
            f"kind: {command.kind}",
            f"frame_id: {quote(command.frame_id)}",
            f"unit: {unit}",
            tolerance,
        ]
    if command.base:
        frame = [f"frame_id: {quote(command.frame_id)}"] if command.frame_id else []
        names = f"names: [{', '.join(command.names)}]  # {CHECK}: {command.guessed}"
        tolerance = (
            f"tolerance_s: {max(tolerance_s, TIMEOUT_S):g}  # {CHECK}: after which the base stops by itself"
        )
        return [*lines, f"kind: {command.kind}", names, *frame, "unit: m/s", tolerance]
    names = f"names: [{', '.join(quote(item) for item in command.names)}]"
    if command.guessed:
        names += f"  # {CHECK}: {command.guessed}"
    if command.paths:
        names += f"\nvalues: [{', '.join(command.paths)}]"
    lines += [
        *_prefix(command.prefix),
        *names.split("\n"),
        unit_lines(command.names, found.urdf, CHECK),
        tolerance,
    ]
    if command.kind == JOINT_VELOCITY:
        lines.append(f"kind: {command.kind}  # in the unit and per second")
    if command.type == JOG_TYPE and command.jog:
        lines.append(f"jog: {command.jog}")
    return lines


def _prefix(prefix: str) -> list[str]:
    note = (
        f"{CHECK}: before the joints' names, which messages have without it: another arm has the same names"
    )
    return [f"prefix: {prefix}  # {note}"] if prefix else []


def _output_names(commands: Sequence[DetectedCommand]) -> list[str]:
    """Short names; those of the topics where there are several of a kind."""
    kinds = [
        "tool" if item.cartesian else "base" if item.base else "gripper" if item.gripper_only else "arm"
        for item in commands
    ]
    others = stream_names([item.topic for item in commands])
    return [
        kind if kinds.count(kind) == 1 and kind not in others else other
        for kind, other in zip(kinds, others, strict=True)
    ]


def _relative(topic: str) -> str:
    """A recorded name as one of the robot's namespace: the root's is the same, and a second robot gets its own."""
    return topic.removeprefix("/")
