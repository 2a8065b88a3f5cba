"""Between the control room's arrays and ROS messages, one function a message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sensor_msgs.msg
from builtin_interfaces.msg import Duration, Time
from rclpy.qos import QoSProfile, ReliabilityPolicy
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hpt_msgs.msg import ActionChunk
from hpt_ros.control import Command
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.embodiment import Embodiment, Stream
from hpt_ros.nodes.inference import Result

STREAM_MESSAGES = {
    "sensor_msgs/msg/Image": sensor_msgs.msg.Image,
    "sensor_msgs/msg/CompressedImage": sensor_msgs.msg.CompressedImage,
    "sensor_msgs/msg/JointState": sensor_msgs.msg.JointState,
}


def to_time(time_ns: int) -> Any:
    """builtin_interfaces/Time of nanoseconds."""
    return Time(sec=time_ns // NS_PER_S, nanosec=time_ns % NS_PER_S)


def to_joint_trajectory(command: Command, names: Sequence[str], now_ns: int) -> Any:
    """trajectory_msgs/JointTrajectory of one point: be there at header.stamp + time_from_start, at that velocity."""
    ahead_ns = max(command.time_ns - now_ns, 0)
    point = JointTrajectoryPoint(
        positions=command.position.tolist(),
        velocities=command.velocity.tolist(),
        time_from_start=Duration(sec=ahead_ns // NS_PER_S, nanosec=ahead_ns % NS_PER_S),
    )
    message = JointTrajectory(joint_names=list(names), points=[point])
    message.header.stamp = to_time(now_ns)
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

    Pictures queue little, since an old one is worth nothing; states of a fast stream must survive a picture's
    decoding, for the interpolation around a tick.
    """
    reliable = stream.qos == "reliable"
    return QoSProfile(
        depth=5 if stream.modality == "image" else 50,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
    )
