# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags of cameras for the benchmarks: a scene that moves, with the grain of a sensor, as JPEG or raw.

What a picture shows decides how long its coding takes, so it has what a tabletop has: smooth shades, texture, a
few objects that move across it, and noise that differs from frame to frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment
from rosbag_tools.bag_schema import KEY_EMBODIMENT
from rosbag_tools.recording.definitions import load_installed_types
from rosbag_tools.recording.episode_recording import EpisodeRecording, RecordedTopic

START_NS = 1_700_000_000_000_000_000
CAMERA_HZ, JOINTS_HZ = 30, 100
JPEG_QUALITY = 80  # image_transport's default
NOISE = 2.0  # grey levels, standard deviation: a camera indoors
_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_JOINTS, _COMMAND = "sensor_msgs/msg/JointState", "trajectory_msgs/msg/JointTrajectory"
JOINT_NAMES = [f"joint_{index}" for index in range(1, 8)]
TYPES = (_IMAGE, _COMPRESSED, _JOINTS, _COMMAND)


def robot(
    cameras: int, *, raw: bool, height: int = 480, width: int = 640, tick_hz: float = 30.0
) -> Embodiment:
    """An arm of seven joints with some cameras."""
    streams = [
        {
            "name": f"camera_{index}",
            "modality": "image",
            "topic": f"/camera_{index}",
            "type": _IMAGE if raw else _COMPRESSED,
            "rate_hz": float(CAMERA_HZ),
            "tolerance_s": 0.1,
            "image": {"height": height, "width": width},
        }
        for index in range(cameras)
    ]
    limits = [
        {"name": name, "lower": -3.0, "upper": 3.0, "velocity": 2.0, "acceleration": 8.0}
        for name in JOINT_NAMES
    ]
    mapping: dict[str, Any] = {
        "format": "hpt_ros/embodiment/1",
        "name": "bench_arm",
        "task": "put the cup on the shelf",
        "tick_hz": tick_hz,
        "streams": [
            *streams,
            {
                "name": "joints",
                "modality": "state",
                "topic": "/joint_states",
                "type": _JOINTS,
                "rate_hz": float(JOINTS_HZ),
                "tolerance_s": 0.1,
                "joints": JOINT_NAMES,
                "fields": ["position"],
                "unit": "rad",
            },
        ],
        "action": {
            "topic": "/command",
            "type": _COMMAND,
            "names": JOINT_NAMES,
            "rate_hz": float(JOINTS_HZ),
            "horizon": 16,
            "limits": limits,
        },
    }
    return Embodiment.loads(yaml.safe_dump(mapping, sort_keys=False))


class Scene:
    """Pictures of one camera, (height, width, 3) uint8 RGB; the same for the same seed."""

    def __init__(self, height: int, width: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        shade = cv2.resize(random.uniform(60, 200, (4, 5, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
        grain = cv2.resize(random.normal(0, 14, (height // 4, width // 4, 1)), (width, height))
        self._table = np.clip(shade + grain[..., None], 0, 255).astype(np.uint8)
        self._objects = random.uniform(0, 1, (6, 8))
        # A few fields of noise, shifted at random, are as good as a new one for every picture, and much cheaper.
        self._noise = random.normal(0, NOISE, (2 * height, 2 * width, 3)).round().astype(np.int8)
        self._random = random

    def at(self, time_s: float) -> NDArray[np.uint8]:
        """The picture at a time."""
        picture: Any = self._table.copy()
        height, width = picture.shape[:2]
        for x, y, size, speed, phase, *colour in self._objects:
            angle = 2 * math.pi * (phase + (0.05 + 0.2 * speed) * time_s)
            centre = (
                int(width * (0.2 + 0.6 * x + 0.2 * math.cos(angle))),
                int(height * (0.2 + 0.6 * y + 0.2 * math.sin(angle))),
            )
            paint = tuple(int(40 + 200 * value) for value in colour)
            cv2.circle(picture, centre, int(height * (0.04 + 0.1 * size)), paint, -1, cv2.LINE_AA)
        top, left = self._random.integers(0, height), self._random.integers(0, width)
        noise = self._noise[top : top + height, left : left + width]
        return np.asarray(cv2.add(picture, noise, dtype=cv2.CV_8U), dtype=np.uint8)


def write_bag(folder: Path, name: str, robot_: Embodiment, duration_s: float, seed: int = 0) -> Path:
    """Write a bag as the recorder does: MCAP, zstd chunks, with its embodiment."""
    types = load_installed_types(TYPES)
    topics = {stream.topic: stream.type for stream in robot_.streams}
    topics[robot_.action.topic] = robot_.action.type
    recorded = {topic: RecordedTopic(type_) for topic, type_ in topics.items()}
    bag = EpisodeRecording(folder, name, recorded, types, {KEY_EMBODIMENT: robot_.to_yaml()})
    for log_ns, topic, message in _messages(robot_, types, duration_s, seed):
        bag.write(topic, log_ns, bytes(types.serialize_cdr(message, topics[topic])))
    return bag.finish({})


def _messages(robot_: Embodiment, types: Any, duration_s: float, seed: int) -> Iterator[tuple[int, str, Any]]:
    make = types.types
    scenes: dict[str, Scene] = {}
    for index, stream in enumerate(robot_.image_streams):
        assert stream.image is not None
        scenes[stream.topic] = Scene(stream.image.height, stream.image.width, seed * 100 + index)
    raw = robot_.image_streams[0].type == _IMAGE
    per_camera = JOINTS_HZ * CAMERA_HZ

    def header(stamp_ns: int) -> Any:
        stamp = make["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        return make["std_msgs/msg/Header"](stamp=stamp, frame_id="")

    for step in range(int(duration_s * per_camera)):
        time_s = step / per_camera
        stamp_ns = START_NS + int(time_s * 1e9)
        if step % JOINTS_HZ == 0:
            for topic, scene in scenes.items():
                yield stamp_ns + 4_000_000, topic, _picture(make, header(stamp_ns), scene.at(time_s), raw)
        if step % CAMERA_HZ == 0:
            angles = np.sin(np.arange(len(JOINT_NAMES)) + time_s)
            empty = np.empty(0)
            yield (
                stamp_ns + 5_000_000,
                "/joint_states",
                make[_JOINTS](
                    header=header(stamp_ns), name=JOINT_NAMES, position=angles, velocity=empty, effort=empty
                ),
            )
            point = make["trajectory_msgs/msg/JointTrajectoryPoint"](
                positions=angles + 0.01,
                velocities=empty,
                accelerations=empty,
                effort=empty,
                time_from_start=make["builtin_interfaces/msg/Duration"](sec=0, nanosec=0),
            )
            command = make[_COMMAND](header=header(stamp_ns), joint_names=JOINT_NAMES, points=[point])
            yield stamp_ns + 5_000_000, "/command", command


def _picture(make: Any, header: Any, rgb: NDArray[np.uint8], raw: bool) -> Any:
    height, width = rgb.shape[:2]
    if raw:
        return make[_IMAGE](
            header=header,
            height=height,
            width=width,
            encoding="rgb8",
            is_bigendian=0,
            step=3 * width,
            data=rgb.reshape(-1),
        )
    ok, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert ok
    return make[_COMPRESSED](header=header, format="jpeg", data=data.reshape(-1))
