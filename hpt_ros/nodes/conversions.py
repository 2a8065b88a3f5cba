# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Between the control room's arrays and ROS messages, one function a message."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import geometry_msgs.msg
import numpy as np
import sensor_msgs.msg
import std_msgs.msg
from builtin_interfaces.msg import Duration, Time
from rclpy.qos import QoSProfile, ReliabilityPolicy
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hpt_msgs.msg import ActionChunk
from hpt_ros.control import Command
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.control.plan import PAST_S
from hpt_ros.embodiment import Embodiment, Stream
from hpt_ros.nodes.inference import Result
from hpt_ros.nodes.intake import COSTLY

STREAM_MESSAGES = {
    "sensor_msgs/msg/Image": sensor_msgs.msg.Image,
    "sensor_msgs/msg/CompressedImage": sensor_msgs.msg.CompressedImage,
    "sensor_msgs/msg/JointState": sensor_msgs.msg.JointState,
    "sensor_msgs/msg/PointCloud2": sensor_msgs.msg.PointCloud2,
    "geometry_msgs/msg/PoseStamped": geometry_msgs.msg.PoseStamped,
    "geometry_msgs/msg/TwistStamped": geometry_msgs.msg.TwistStamped,
    "geometry_msgs/msg/WrenchStamped": geometry_msgs.msg.WrenchStamped,
    "std_msgs/msg/Float32MultiArray": std_msgs.msg.Float32MultiArray,
    "std_msgs/msg/Float64MultiArray": std_msgs.msg.Float64MultiArray,
    "std_msgs/msg/String": std_msgs.msg.String,
}
COSTLY_DEPTH, CHEAP_DEPTH = 5, 50  # messages that a subscription queues


def to_time(time_ns: int) -> Any:
    """builtin_interfaces/Time of nanoseconds."""
    return Time(sec=time_ns // NS_PER_S, nanosec=time_ns % NS_PER_S)


def to_joint_trajectory(
    command: Command, names: Sequence[str], now_ns: int, *, stamp_zero: bool = False
) -> Any:
    """trajectory_msgs/JointTrajectory of the command's curve, see `hpt_ros.control.curve`.

    From shortly before now, as it was told then, to rest, with velocities and accelerations. header.stamp is the first
    point's time: the controller is inside of it whenever it gets the message (decision 0015). For a controller that
    scales time by the robot's own speed, times from now are as much shorter, so that it goes along the curve as told.

    Args:
        command: what is told.
        names: (dim,) of the joints.
        now_ns: now, on the clock of the command's times.
        stamp_zero: header.stamp is 0, so the controller counts from when it first looks at the message, on whatever
            clock it has. It then begins with the first point after now, and is late by its way there.
    """
    if stamp_zero:
        knots, start_ns = command.curve.knots(now_ns), now_ns
        coming = slice(int(np.searchsorted(knots.times_ns, now_ns, side="right")), None)
    else:
        knots, coming = command.curve.knots(now_ns - round(PAST_S * NS_PER_S)), slice(None)
        start_ns = int(knots.times_ns[0])
    if coming.start == len(knots.times_ns):
        coming = slice(-1, None)  # at rest for long
    pace, times_ns = command.pace, knots.times_ns[coming]
    if pace != 1.0:
        times_ns = now_ns + np.round((times_ns - now_ns) * pace).astype(np.int64)
        start_ns = start_ns if stamp_zero else int(times_ns[0])
    points = [
        JointTrajectoryPoint(
            # As arrays, whose elements rclpy need not look at one by one.
            positions=array("d", position.tobytes()),
            velocities=array("d", velocity.tobytes()),
            accelerations=array("d", acceleration.tobytes()),
            time_from_start=Duration(sec=from_start // NS_PER_S, nanosec=from_start % NS_PER_S),
        )
        for from_start, position, velocity, acceleration in zip(
            np.maximum(times_ns - start_ns, 0).tolist(),
            knots.positions[coming],
            knots.velocities[coming] / pace,
            knots.accelerations[coming] / pace**2,
            strict=True,
        )
    ]
    message = JointTrajectory(joint_names=list(names), points=points)
    if not stamp_zero:
        message.header.stamp = to_time(start_ns)
    return message


def to_float64_multi_array(command: Command, names: Sequence[str], now_ns: int) -> Any:
    """std_msgs/Float64MultiArray for forward controllers: the positions in the action's order, without a time."""
    return std_msgs.msg.Float64MultiArray(data=command.position.tolist())


def to_joint_state(command: Command, names: Sequence[str], now_ns: int) -> Any:
    """sensor_msgs/JointState: positions and velocities, stamped with the time at which the robot is to be there."""
    message = sensor_msgs.msg.JointState(
        name=list(names), position=command.position.tolist(), velocity=command.velocity.tolist()
    )
    message.header.stamp = to_time(command.time_ns)
    return message


def to_action_chunk(result: Result, embodiment: Embodiment, now_ns: int) -> Any:
    """hpt_msgs/ActionChunk of a finished inference with values of shape (horizon, dim)."""
    assert result.values is not None
    message = ActionChunk(
        observation_stamp=to_time(result.request.observation.stamp_ns),
        embodiment=embodiment.name,
        action_names=list(embodiment.action.names),
        dt_s=embodiment.dt_s,
        horizon=int(result.values.shape[0]),
        dim=int(result.values.shape[1]),
        values=result.values.ravel().tolist(),
    )
    message.header.stamp = to_time(now_ns)
    return message


def stream_message_type(stream: Stream) -> Any:
    """The message class of a stream."""
    return STREAM_MESSAGES[stream.type]


def stream_qos(stream: Stream) -> QoSProfile:
    """Quality of service of a stream's subscription.

    Pictures and clouds queue little, since an old one is worth nothing; states of a fast stream must survive their
    transport, for the interpolation around a tick.
    """
    reliable = stream.qos == "reliable"
    return QoSProfile(
        depth=COSTLY_DEPTH if stream.modality in COSTLY else CHEAP_DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
    )
