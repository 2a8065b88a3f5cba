# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Publishers of what an environment sends: one for each topic of its embodiment, and JPEG beside raw images."""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from hpt_ros.embodiment import Embodiment, Stream
from hpt_ros.errors import Code, HptError
from hpt_ros.nodes.common.conversions import LATE_DEPTH, stream_message_type
from hpt_ros.observation import decode
from rosbag_tools.recording.definitions import load_installed_types
from rosbag_tools.recording.message_objects import serialize

STATE_DEPTH = 20  # messages that a publisher of a fast stream keeps for who lags behind
RAW_IMAGE = "sensor_msgs/msg/Image"


class SensorPublisher:
    """One topic of the environment.

    Attributes:
        topic: as the embodiment names it.
        image: whether a camera's images come on it.
    """

    def __init__(self, node: Node, stream: Stream, types: Any, jpeg_quality: int) -> None:
        """Offer the topic, and its images as JPEG too where they are raw."""
        self.topic, self.image = stream.topic, stream.image is not None
        self._stream, self._types, self._jpeg_quality = stream, types, jpeg_quality
        depth = LATE_DEPTH if stream.message_type.decoded_late else STATE_DEPTH
        qos = QoSProfile(depth=depth)
        if stream.kind.holds:  # said once, for whoever comes later too
            qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._holds = bool(stream.kind.holds)
        self._publisher = node.create_publisher(stream_message_type(stream), stream.topic, qos)
        self._jpeg = None
        if stream.modality == "image" and stream.type == RAW_IMAGE:
            self._jpeg = node.create_publisher(CompressedImage, f"{stream.topic}/compressed", LATE_DEPTH)

    @property
    def wanted(self) -> bool:
        """Whether somebody subscribes; a topic whose last message counts for later subscribers is always wanted."""
        return self._holds or self._publisher.get_subscription_count() > 0 or self._jpeg_wanted

    @property
    def _jpeg_wanted(self) -> bool:
        return self._jpeg is not None and bool(self._jpeg.get_subscription_count())

    def publish(self, message: Any) -> None:
        """Publish an object with the fields of the topic's message type.

        Raises:
            HptError: a field holds what its type cannot.
        """
        if self._holds or self._publisher.get_subscription_count() > 0:
            self._publisher.publish(serialize(message, self._stream.type, self._types))
        if self._jpeg is not None and self._jpeg_wanted:
            pixels = decode(self._stream, message)
            data = array.array("B", jpeg(pixels, self._jpeg_quality))
            compressed = CompressedImage(format="rgb8; jpeg compressed bgr8", data=data)
            stamp = message.header.stamp
            compressed.header.stamp = Time(sec=int(stamp.sec), nanosec=int(stamp.nanosec))
            compressed.header.frame_id = str(message.header.frame_id)
            self._jpeg.publish(compressed)


def sensor_publishers(node: Node, robot: Embodiment, jpeg_quality: int) -> dict[str, SensorPublisher]:
    """Make the publisher of each topic that the robot's sensors have, by the topic.

    Raises:
        HptError: a message type is not installed.
    """
    streams: dict[str, Stream] = {}
    for stream in robot.streams:
        streams.setdefault(stream.topic, stream)
    types = load_installed_types(stream.type for stream in streams.values())
    return {topic: SensorPublisher(node, stream, types, jpeg_quality) for topic, stream in streams.items()}


class ImagePublisher:
    """A camera for people, which is no stream of the robot."""

    def __init__(self, node: Node, name: str) -> None:
        """Offer name/image_raw."""
        self._frame = f"{name}_optical_frame"
        self._publisher = node.create_publisher(Image, f"{name}/image_raw", LATE_DEPTH)

    @property
    def wanted(self) -> bool:
        """Whether somebody subscribes."""
        return bool(self._publisher.get_subscription_count())

    def publish(self, pixels: npt.NDArray[np.uint8], stamp: Time) -> None:
        """Publish an image (height, width, 3) RGB."""
        height, width, _ = pixels.shape
        message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
        message.header.stamp, message.header.frame_id = stamp, self._frame
        message.data = array.array("B", pixels.tobytes())  # the one type that rclpy takes without a loop
        self._publisher.publish(message)


def jpeg(pixels: npt.NDArray[np.uint8], quality: int) -> bytes:
    """Encode an image (height, width, 3) RGB.

    Raises:
        HptError: OpenCV does not.
    """
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise HptError(
            Code.INVALID, "OpenCV", problem="could not encode an image as JPEG", remedy="reinstall OpenCV"
        )
    return bytes(data)


def image_topics(publishers: Sequence[SensorPublisher]) -> frozenset[str]:
    """Topics of cameras that somebody subscribes to."""
    return frozenset(item.topic for item in publishers if item.image and item.wanted)
