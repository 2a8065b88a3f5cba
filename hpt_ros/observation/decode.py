# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Messages to arrays: the only place where a stream's message becomes numbers.

Every function takes any object that has the message's fields, so that messages that `rosbags` read from a bag and
messages that arrive live through rclpy give identical arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Stream
from hpt_ros.errors import Code
from hpt_ros.observation.checks import InvalidSampleError, place
from hpt_ros.observation.depth import decode_compressed_depth, decode_depth_image
from hpt_ros.observation.images import decode_compressed_image, decode_image
from hpt_ros.observation.points import decode_points
from hpt_ros.observation.vectors import (
    decode_array,
    decode_joint_state,
    decode_odometry,
    decode_pose,
    decode_twist,
    decode_wrench,
)
from hpt_ros.observation.video import VideoDecoder, is_video

MAX_TASK_CHARACTERS = 1000  # a task is a sentence; more is something else, or hostile


def decode_on_one_thread() -> None:
    """Keep OpenCV from using threads of its own in this process, where several processes decode side by side."""
    cv2.setNumThreads(1)


def decode(stream: Stream, message: Any) -> NDArray[Any]:
    """Decode a message of `stream` to one sample, an array of `Stream.shape`.

    Returns:
        By modality: image uint8 RGB (height, width, 3); depth uint16 (height, width) in mm, 0 where nothing was
        measured; state and wrench float64 (dim,); tactile float32 (length,); pointcloud float32 (points, 3) in m;
        language str, (). A partial JointState has NaN at joints that the message has not: `ObservationBuffer` merges.

    Raises:
        DecodeError: the message does not fit the stream.
        InvalidSampleError: this message's values are unusable.
    """
    if is_video(stream, message):  # by itself: a key frame
        return VideoDecoder(stream).take(message)()
    return _DECODERS[stream.type, stream.modality == "depth"](stream, message)


class StreamDecoder:
    """Decodes the messages of one stream as they come: unlike `decode` also video, whose packets need one another."""

    def __init__(self, stream: Stream) -> None:
        """Start with nothing seen."""
        self._stream, self._video = stream, VideoDecoder(stream)

    def take(self, message: Any) -> Callable[[], NDArray[Any]]:
        """Take the next message; returns what gives its sample as `decode` does, and may be called later or never.

        Raises:
            DecodeError: the message does not fit the stream.
            InvalidSampleError: a video packet that cannot be decoded, or one before the first key frame.
        """
        if is_video(self._stream, message):
            return self._video.take(message)
        return partial(decode, self._stream, message)

    def lost(self) -> None:
        """A message did not come here: a video is decoded again from its next key frame on."""
        self._video.lost()

    @property
    def video_size(self) -> tuple[int, int] | None:
        """Height and width in pixels of a video's newest image; None if there is none."""
        return self._video.size


def decode_text(stream: Stream, message: Any) -> NDArray[np.str_]:
    """std_msgs/String to a text without line breaks or repeated spaces, an array without dimensions.

    Raises:
        InvalidSampleError: empty, or longer than `MAX_TASK_CHARACTERS`.
    """
    if len(message.data) > MAX_TASK_CHARACTERS:
        raise InvalidSampleError(
            Code.OUT_OF_RANGE, place(stream), len(message.data), problem="has a text of {value} characters",
            expected=f"{MAX_TASK_CHARACTERS} at most", remedy="send the task as one sentence",
        )  # fmt: skip
    text = " ".join(str(message.data).replace("\0", " ").split())
    if not text:
        raise InvalidSampleError(
            Code.EMPTY, place(stream), problem="has an empty text", remedy="send the task as one sentence"
        )
    return np.array(text)


_DECODERS: Mapping[tuple[str, bool], Callable[[Stream, Any], NDArray[Any]]] = {
    ("sensor_msgs/msg/Image", False): decode_image,
    ("sensor_msgs/msg/Image", True): decode_depth_image,
    ("sensor_msgs/msg/CompressedImage", False): decode_compressed_image,
    ("sensor_msgs/msg/CompressedImage", True): decode_compressed_depth,
    ("sensor_msgs/msg/JointState", False): decode_joint_state,
    ("sensor_msgs/msg/PointCloud2", False): decode_points,
    ("geometry_msgs/msg/PoseStamped", False): decode_pose,
    ("geometry_msgs/msg/TwistStamped", False): decode_twist,
    ("geometry_msgs/msg/WrenchStamped", False): decode_wrench,
    ("nav_msgs/msg/Odometry", False): decode_odometry,
    ("std_msgs/msg/Float32MultiArray", False): decode_array,
    ("std_msgs/msg/Float64MultiArray", False): decode_array,
    ("std_msgs/msg/String", False): decode_text,
}
