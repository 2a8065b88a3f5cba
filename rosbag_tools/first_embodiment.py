"""A first embodiment file from what is in a bag: as far as data can tell, with a comment wherever a person must look.

Rates, sizes, joints and topics are measured. Limits are not in a bag: they are guessed from how far and how fast the
robot went, and marked.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import FORMAT, Embodiment, EmbodimentError, ImageSpec, Stream
from hpt_ros.observation import DecodeError, InvalidSampleError, decode, stamp_ns
from hpt_ros.observation.track import seconds
from rosbag_tools.errors import BagError
from rosbag_tools.first_senses import (
    CHECK,
    SENSE_TYPES,
    TEXT_TYPE,
    LeftOut,
    Sense,
    agree,
    find_sense,
    is_depth,
    sense_lines,
    stream_names,
)
from rosbag_tools.inspection import TopicTimes, inspect
from rosbag_tools.reader import Bag

DEFAULT_NAME = "my_robot"
# Position limits lie this share of the range seen beyond it on either side, and at least that far, in the unit.
MARGIN_SHARE, MARGIN_LEAST = 0.1, 0.05
# A joint that stood still gives no speed; limits must be above 0.
SLOWEST = 0.01
# The oldest sample that counts: one and a half periods, and no less than this, for the jitter of slow machines.
TOLERANCE_PERIODS, TOLERANCE_LEAST_S = 1.5, 0.1
# A measured rate this near to a whole number of hertz is that number.
WHOLE_SHARE = 0.05
# Ticks without a camera to set them; ten a second is what teleoperation data is commonly resampled to.
TICK_WITHOUT_CAMERA_HZ = 10.0
# A task is said when it changes, and holds until then.
TEXT_RATE_HZ, TEXT_TOLERANCE_S = 0.1, 60.0
# A chunk of about 1.6 s, as ACT and HPT use for manipulation, at least four ticks.
CHUNK_S, CHUNK_LEAST, CHUNK_MOST = 1.6, 4, 256

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
STATE_TYPE = "sensor_msgs/msg/JointState"
ACTION_TYPE = "trajectory_msgs/msg/JointTrajectory"


@dataclass
class _Camera:
    topic: str
    type: str
    rate_hz: float
    height: int
    width: int


@dataclass
class _Joints:
    topic: str
    rate_hz: float
    names: tuple[str, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass
class _Command:
    topic: str
    rate_hz: float
    names: tuple[str, ...]
    times_s: NDArray[np.float64]
    positions: NDArray[np.float64]


@dataclass
class _Found:
    cameras: list[_Camera] = field(default_factory=list)
    joints: list[_Joints] = field(default_factory=list)
    commands: list[_Command] = field(default_factory=list)
    senses: list[Sense] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def first_embodiment(bag: Bag, *, name: str = DEFAULT_NAME, tick_hz: float | None = None) -> str:
    """Text of a first embodiment file; it loads, and converts the bag if that carries no other.

    Args:
        bag: an open bag with a JointTrajectory topic, and images or joint states.
        name: the embodiment's name.
        tick_hz: rate of observations; the slowest camera's if None.

    Raises:
        BagError: the bag has no command topic or nothing to observe.
        EmbodimentError: `name` or `tick_hz` is not allowed.
    """
    found = _look(bag)
    if not found.commands:
        raise BagError(
            f"bag {str(bag.path)!r} has no usable command topic ({ACTION_TYPE}){_why(found)}; record the topic that "
            "commands the robot"
        )
    if not found.cameras and not found.joints and not found.senses:
        raise BagError(
            f"bag {str(bag.path)!r} has no usable topic to observe ({', '.join((*IMAGE_TYPES, STATE_TYPE))} and others)"
            f"{_why(found)}; record cameras or joint states"
        )
    text = _text(found, name, tick_hz)
    Embodiment.loads(text, where=f"the embodiment made from bag {str(bag.path)!r}")
    return text


def _why(found: _Found) -> str:
    reasons = "; ".join(f"{topic!r}: {why}" for topic, why in found.left_out.items())
    return f"; left out are {reasons[:600]}" if reasons else ""


def _look(bag: Bag) -> _Found:
    found = _Found()
    for topic, times in sorted(inspect(bag).topics.items()):
        if times.type not in (*IMAGE_TYPES, STATE_TYPE, ACTION_TYPE, *SENSE_TYPES):
            continue
        try:
            if not re.fullmatch(r"(/[A-Za-z_][A-Za-z0-9_]*)+", topic):
                raise LeftOut("its name is no absolute ROS 2 name")
            if times.rate_hz <= 0 and times.type != TEXT_TYPE:  # a task may be said once
                raise LeftOut("it has fewer than two messages")
            if times.type in SENSE_TYPES or (times.type in IMAGE_TYPES and _shows_depth(bag, topic)):
                found.senses.append(find_sense(bag, topic, times.type, _rate(times.rate_hz)))
            elif times.type in IMAGE_TYPES:
                found.cameras.append(_camera(bag, topic, times))
            elif times.type == STATE_TYPE:
                found.joints.append(_joints(bag, topic, times))
            else:
                found.commands.append(_command(bag, topic, times))
        except LeftOut as reason:
            found.left_out[topic] = str(reason)
    _drop_doubles(found)
    found.senses = agree(found.senses, found.left_out)
    return found


def _shows_depth(bag: Bag, topic: str) -> bool:
    for message in bag.messages([topic]):
        return is_depth(message.content)
    return False


def _drop_doubles(found: _Found) -> None:
    """Keep one topic where several say the same."""
    raw = {camera.topic for camera in found.cameras if camera.type == IMAGE_TYPES[0]}
    for camera in list(found.cameras):
        if camera.type != IMAGE_TYPES[0] and camera.topic.rpartition("/")[0] in raw:
            found.cameras.remove(camera)
            found.left_out[camera.topic] = f"the same pictures as {camera.topic.rpartition('/')[0]}"
    raw = {sense.topic for sense in found.senses if sense.type == IMAGE_TYPES[0]}
    for sense in list(found.senses):
        if sense.topic.rpartition("/")[0] in raw:
            found.senses.remove(sense)
            found.left_out[sense.topic] = f"the same pictures as {sense.topic.rpartition('/')[0]}"
    seen: dict[str, str] = {}
    for joints in list(found.joints):
        twice = [name for name in joints.names if name in seen]
        if twice:
            found.joints.remove(joints)
            found.left_out[joints.topic] = f"it has the joint {twice[0]!r}, as {seen[twice[0]]} does"
        else:
            seen.update(dict.fromkeys(joints.names, joints.topic))
    # The busiest is the one that moves the robot.
    found.commands.sort(key=lambda command: (-len(command.times_s), command.topic))
    for command in found.commands[1:]:
        found.left_out[command.topic] = f"{found.commands[0].topic} has more commands"
    del found.commands[1:]


def _camera(bag: Bag, topic: str, times: TopicTimes) -> _Camera:
    reason = "it has no messages"
    for message in bag.messages([topic]):
        try:
            return _Camera(
                topic, times.type, _rate(times.rate_hz), *_size(topic, times.type, message.content)
            )
        except InvalidSampleError as error:  # the next may be good
            reason = str(error)
        except DecodeError as error:
            raise LeftOut(str(error)) from error
    raise LeftOut(reason)


def _size(topic: str, type_: str, content: Any) -> tuple[int, int]:
    """(height, width) of a picture as it comes; raises DecodeError if it cannot be decoded."""
    # Decoded to any size: the question is only whether the converter will be able to.
    decode(Stream("probe", "image", topic, type_, 1.0, 1.0, image=ImageSpec(8, 8)), content)
    if type_ == IMAGE_TYPES[0]:
        return int(content.height), int(content.width)
    with av.open(io.BytesIO(bytes(content.data))) as picture:
        video = picture.streams.video[0]
        return int(video.height), int(video.width)


def _joints(bag: Bag, topic: str, times: TopicTimes) -> _Joints:
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    common: dict[str, None] | None = None
    for message in bag.messages([topic]):
        names, positions = list(message.content.name), np.asarray(message.content.position, dtype=np.float64)
        _check_names(names, positions)
        common = dict.fromkeys(names if common is None else [name for name in common if name in set(names)])
        for name, value in zip(names, positions, strict=True):
            if np.isfinite(value):
                low[name] = min(low.get(name, value), value)
                high[name] = max(high.get(name, value), value)
    kept = tuple(name for name in common or () if name in low)
    if not kept:
        raise LeftOut("no joint has a position in all of its messages")
    ends = (np.array([edge[name] for name in kept]) for edge in (low, high))
    return _Joints(topic, _rate(times.rate_hz), kept, *ends)


def _check_names(names: list[str], positions: NDArray[np.float64]) -> None:
    if not names or len(set(names)) != len(names) or not all(name and name.isprintable() for name in names):
        raise LeftOut("its joint names are empty, double or not printable")
    if positions.shape != (len(names),):
        raise LeftOut(f"it has {positions.size} positions for {len(names)} joints")


def _command(bag: Bag, topic: str, times: TopicTimes) -> _Command:
    order: list[str] = []
    stamps: list[int] = []
    rows: list[NDArray[np.float64]] = []
    for message in bag.messages([topic]):
        content = message.content
        if len(content.points) != 1:
            raise LeftOut(f"it has a trajectory of {len(content.points)} points, but one a message is used")
        point, names = content.points[0], list(content.joint_names)
        positions = np.asarray(point.positions, dtype=np.float64)
        _check_names(names, positions)
        order = order or names
        if sorted(names) != sorted(order):
            raise LeftOut("its messages command different joints")
        if np.isfinite(positions).all():
            ahead_ns = point.time_from_start.sec * 10**9 + point.time_from_start.nanosec
            stamps.append(stamp_ns(content, message.log_ns) + ahead_ns)
            rows.append(positions[[names.index(item) for item in order]])
    # By time, each time once.
    unique, first = np.unique(np.array(stamps, dtype=np.int64), return_index=True)
    if len(unique) < 2:
        raise LeftOut("it has fewer than two commands")
    times_s = np.array([seconds(int(stamp - unique[0])) for stamp in unique])
    return _Command(topic, _rate(times.rate_hz), tuple(order), times_s, np.stack(rows)[first])


def _rate(measured_hz: float) -> float:
    whole = round(measured_hz)
    near = whole >= 1 and abs(measured_hz - whole) <= WHOLE_SHARE * whole
    return float(whole) if near else max(round(measured_hz, 2), 0.01)


def _tick(found: _Found) -> float:
    rates = [camera.rate_hz for camera in found.cameras]
    rates += [sense.rate_hz for sense in found.senses if sense.modality == "depth"]
    slowest = min(rates) if rates else min([TICK_WITHOUT_CAMERA_HZ, *(item.rate_hz for item in found.joints)])
    return float(max(round(slowest), 1))  # whole, as a dataset's fps must be


def _limits(found: _Found, tick_hz: float) -> list[str]:
    """A YAML line per commanded joint: range seen with a margin, and peaks over a tick."""
    command = found.commands[0]
    measured = {
        name: (float(low), float(high))
        for joints in found.joints
        for name, low, high in zip(joints.names, joints.low, joints.high, strict=True)
    }
    lines = []
    for name, column in zip(command.names, command.positions.T, strict=True):
        seen = (float(column.min()), float(column.max()), *measured.get(name, ()))
        margin = max(MARGIN_SHARE * (max(seen) - min(seen)), MARGIN_LEAST)
        peaks = (max(_peak(command.times_s, column, 1.0 / tick_hz, order), SLOWEST) for order in (1, 2))
        velocity, acceleration = (float(np.ceil(peak * 1e4) / 1e4) for peak in peaks)
        lines.append(
            f"    - {{name: {_quoted(name)}, lower: {min(seen) - margin:.4f}, upper: {max(seen) + margin:.4f}, "
            f"velocity: {velocity:.4f}, acceleration: {acceleration:.4f}}}"
        )
    return lines


def _peak(times_s: NDArray[np.float64], values: NDArray[np.float64], dt_s: float, order: int) -> float:
    """Largest difference quotient of that order over steps of `dt_s`, wherever the ticks fall.

    The course is linear between commands, so a difference peaks where one of its points is a command's time.
    """
    starts = np.concatenate([times_s - back * dt_s for back in range(order + 1)])
    starts = starts[(starts >= times_s[0]) & (starts + order * dt_s <= times_s[-1])]
    courses = np.stack([np.interp(starts + step * dt_s, times_s, values) for step in range(order + 1)])
    return float(np.abs(np.diff(courses, order, axis=0)).max(initial=0.0)) / dt_s**order


def _quoted(text: str) -> str:
    """A YAML double-quoted scalar; names were checked to be printable."""
    return json.dumps(text, ensure_ascii=False)


def _text(found: _Found, name: str, tick_hz: float | None) -> str:
    if tick_hz is not None and not (tick_hz >= 1 and float(tick_hz).is_integer()):
        raise EmbodimentError(
            f"tick_hz is {tick_hz:g}, but a whole number of at least 1 was expected, as a dataset's fps is whole; "
            "correct it"
        )
    tick = tick_hz or _tick(found)
    command = found.commands[0]
    sizes = {(camera.height, camera.width) for camera in found.cameras}
    lines = [
        f"# A first embodiment file, made from what is in a bag. Look at every line marked {CHECK}",
        "# before the robot runs a policy.",
        f"format: {FORMAT}",
        f"name: {_quoted(name)}",
        'description: ""  # one line for people',
        'task: ""  # what the episodes do, used where the recorder left no task',
        f"tick_hz: {tick:.1f}  # {CHECK}: rate of observations; the slowest camera's unless chosen",
        "observation_horizon: 1  # ticks that the policy sees",
        "streams:",
    ]
    topics = [camera.topic for camera in found.cameras] + [joints.topic for joints in found.joints]
    names = stream_names(topics + [sense.topic for sense in found.senses])
    for camera, stream in zip(found.cameras, names, strict=False):
        lines += _camera_lines(camera, stream, sizes)
    for measured, stream in zip(found.joints, names[len(found.cameras) :], strict=False):
        lines += [
            f"  - name: {stream}",
            "    modality: state",
            *_common_lines(measured.topic, STATE_TYPE, measured.rate_hz),
            f"    joints: [{', '.join(_quoted(item) for item in measured.names)}]",
            "    fields: [position]  # velocity and effort may be added where the driver fills them",
            f"    unit: rad  # {CHECK}: m for a sliding joint",
        ]
    for sense, stream in zip(found.senses, names[len(found.cameras) + len(found.joints) :], strict=True):
        lines += [
            f"  - name: {stream}",
            f"    modality: {sense.modality}",
            *_common_lines(sense.topic, sense.type, sense.rate_hz, sense.modality),
            *sense_lines(sense),
        ]
    lines += [
        "action:",
        f"  topic: {command.topic}  # {CHECK}: the topic that moves the robot",
        f"  type: {ACTION_TYPE}",
        "  kind: joint_position",
        "  mode: absolute",
        f"  unit: rad  # {CHECK}",
        f"  names: [{', '.join(_quoted(item) for item in command.names)}]",
        f"  rate_hz: {command.rate_hz:g}",
        f"  tolerance_s: {_tolerance(command.rate_hz):g}",
        f"  horizon: {min(max(round(CHUNK_S * tick), CHUNK_LEAST), CHUNK_MOST)}  # ticks that the policy predicts",
        f"  # {CHECK}: these limits are guessed from one bag. lower and upper: the range seen, widened by "
        f"{MARGIN_SHARE:.0%} of it",
        f"  # (at least {MARGIN_LEAST:g}) on either side. velocity and acceleration: the peaks between ticks. Put the "
        "robot's own",
        "  # numbers here (data sheet, joint_limits.yaml) before a policy moves it.",
        "  limits:",
        *_limits(found, tick),
    ]
    if found.left_out:
        lines.append("# Topics that were left out:")
        lines += [
            f"#   {topic!r}: {' '.join(reason.split())[:200]}" for topic, reason in found.left_out.items()
        ]
    return "\n".join(lines) + "\n"


def _common_lines(topic: str, type_: str, rate_hz: float, modality: str = "") -> list[str]:
    if modality == "language":
        rate_hz, tolerance_s = TEXT_RATE_HZ, TEXT_TOLERANCE_S
    else:
        tolerance_s = _tolerance(rate_hz)
    return [
        f"    topic: {topic}",
        f"    type: {type_}",
        f"    rate_hz: {rate_hz:g}",
        f"    tolerance_s: {tolerance_s:g}",
    ]


def _tolerance(rate_hz: float) -> float:
    return round(max(TOLERANCE_PERIODS / rate_hz, TOLERANCE_LEAST_S), 3)


def _camera_lines(camera: _Camera, stream: str, sizes: set[tuple[int, int]]) -> list[str]:
    # All views of a policy have one size, and H.264 asks for even numbers.
    height, width = (min(max(edge - edge % 2, 8), 4096) for edge in min(sizes))
    note = f"stored size; the camera gives {camera.width}x{camera.height}"
    if len(sizes) > 1:
        note += f"; {CHECK}: all views have one size, the smallest camera's"
    return [
        f"  - name: {stream}",
        "    modality: image",
        *_common_lines(camera.topic, camera.type, camera.rate_hz),
        f"    image: {{height: {height}, width: {width}}}  # {note}",
    ]
