# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Measured joints of a bag: which are there, which turn without end, and which are published only while they move."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.message_types import joint_state
from hpt_ros.embodiment.urdf import UrdfLimit, joint_limits
from hpt_ros.errors import Code, HptError
from hpt_ros.observation.time_series import seconds
from rosbag_tools.bootstrap.sensors import OddMessages, Unsupported
from rosbag_tools.reading.decodable import MOST_ODD
from rosbag_tools.reading.reader import Bag
from rosbag_tools.reading.set_back import longest_clear
from rosbag_tools.recording.rates import SILENT_PERIODS, SILENT_S

Floats = NDArray[np.float64]
Course = tuple[Floats, Floats]  # times in s and values

STATE_TYPE = "sensor_msgs/msg/JointState"
DESCRIPTION = "robot_description"
GRIPPER_WORDS = ("gripper", "finger", "knuckle", "jaw", "claw")
# A joint that never moved by this much could be any that stands still, rad or m.
LEAST_RANGE = 1e-3
# Before and after a silence a joint that stood has the same value, but for this part of its range: the first message
# of a motion may be a little on its way.
STOOD_RATIO = 0.1
# Two silences, or one of this fraction of the time from the first message to the last, are no hiccup.
SILENT_RATIO = 0.2
# Up to `MOST_ODD` messages that lack joints of the others are a mishap, if they are no larger a fraction.
STRAY_RATIO = 0.05
# A driver wraps at pi, or a little beyond; what goes on after it has come this near to the other end.
WRAP_SLACK, WRAP_NEAR = 0.2, 1.0


@dataclass
class Joints:
    """A topic of measured joints.

    Attributes:
        topic, rate_hz: of it.
        names: joints with a position, in the file's order.
        courses: each joint's (times, positions), s and its unit.
        partial: each message has only some of them.
        holds: those that are published only while they move, as far as the bag shows.
        continuous: those that turn without end.
        left_out: joint that is none of these, and why.
        prefix: before its names, which messages have without it.
        type: of its messages.
        paths: where in a message each joint's position is, if that is not a JointState.
        odd: which of its messages do not fit, how many and why, in words; empty if all do.
    """

    topic: str
    rate_hz: float
    names: tuple[str, ...]
    courses: dict[str, Course]
    partial: bool
    holds: tuple[str, ...] = ()
    continuous: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    prefix: str = ""
    type: str = STATE_TYPE
    paths: tuple[str, ...] = ()
    odd: str = ""

    def with_only(self, names: Collection[str]) -> Joints:
        """The same with some of its joints, of a topic with paths."""
        paths = dict(zip(self.names, self.paths, strict=True))
        return replace(
            self,
            names=tuple(names),
            courses={name: self.courses[name] for name in names},
            paths=tuple(paths[name] for name in names),
        )


def check_names(names: Sequence[str], positions: Floats) -> None:
    """Raise Unsupported for joints that no file can name."""
    if not names or len(set(names)) != len(names) or not all(name and name.isprintable() for name in names):
        raise Unsupported(Code.UNSUPPORTED, problem="its joint names are empty, double or not printable")
    if positions.shape != (len(names),):
        raise Unsupported(Code.MISMATCH, problem=f"it has {positions.size} positions for {len(names)} joints")


def find_joints(bag: Bag, topic: str, rate_hz: float) -> Joints:
    """The joints that a topic measures in all of its messages, in turn, or only while they move.

    Raises:
        Unsupported: none, and why.
    """
    forms: dict[tuple[str, ...], _Form] = {}
    odd = OddMessages()
    unusable: dict[str, str] = {}
    start_ns, end_ns = longest_clear((bag.start_ns, bag.end_ns), bag.set_backs())
    for message in bag.messages([topic], start_ns=start_ns, stop_ns=end_ns + 1):
        if joint_state.empty(message.content):
            continue  # it does not count
        names, positions = tuple(message.content.name), np.asarray(message.content.position, dtype=np.float64)
        if positions.shape == (len(names),):
            names, positions = _usable(names, positions, unusable)
        try:
            if names not in forms or positions.shape != (len(names),):
                check_names(names, positions)
        except Unsupported as error:  # nor does a single one that is cut short
            odd.count(str(error))
            continue
        forms.setdefault(names, _Form()).take(seconds(message.log_ns - bag.start_ns), positions)
    _leave_out_strays(forms, odd)
    if odd.unfit > odd.fit:
        raise Unsupported(Code.MISMATCH, problem=odd.sentence())
    courses = _join(forms)
    arrivals = np.sort(np.concatenate([form.times_s for form in forms.values()])) if forms else np.empty(0)
    seen = {name for names in forms for name in names}
    common = [name for name in next(iter(forms), ()) if all(name in names for names in forms)]
    always = tuple(name for name in common if name in courses)
    silent = _silent(courses)
    kept = tuple(name for name in courses if name in always or name in silent) if always else tuple(courses)
    if not kept:
        raise Unsupported(Code.EMPTY, problem="no joint has a position in all of its messages")
    left_out = {
        name: f"only {len(courses[name][0])} of {len(arrivals)} messages have it; if the policy is to see it, add it "
        "to the stream's joints, with partial: true"
        for name in courses
        if name not in kept
    }
    left_out |= dict.fromkeys(
        sorted(seen - courses.keys()),
        "its position is never a number; if its driver fills it later, add it to the stream's joints",
    )
    left_out |= unusable
    holds = tuple(name for name in kept if name in silent)
    if holds:
        rate_hz = max(rate_hz, 1.0 / float(np.median(np.diff(arrivals))))
    return Joints(
        topic,
        rate_hz,
        kept,
        {name: courses[name] for name in kept},
        not always or len(kept) > len(always),
        holds,
        tuple(name for name in kept if wraps(courses[name][1]) and not grips(name)),
        left_out,
        odd=odd.sentence(),
    )


def _usable(
    names: tuple[str, ...], positions: Floats, unusable: dict[str, str]
) -> tuple[tuple[str, ...], Floats]:
    """The joints of a message that a file can name, each once; why others cannot be is added to `unusable`."""
    if len(set(names)) == len(names) and all(name and name.isprintable() for name in names):
        return names, positions
    first = {name: place for place, name in reversed(list(enumerate(names)))}
    for place, name in enumerate(names):
        if not name or not name.isprintable():
            unusable[repr(name[:40])] = "a file cannot have this name"
        elif positions[place] != positions[first[name]]:
            unusable[name] = (
                "it is twice in a message, with two positions; let its driver publish each joint once"
            )
    chosen = [
        place
        for name, place in sorted(first.items(), key=lambda item: item[1])
        if name and name.isprintable() and name not in unusable
    ]
    return tuple(names[place] for place in chosen), positions[chosen]


class _Form:
    """Messages of a topic that name the same joints in the same order."""

    def __init__(self) -> None:
        self.times_s: array[float] = array("d")
        self.positions: list[Floats] = []

    def take(self, at_s: float, positions: Floats) -> None:
        """Add a message."""
        self.times_s.append(at_s)
        self.positions.append(positions)

    def courses(self, names: tuple[str, ...]) -> dict[str, Course]:
        """Each joint's times and positions, of those that are numbers."""
        times_s, values = np.array(self.times_s), np.stack(self.positions)
        finite = np.isfinite(values)
        return {
            name: (times_s[finite[:, place]], values[finite[:, place], place])
            for place, name in enumerate(names)
            if finite[:, place].any()
        }


def _leave_out_strays(forms: dict[tuple[str, ...], _Form], odd: OddMessages) -> None:
    """Take out the few messages that lack joints of the others, as of another driver that once sent to this topic, but
    not those of joints that are published only while they move."""
    most = max((len(form.times_s) for form in forms.values()), default=0)
    usual = next((names for names, form in forms.items() if len(form.times_s) == most), ())
    for names, form in list(forms.items()):
        count = len(form.times_s)
        stray = count <= min(MOST_ODD, STRAY_RATIO * most) and not set(usual) <= set(names)
        if stray and not any(silent_at_rest(course) for course in form.courses(names).values()):
            del forms[names]
        lacking = ", ".join(sorted(set(usual) - set(names))[:4])
        odd.count("" if names in forms else f"it lacks {lacking}", count)


def _join(forms: Mapping[tuple[str, ...], _Form]) -> dict[str, Course]:
    """Each joint's times and positions, in the order of the times."""
    parts: dict[str, list[Course]] = {}
    for names, form in forms.items():
        for name, course in form.courses(names).items():
            parts.setdefault(name, []).append(course)
    found: dict[str, Course] = {}
    for name, courses in parts.items():
        times_s, values = (np.concatenate(series) for series in zip(*courses, strict=True))
        order = np.argsort(times_s, kind="stable")
        found[name] = (times_s[order], values[order])
    return found


def _silent(courses: Mapping[str, Course]) -> set[str]:
    """Joints that are silent at rest. Of those that come in the same messages all must be: one of them that stood
    while the others moved on through a hiccup says nothing."""
    found = {name: silent_at_rest(course) for name, course in courses.items()}
    return {
        name
        for name, (times_s, _) in courses.items()
        if all(found[other] for other, course in courses.items() if np.array_equal(course[0], times_s))
    }


def silent_at_rest(course: Course) -> bool:
    """Whether a joint's silences are those of one that is published only while it moves."""
    times_s, values = course
    if len(times_s) < 3:
        return False
    between = np.diff(times_s)
    silences = between > max(SILENT_PERIODS * float(np.median(between)), SILENT_S)
    if not silences.any():
        return False
    span = float(np.ptp(values))
    stood = np.abs(np.diff(values))[silences] <= max(STOOD_RATIO * span, LEAST_RANGE)
    enough = silences.sum() >= 2 or between[silences].sum() >= SILENT_RATIO * (times_s[-1] - times_s[0])
    return bool(stood.all() and enough)


def wraps(values: Floats) -> bool:
    """Whether an angle jumps from one end of -pi to pi to the other, or counts more turns than a bounded joint has."""
    if len(values) < 2:
        return False
    if float(np.abs(values).max()) > np.pi + WRAP_SLACK:
        return float(np.ptp(values)) > 4.0 * np.pi
    jumps = np.abs(np.diff(values))
    return bool((jumps > 2.0 * np.pi - WRAP_NEAR).any())


def grips(name: str) -> bool:
    """Whether a joint's name is that of a gripper."""
    return any(word in name.lower() for word in GRIPPER_WORDS)


def find_description(bag: Bag, topic: str) -> dict[str, UrdfLimit]:
    """Joints of the URDF on a topic; raises Unsupported if there is none."""
    text = ""
    for message in bag.messages([topic]):
        text = str(message.content.data)
    if not text:
        raise Unsupported(
            Code.EMPTY,
            problem="it has no messages; record it from the start, with transient_local durability",
        )
    try:
        return joint_limits(text)
    except HptError as error:
        raise Unsupported.of(error.refusal) from error


def apply_description(joints: Joints, urdf: Mapping[str, UrdfLimit]) -> None:
    """Let a URDF say which joints turn without end; angles that paths give stay numbers."""
    if joints.paths:
        return
    seen = set(joints.continuous)
    joints.continuous = tuple(
        name
        for name in joints.names
        if not grips(name) and (urdf[name].continuous if name in urdf else name in seen)
    )


def unit_lines(names: Collection[str], urdf: Mapping[str, UrdfLimit], check: str) -> str:
    """The unit of joints, with a mark unless the URDF has it."""
    sliding = {urdf[name].prismatic for name in names if name in urdf}
    known = all(name in urdf for name in names) and len(sliding) == 1
    if known:
        return f"unit: {'m' if sliding.pop() else 'rad'}"
    return f"unit: rad  # {check}: m for a sliding joint"
