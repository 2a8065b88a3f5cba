# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Messages as plain objects: the observation room takes anything that has a message's fields."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from support import tiny_robot

from hpt_ros.embodiment import Embodiment

# Smaller pictures than of the robot that bags are made of, and a longer window.
TEXT = tiny_robot.TEXT.replace("observation_horizon: 2", "observation_horizon: 3").replace(
    "height: 16, width: 24", "height: 8, width: 12"
)

# Every modality, two of the message types of depth, and a joint state that comes in parts.
EVERYTHING = """
format: hpt_ros/embodiment/1
name: everything
tick_hz: 10.0
observation_horizon: 2
streams:
  - {name: eye, modality: image, topic: /eye, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.15,
     image: {height: 8, width: 12}}
  - {name: near, modality: depth, topic: /near, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.15,
     image: {height: 8, width: 12}}
  - {name: far, modality: depth, topic: /far, type: sensor_msgs/msg/CompressedImage, rate_hz: 10.0,
     tolerance_s: 0.15, image: {height: 8, width: 12}}
  - {name: joints, modality: state, topic: /joint_states, type: sensor_msgs/msg/JointState, rate_hz: 50.0,
     tolerance_s: 0.1, joints: [a, b, gripper], fields: [position], partial: true}
  - {name: wrist, modality: wrench, topic: /wrench, type: geometry_msgs/msg/WrenchStamped, rate_hz: 100.0,
     tolerance_s: 0.05}
  - {name: skin, modality: tactile, topic: /skin, type: std_msgs/msg/Float32MultiArray, rate_hz: 20.0,
     tolerance_s: 0.15, length: 3}
  - {name: cloud, modality: pointcloud, topic: /cloud, type: sensor_msgs/msg/PointCloud2, rate_hz: 10.0,
     tolerance_s: 0.15, points: 5}
  - {name: instruction, modality: language, topic: /task, type: std_msgs/msg/String, rate_hz: 1.0, tolerance_s: 1.0}
""" + tiny_robot.TEXT[tiny_robot.TEXT.index("action:") :]


class Messages:
    """Builds message-like objects."""

    def header(self, stamp_ns=0):
        return SimpleNamespace(stamp=self.time(stamp_ns), frame_id="")

    def time(self, ns):
        return SimpleNamespace(sec=ns // 10**9, nanosec=ns % 10**9)

    def joints(self, names=("a", "b"), position=(0.1, 0.2), velocity=(1.0, 2.0), stamp_ns=0):
        return SimpleNamespace(
            header=self.header(stamp_ns),
            name=list(names),
            position=list(position),
            velocity=list(velocity),
            effort=[],
        )

    def image(self, pixels, encoding, step=None, stamp_ns=0, tail=b""):
        """An Image of uint8 (height, row bytes / pixel) or (height, width, channels), rows padded up to `step`."""
        height = pixels.shape[0]
        rows = np.ascontiguousarray(pixels).reshape(height, -1)
        width = pixels.shape[1]
        step = step or rows.shape[1]
        padded = np.full((height, step), 0xAB, np.uint8)
        padded[:, : rows.shape[1]] = rows
        return SimpleNamespace(
            header=self.header(stamp_ns),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=step,
            data=padded.tobytes() + tail,
        )

    def compressed(self, data, format_="jpeg", stamp_ns=0):
        return SimpleNamespace(header=self.header(stamp_ns), format=format_, data=data)

    def command(self, names=("a", "b"), positions=(0.5, -0.5), stamp_ns=0, from_start_ns=0, points=1):
        point = SimpleNamespace(
            positions=list(positions), velocities=[], time_from_start=self.time(from_start_ns)
        )
        return SimpleNamespace(header=self.header(stamp_ns), joint_names=list(names), points=[point] * points)


@pytest.fixture(scope="session")
def robot() -> Embodiment:
    return Embodiment.loads(TEXT)


@pytest.fixture(scope="session")
def everything() -> Embodiment:
    return Embodiment.loads(EVERYTHING)


@pytest.fixture(scope="session")
def messages() -> Messages:
    return Messages()


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (8, 12, 3), dtype=np.uint8)
