# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A first embodiment file from what is in a bag: as far as data can tell, with a mark wherever a person must look.

Rates, sizes, joints and topics are measured. Limits are not in a bag: they are guessed from how far and how fast the
robot went, and marked.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from hpt_ros.embodiment import Embodiment, EmbodimentError
from hpt_ros.embodiment.kinds import JOINT_POSITION
from hpt_ros.embodiment.message_types.transforms import TF_TYPE
from hpt_ros.errors import Code, HptError
from hpt_ros.observation import is_depth
from rosbag_tools.bag_schema import EMBODIMENT_TOPIC, EVENTS_TOPIC
from rosbag_tools.bootstrap.actions import TARGET, explain, find_actions
from rosbag_tools.bootstrap.any_type import suggestion
from rosbag_tools.bootstrap.bases import ODOMETRY_TYPE, find_odometry, settle_odometry
from rosbag_tools.bootstrap.commands import (
    COMMAND_TYPES,
    NAMED_TYPES,
    NUMBER_TYPE,
    TRAJECTORY_TYPE,
    DetectedCommand,
    as_goals,
    find_command,
    is_command,
    settle,
)
from rosbag_tools.bootstrap.controller_states import CONTROLLER_STATES, find_reported, without_measured
from rosbag_tools.bootstrap.frames import STATIC, tool_pose
from rosbag_tools.bootstrap.joints import (
    DESCRIPTION,
    LEAST_RANGE,
    STATE_TYPE,
    apply_description,
    find_description,
    find_joints,
    grips,
)
from rosbag_tools.bootstrap.poses import POSE_TYPE, find_pose
from rosbag_tools.bootstrap.prefixes import tell_apart
from rosbag_tools.bootstrap.sensors import STREAM_TYPES, TEXT_TYPE, Unsupported, agree, detect_stream
from rosbag_tools.bootstrap.text import Camera, Found, first_text, list_left_out
from rosbag_tools.errors import BagError
from rosbag_tools.reading.decodable import IMAGE_TYPES, look
from rosbag_tools.reading.inspection import TopicTimes, inspect, step_note
from rosbag_tools.reading.reader import Bag

DEFAULT_NAME = "my_robot"
# A measured rate this near to a whole number of hertz is that number.
WHOLE_TOLERANCE = 0.05
# At which a robot is commanded of which a bag has no commands.
COMMAND_RATE_HZ = 50.0

_KNOWN_TYPES = frozenset(
    (*IMAGE_TYPES, *COMMAND_TYPES, *NAMED_TYPES, *STREAM_TYPES, ODOMETRY_TYPE, *CONTROLLER_STATES)
)


@dataclass(frozen=True, slots=True)
class FirstFile:
    """A first embodiment file.

    Attributes:
        text: it loads, and converts the bag if that carries no other.
        left_out: a line for each topic of the bag that it leaves out, with the reason and what to do.
        advice: what to do about the bag when it is converted.
    """

    text: str
    left_out: tuple[str, ...]
    advice: tuple[str, ...] = ()


def write_first_embodiment(bag: Bag, *, name: str = DEFAULT_NAME, tick_hz: float | None = None) -> FirstFile:
    """A first embodiment file of what is in a bag.

    Args:
        bag: an open bag with a topic that commands the robot, and something to observe.
        name: the embodiment's name.
        tick_hz: rate of observations; the slowest camera's if None.

    Raises:
        BagError: the bag has no command topic or nothing to observe.
        EmbodimentError: `name` or `tick_hz` is not allowed.
    """
    if tick_hz is not None and not (tick_hz >= 1 and float(tick_hz).is_integer()):
        raise EmbodimentError(
            Code.INVALID, "tick_hz", tick_hz, expected="a whole number of at least 1, as a dataset's fps is whole",
        )  # fmt: skip
    found = _look(bag)
    if not found.commands:
        _use_measured_for_commands(found)
    if not found.commands:
        raise BagError(
            Code.MISSING, f"bag {str(bag.path)!r}",
            problem=f"has no usable command topic ({', '.join(COMMAND_TYPES)}, or {', '.join(NAMED_TYPES)} whose "
            f"name says so, as /gripper/command does), and no measured joints in place of one{_why(found)}",
            remedy="record the topic that commands the robot, or its joint states",
        )  # fmt: skip
    if not (found.cameras or found.joints or found.poses or found.senses or found.odometry):
        raise BagError(
            Code.MISSING, f"bag {str(bag.path)!r}",
            problem=f"has no usable topic to observe ({', '.join((*IMAGE_TYPES, STATE_TYPE))} and others){_why(found)}",
            remedy="record cameras or joint states",
        )  # fmt: skip
    text = _without_odd_topics(bag, found, name, tick_hz)
    advice = [*found.advice(), *(item.sentence(bag.start_ns) for item in bag.set_backs())]
    return FirstFile(text, tuple(list_left_out(found)), tuple(advice))


def _without_odd_topics(bag: Bag, found: Found, name: str, tick_hz: float | None) -> str:
    """The text that loads; topics that break a limit of the schema are left out with that reason."""
    while True:
        text = first_text(found, name, tick_hz)
        try:
            Embodiment.loads(text, where=f"the embodiment made from bag {str(bag.path)!r}")
        except HptError as error:
            for topic in [item.topic for item in found.observed]:
                less = found.without(topic)
                with contextlib.suppress(HptError, ValueError):
                    Embodiment.loads(first_text(less, name, tick_hz))
                    found.left_out[topic] = f"no file can have it: {error}"
                    break
            else:
                raise
            found.drop(topic)
            continue
        return text


def _use_measured_for_commands(found: Found) -> None:
    """Let the measured joints stand for commands where there are none, as of an arm that was led by hand."""
    courses = {name: course for item in found.joints for name, course in item.courses.items()}
    if not courses:
        return
    times_s = max((course[0] for course in courses.values()), key=len)
    values = np.stack([np.interp(times_s, *course) for course in courses.values()], axis=1)
    found.commands.append(
        DetectedCommand(
            "/joint_trajectory_controller/joint_trajectory", TRAJECTORY_TYPE, JOINT_POSITION, COMMAND_RATE_HZ,
            tuple(courses), times_s, values,
            grippers=tuple(filter(grips, courses)),
            continuous=tuple(name for item in found.joints for name in item.continuous),
            note="no topic of the bag commands the robot: say what its controller takes",
        )
    )  # fmt: skip
    found.uncommanded = True


def _why(found: Found) -> str:
    reasons = "; ".join(f"{topic!r}: {why}" for topic, why in found.left_out.items())
    return f"; left out are {reasons[:600]}" if reasons else ""


def _look(bag: Bag) -> Found:
    found = Found()
    transforms: dict[str, TopicTimes] = {}
    actions = find_actions(bag.topics)
    # Odometry first: it says which twists are a base's.
    for topic, times in sorted(
        inspect(bag).topics.items(), key=lambda item: (item[1].type != ODOMETRY_TYPE, item[0])
    ):
        if times.delay_s is not None:
            found.delays_s[topic] = times.delay_s
        if times.step is not None and not found.leap:
            found.leap = f"{topic!r}: {step_note(times.step[0])}"
        if times.coarse:
            found.coarse[topic] = times.repeated / times.count
        if times.late_s is not None:
            found.late_s[topic] = times.late_s
        try:
            if topic in (EMBODIMENT_TOPIC, EVENTS_TOPIC):
                continue
            if times.unreadable:
                raise Unsupported(Code.UNSUPPORTED, problem=times.unreadable)
            if not times.count:
                raise Unsupported(Code.EMPTY, problem="it has no messages")
            if times.type == TF_TYPE:
                transforms[topic] = times
                continue
            if times.type not in _KNOWN_TYPES and not is_command(topic, times.type):
                raise Unsupported(Code.UNSUPPORTED, problem=suggestion(bag, topic, times.type))
            if topic.rpartition("/")[2] == DESCRIPTION and times.type == TEXT_TYPE:
                found.urdf |= find_description(bag, topic)
                continue
            if not re.fullmatch(r"(/[A-Za-z0-9_.-]+)+", topic):
                raise Unsupported(
                    Code.UNSUPPORTED,
                    problem="its name has other characters than letters, digits, hyphens and underscores",
                )
            if times.rate_hz <= 0 and times.type != TEXT_TYPE:  # a task may be said once
                raise Unsupported(Code.EMPTY, problem="it has fewer than two messages")
            _take(bag, topic, times, found, actions)
        except HptError as error:
            found.left_out[topic] = str(error)
    _add_transforms(bag, found, transforms)
    found.joints = without_measured(found.joints, found.left_out)
    found.joints, found.commands = tell_apart(found.joints, found.commands, found.left_out)
    _drop_doubles(found)
    found.senses = agree(found.senses, found.left_out)
    for joints in found.joints:
        apply_description(joints, found.urdf)
        for joint, reason in joints.left_out.items():
            found.left_out[f"{joints.topic}, joint {joint}"] = reason
    found.commands = settle(found.commands, found.joints, found.poses, found.left_out)
    found.odometry = settle_odometry(
        found.odometry, any(command.base for command in found.commands), found.left_out
    )
    explain(actions, [command.topic for command in found.commands], found.left_out)
    _point_out_grippers(found)
    odd = {item.topic: item.odd for item in found.joints}
    odd |= {item.topic: item.odd for item in found.commands}
    odd |= {item.topic: item.odd for item in found.senses}
    odd |= {item.topic: item.odd for item in found.poses}
    for topic, reason in odd.items():
        if reason:
            found.left_out[f"{topic}, some messages"] = f"{reason}; they do not count in a conversion"
    used = {command.pose for command in found.commands}
    for pose in found.poses:
        if pose.topic not in used:
            found.left_out[pose.topic] = (
                "no command needs the pose of a frame"
                if pose.child
                else "a pose may be the robot's or an object's; add it as a state stream if it is observed"
            )
    found.poses = [pose for pose in found.poses if pose.topic in used]
    return found


def _add_transforms(bag: Bag, found: Found, transforms: Mapping[str, TopicTimes]) -> None:
    """Take a tool's pose from transforms where a command needs one and no topic of poses is in its frame."""
    taken = ""
    for topic, times in transforms.items():
        if topic.endswith(STATIC):
            continue
        for command in found.commands:
            if (
                taken
                or not command.cartesian
                or any(item.frame_id == command.frame_id for item in found.poses)
            ):
                continue
            if (pose := tool_pose(bag, topic, _rate(times.rate_hz), command)) is not None:
                found.poses.append(pose)
                taken = topic
    for topic in transforms:
        if taken and topic in (taken, f"{taken}{STATIC}"):
            continue
        found.left_out[topic] = (
            "transforms: if the policy is to see the pose of a frame, add a state stream of tf2_msgs/msg/TFMessage "
            "with the keys frame and child"
        )


def _point_out_grippers(found: Found) -> None:
    """Say of grippers that move that nothing in the bag commands them: their commands may be an action's goals."""
    commanded = {name for command in found.commands for name in command.names}
    for joints in found.joints:
        for name, (_, values) in joints.courses.items():
            if grips(name) and name not in commanded and float(np.ptp(values)) > LEAST_RANGE:
                found.left_out[f"{joints.topic}, joint {name}"] = (
                    "it moves, and no topic of the bag commands it; record the topic that does, or, if it is an "
                    f"action, let the teleoperator publish each target as {STATE_TYPE} on ACTION{TARGET} too; a finger "
                    "that follows another needs none"
                )


def _take(
    bag: Bag, topic: str, times: TopicTimes, found: Found, actions: Mapping[str, tuple[str, bool]]
) -> None:
    """Add a topic to what it is; raises Unsupported if it is nothing that can be used."""
    rate_hz = _rate(times.rate_hz)
    action = topic.removesuffix(TARGET) if times.type == STATE_TYPE else topic
    if action != topic and action in actions:
        found.commands.append(as_goals(find_command(bag, topic, times.type, rate_hz), *actions[action]))
    elif times.type == ODOMETRY_TYPE:
        found.odometry.append(find_odometry(bag, topic, rate_hz))
    elif is_command(topic, times.type):
        frames = {item.child_frame_id for item in found.odometry}
        command = find_command(bag, topic, times.type, rate_hz, frames, coarse=times.coarse)
        found.commands.append(replace(command, rate_hz=_rate(command.rate_hz)))
    elif times.type == STATE_TYPE:
        joints = find_joints(bag, topic, rate_hz)
        joints.rate_hz = _rate(joints.rate_hz)
        found.joints.append(joints)
    elif times.type in CONTROLLER_STATES:
        found.joints.append(find_reported(bag, topic, times.type, rate_hz))
    elif times.type == POSE_TYPE:
        found.poses.append(find_pose(bag, topic, rate_hz))
    elif times.type == NUMBER_TYPE:
        raise Unsupported(Code.UNSUPPORTED, problem="a number; if it is a command, add it as an output")
    elif times.type in STREAM_TYPES or _shows_depth(bag, topic):
        found.senses.append(detect_stream(bag, topic, times.type, rate_hz))
    else:
        found.cameras.append(_camera(bag, topic, times))


def _shows_depth(bag: Bag, topic: str) -> bool:
    for message in bag.messages([topic]):
        return is_depth(message.content)
    return False


def _drop_doubles(found: Found) -> None:
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


def _camera(bag: Bag, topic: str, times: TopicTimes) -> Camera:
    looked = look(bag, topic)
    if looked.stream is None or looked.size is None:
        if looked.reason is not None:
            raise Unsupported.of(looked.reason)
        raise Unsupported(Code.EMPTY, problem="it has no messages")
    return Camera(topic, times.type, _rate(times.rate_hz), *looked.size, looked.stream.encoding)


def _rate(measured_hz: float) -> float:
    whole = round(measured_hz)
    near = whole >= 1 and abs(measured_hz - whole) <= WHOLE_TOLERANCE * whole
    return float(whole) if near else max(round(measured_hz, 2), 0.01)
