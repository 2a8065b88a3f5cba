# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Watches one episode as an outsider would: pictures, commands and measured joints from their topics."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from hpt_ros.embodiment import Embodiment, ImageSpec, Stream
from hpt_ros.evaluation.rollout import EpisodeResult
from hpt_ros.observation import decode, decode_command

PICTURE_TOPIC = "/picture_camera/image_raw"
PICTURE_HZ = 10.0


@dataclass(slots=True)
class EpisodeTrace:
    """What was seen of one episode. Times in s since its start, joints in rad in the order of the action."""

    result: EpisodeResult | None = None
    pictures: list[NDArray[np.uint8]] = field(default_factory=list)  # RGB (H, W, 3), at PICTURE_HZ
    command_s: list[float] = field(default_factory=list)
    commands_rad: list[NDArray[np.float64]] = field(default_factory=list)
    measured_s: list[float] = field(default_factory=list)
    measured_rad: list[NDArray[np.float64]] = field(default_factory=list)

    @property
    def success(self) -> bool:
        """Whether the task was done."""
        return self.result is not None and self.result.success


class EpisodeRecorder(Node):
    """Collects between `start` and `stop`; only then is the picture camera listened to, and so rendered."""

    def __init__(self, robot: Embodiment, *, context: Context) -> None:
        overrides = [Parameter("use_sim_time", value=True)]
        super().__init__("episode_recorder", context=context, parameter_overrides=overrides)
        self._robot = robot
        self._lock = threading.Lock()
        self._seen: EpisodeTrace | None = None
        self._start_s = 0.0
        self._pictures: Any = None
        self._joints = Stream(
            name="measured", modality="state", topic="/joint_states", type="sensor_msgs/msg/JointState",
            rate_hz=100.0, tolerance_s=1.0, joints=robot.action.names, fields=("position",), unit="rad",
        )  # fmt: skip
        self.create_subscription(JointTrajectory, robot.action.topic, self._on_command, 100)
        self.create_subscription(JointState, "/joint_states", self._on_joints, qos_profile_sensor_data)

    def start(self) -> None:
        """Begin with nothing seen."""
        with self._lock:
            self._seen = EpisodeTrace()
            self._start_s = self._now_s()
        self._pictures = self.create_subscription(
            Image, PICTURE_TOPIC, self._on_picture, qos_profile_sensor_data
        )

    def stop(self, result: EpisodeResult) -> EpisodeTrace:
        """End, and return what was seen."""
        self.destroy_subscription(self._pictures)
        with self._lock:
            seen, self._seen = self._seen or EpisodeTrace(), None
        seen.result = result
        return seen

    def _now_s(self) -> float:
        return float(self.get_clock().now().nanoseconds) * 1e-9

    def _on_command(self, message: JointTrajectory) -> None:
        with self._lock:
            if self._seen is not None:
                at_ns, values = decode_command(
                    self._robot.action.parts[0], message, self.get_clock().now().nanoseconds
                )
                self._seen.command_s.append(at_ns * 1e-9 - self._start_s)
                self._seen.commands_rad.append(values)

    def _on_joints(self, message: JointState) -> None:
        with self._lock:
            if self._seen is not None:
                stamp = message.header.stamp
                self._seen.measured_s.append(stamp.sec + stamp.nanosec * 1e-9 - self._start_s)
                self._seen.measured_rad.append(decode(self._joints, message))

    def _on_picture(self, message: Image) -> None:
        spec = ImageSpec(height=message.height, width=message.width)
        stream = Stream(
            name="picture", modality="image", topic=PICTURE_TOPIC, type="sensor_msgs/msg/Image",
            rate_hz=PICTURE_HZ, tolerance_s=1.0, image=spec,
        )  # fmt: skip
        picture = decode(stream, message)
        with self._lock:
            if self._seen is not None:
                self._seen.pictures.append(picture)
