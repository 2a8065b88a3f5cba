# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The robot's commands as ROS messages: one sender for each output of the embodiment file, and for further forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import geometry_msgs.msg
import sensor_msgs.msg
import std_msgs.msg
from trajectory_msgs.msg import JointTrajectory

from hpt_ros.control import Command
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.embodiment import Embodiment, Output
from hpt_ros.embodiment.rotations import angular_velocity
from hpt_ros.embodiment.space import Part
from hpt_ros.embodiment.streams import check_topic, in_namespace
from hpt_ros.errors import HptError
from hpt_ros.nodes.conversions import (
    to_float64_multi_array,
    to_joint_state,
    to_joint_trajectory,
    to_time,
)
from hpt_ros.nodes.policy_config import OutputsConfig

JOINT_MESSAGES: Mapping[str, tuple[Any, Callable[[Command, Sequence[str], int], Any]]] = {
    "trajectory_msgs/msg/JointTrajectory": (JointTrajectory, to_joint_trajectory),
    "std_msgs/msg/Float64MultiArray": (std_msgs.msg.Float64MultiArray, to_float64_multi_array),
    "sensor_msgs/msg/JointState": (sensor_msgs.msg.JointState, to_joint_state),
    "std_msgs/msg/Float64": (
        std_msgs.msg.Float64, lambda command, names, now_ns: std_msgs.msg.Float64(data=float(command.position[0])),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sender:
    """One topic that commands go to.

    Attributes:
        topic: name, as the file or the parameter has it.
        type: of the message, as text.
        kind: the message's class.
        message: makes it of a whole command and the time now, in ns.
    """

    topic: str
    type: str
    kind: Any
    message: Callable[[Command, int], Any]


def robot_senders(robot: Embodiment, *, stamp_zero: bool = False) -> list[Sender]:
    """One for each output of the embodiment file, in its order; `stamp_zero` as of `to_joint_trajectory`."""
    return [_sender(robot, part, stamp_zero) for part in robot.space.parts]


def make_senders(
    robot: Embodiment, outputs: OutputsConfig, resolve: Callable[[str], str] = in_namespace
) -> list[Sender]:
    """Those of the embodiment file, if they are wanted, and further forms of the command.

    Args:
        robot: the robot.
        outputs: which forms.
        resolve: gives a topic's absolute name by the node's namespace and remappings.

    Raises:
        HptError: no output at all, two on one topic, a text that is no name of a topic, or a further form of a command
            that is not of joints alone.
    """
    found = robot_senders(robot, stamp_zero=outputs.stamp_zero) if outputs.joint_trajectory else []
    for name, topic, type_ in (
        ("float64_multi_array", outputs.float64_multi_array, "std_msgs/msg/Float64MultiArray"),
        ("joint_state", outputs.joint_state, "sensor_msgs/msg/JointState"),
    ):
        if not topic:
            continue
        check_topic(topic, f"the parameter outputs.{name}")
        if robot.space.turns:
            raise HptError(
                f"the parameter outputs.{name} is {topic!r}, but embodiment {robot.name!r} has Cartesian commands, "
                "which that message cannot hold; leave it empty"
            )
        found.append(_joint_sender(topic, type_, robot.action.names))
    own = [sender.topic for sender in found]
    topics = [resolve(topic) for topic in own + [stream.topic for stream in robot.streams]]
    for topic in topics:
        if topics.count(topic) > 1 and topic in topics[: len(found)]:
            raise HptError(
                f"commands are to be sent to {topic!r}, also a stream's or another output's topic; name another"
            )
    if not found:
        raise HptError(
            "outputs.joint_trajectory is false and no other output has a topic, so the robot would never hear of a "
            "command; give outputs.float64_multi_array or outputs.joint_state a topic"
        )
    return found


def to_pose_stamped(command: Command, output: Output, now_ns: int) -> Any:
    """geometry_msgs/PoseStamped of a command (7,): position in m and orientation, for when the robot is to be there."""
    message = geometry_msgs.msg.PoseStamped()
    message.header.frame_id, message.header.stamp = output.frame_id, to_time(command.time_ns)
    _fill(message.pose.position, "xyz", command.position[:3])
    _fill(message.pose.orientation, "xyzw", command.position[3:])
    return message


def to_twist_stamped(command: Command, output: Output, now_ns: int) -> Any:
    """geometry_msgs/TwistStamped: the velocity of the limited pose when this command is due; from now on."""
    message = geometry_msgs.msg.TwistStamped()
    message.header.frame_id, message.header.stamp = output.frame_id, to_time(now_ns)
    _fill(message.twist.linear, "xyz", command.velocity[:3])
    _fill(message.twist.angular, "xyz", angular_velocity(command.position[3:], command.velocity[3:]))
    return message


def _sender(robot: Embodiment, part: Part, stamp_zero: bool) -> Sender:
    output, place = part.output, part.control
    ahead_ns = round(float(robot.space.ahead_s[place.start]) * NS_PER_S)

    def own(command: Command) -> Command:
        return command.of(place, ahead_ns)

    if output.type == "geometry_msgs/msg/PoseStamped":
        return Sender(
            output.topic, output.type, geometry_msgs.msg.PoseStamped,
            lambda command, now_ns: to_pose_stamped(own(command), output, now_ns),
        )  # fmt: skip
    if output.type == "geometry_msgs/msg/TwistStamped":
        return Sender(
            output.topic, output.type, geometry_msgs.msg.TwistStamped,
            lambda command, now_ns: to_twist_stamped(own(command), output, now_ns),
        )  # fmt: skip
    kind, convert = JOINT_MESSAGES[output.type]
    if stamp_zero and kind is JointTrajectory:
        convert = partial(to_joint_trajectory, stamp_zero=True)
    return Sender(
        output.topic, output.type, kind, lambda command, now_ns: convert(own(command), output.names, now_ns)
    )


def _joint_sender(topic: str, type_: str, names: Sequence[str]) -> Sender:
    """Of whole commands, each of whose dimensions is a joint."""
    kind, convert = JOINT_MESSAGES[type_]
    return Sender(topic, type_, kind, lambda command, now_ns: convert(command, names, now_ns))


def _fill(target: Any, parts: str, values: Any) -> None:
    for part, value in zip(parts, values, strict=True):
        setattr(target, part, float(value))
