# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Between the control room's arrays and ROS messages, one function a message."""

from __future__ import annotations

from typing import Any

from builtin_interfaces.msg import Time
from rclpy.qos import QoSProfile, ReliabilityPolicy

from hpt_msgs.msg import ActionChunk
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.embodiment import Embodiment, Stream
from hpt_ros.nodes.common.interfaces import import_interface
from hpt_ros.runtime.inference_worker import InferenceResult

LATE_DEPTH, EARLY_DEPTH = 5, 50  # messages that a subscription queues


def to_time(time_ns: int) -> Any:
    """builtin_interfaces/Time of nanoseconds."""
    return Time(sec=time_ns // NS_PER_S, nanosec=time_ns % NS_PER_S)


def to_action_chunk(result: InferenceResult, embodiment: Embodiment, now_ns: int) -> Any:
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
    """The message class of a stream.

    Raises:
        MissingInterfaceError: its type is of a package that is not installed.
    """
    return import_interface(stream.type, f"stream {stream.name!r} (topic {stream.topic})")


def stream_qos(stream: Stream) -> QoSProfile:
    """Quality of service of a stream's subscription.

    Pictures and clouds queue little, since an old one is worth nothing; states of a fast stream must survive their
    transport, for the interpolation around a tick, and of a video no packet may lack.
    """
    reliable, type_ = stream.qos == "reliable", stream.message_type
    return QoSProfile(
        depth=LATE_DEPTH if type_.decoded_late and not type_.video else EARLY_DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
    )
