# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A small robot, its messages, and bags of them in every storage."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import cv2
import numpy as np
from rosbags.rosbag1 import Writer as Bag1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from hpt_ros.embodiment import Embodiment
from rosbag_tools import bag_schema
from rosbag_tools.recording.definitions import load_installed_types

TEXT = """
format: hpt_ros/embodiment/1
name: tiny
task: push the button
tick_hz: 10.0
observation_horizon: 2
streams:
  - {name: left, modality: image, topic: /left, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.15,
     image: {height: 16, width: 24}}
  - {name: right, modality: image, topic: /right, type: sensor_msgs/msg/CompressedImage, rate_hz: 10.0,
     tolerance_s: 0.15, image: {height: 16, width: 24}}
  - {name: joints, modality: state, topic: /joint_states, type: sensor_msgs/msg/JointState, rate_hz: 50.0,
     tolerance_s: 0.1, joints: [a, b], fields: [position, velocity], unit: rad}
action:
  topic: /command
  type: trajectory_msgs/msg/JointTrajectory
  names: [b, a]
  rate_hz: 50.0
  horizon: 4
  limits:
    - {name: b, lower: -1.0, upper: 1.0, velocity: 1.0, acceleration: 1.0}
    - {name: a, lower: -1.0, upper: 1.0, velocity: 1.0, acceleration: 1.0}
"""
START_NS = 1_700_000_000_000_000_000
MS = 1_000_000


def level(index):
    """Brightness of picture `index`; any two neighbours differ clearly, also after encoding."""
    return 20 + 60 * (index % 4)


class Robot:
    """What the tiny robot publishes, as (topic, log time in ns, message), and bags of it."""

    start_ns = START_NS
    topics: ClassVar[dict[str, str]] = {
        "/left": "sensor_msgs/msg/Image",
        "/right": "sensor_msgs/msg/CompressedImage",
        "/joint_states": "sensor_msgs/msg/JointState",
        "/command": "trajectory_msgs/msg/JointTrajectory",
        "/unused": "std_msgs/msg/String",
        bag_schema.EVENTS_TOPIC: bag_schema.EVENTS_TYPE,
        bag_schema.EMBODIMENT_TOPIC: bag_schema.EMBODIMENT_TYPE,
    }

    def __init__(self) -> None:
        self.store = get_typestore(Stores.ROS2_KILTED)
        extra = load_installed_types([bag_schema.EVENTS_TYPE])
        name = bag_schema.EVENTS_TYPE
        self.store.register({name: extra.fielddefs[name]})
        self.embodiment = Embodiment.loads(TEXT)
        self.text = TEXT

    def make(self, type_, **fields):
        return self.store.types[type_](**fields)

    def header(self, stamp_ns):
        stamp = self.make("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        return self.make("std_msgs/msg/Header", stamp=stamp, frame_id="")

    def image(self, index, stamp_ns):
        step = 24 * 3 + 4
        pixels = np.full(16 * step, 255, np.uint8).reshape(16, step)
        pixels[:, : 24 * 3] = level(index)
        return self.make(
            "sensor_msgs/msg/Image",
            header=self.header(stamp_ns),
            height=16,
            width=24,
            encoding="bgr8",
            is_bigendian=0,
            step=step,
            data=pixels.reshape(-1),
        )

    def compressed(self, index, stamp_ns):
        picture = np.full((32, 48, 3), 255 - level(index), np.uint8)
        data = cv2.imencode(".png", picture)[1].reshape(-1)
        return self.make(
            "sensor_msgs/msg/CompressedImage", header=self.header(stamp_ns), format="png", data=data
        )

    def joints(self, time_s, stamp_ns, joint_names=("b", "a")):
        values = {"a": np.sin(time_s), "b": time_s, "z": 0.0}
        return self.make(
            "sensor_msgs/msg/JointState",
            header=self.header(stamp_ns),
            name=list(joint_names),
            position=np.array([values[name] for name in joint_names]),
            velocity=np.array([2.0 * values[name] for name in joint_names]),
            effort=np.zeros(0),
        )

    def command(self, time_s, stamp_ns, joint_names=("a", "b")):
        duration = self.make("builtin_interfaces/msg/Duration", sec=0, nanosec=0)
        empty = np.zeros(0)
        point = self.make(
            "trajectory_msgs/msg/JointTrajectoryPoint",
            positions=np.array([time_s, -time_s]),
            velocities=empty,
            accelerations=empty,
            effort=empty,
            time_from_start=duration,
        )
        return self.make(
            "trajectory_msgs/msg/JointTrajectory",
            header=self.header(stamp_ns),
            joint_names=list(joint_names),
            points=[point],
        )

    def string(self, text):
        return self.make("std_msgs/msg/String", data=text)

    def event(self, kind, at_ns, outcome=0, task="from the marker", episode_id="e"):
        return self.make(
            bag_schema.EVENTS_TYPE,
            header=self.header(at_ns),
            event=kind,
            episode_id=episode_id,
            task=task,
            operator_name="ann",
            outcome=outcome,
            note="",
            STARTED=1,
            STOPPED=2,
            DISCARDED=3,
            OUTCOME_UNKNOWN=0,
            OUTCOME_SUCCESS=1,
            OUTCOME_FAILURE=2,
        )

    def messages(self, duration_s=3.0, start_ns=START_NS, jitter=True):
        """All messages of a recording, in log-time order; arrival is a little after the stamp, never the same."""
        random = np.random.default_rng(3)
        found = []

        def add(topic, stamp_ns, message):
            delay_ns = int(random.integers(1, 12 * MS)) if jitter else MS
            found.append((topic, stamp_ns + delay_ns, message))

        for index in range(int(duration_s * 10)):
            stamp = start_ns + index * 100 * MS - 7 * MS
            add("/left", stamp, self.image(index, stamp))
            add("/right", stamp, self.compressed(index, stamp))
        for index in range(int(duration_s * 50)):
            stamp = start_ns + index * 20 * MS - 15 * MS
            time_s = (stamp - start_ns) * 1e-9
            add("/joint_states", stamp, self.joints(time_s, stamp))
            add("/command", stamp + 5 * MS, self.command(time_s + 0.005, stamp + 5 * MS))
            add("/unused", stamp, self.string("not for the policy"))
        return sorted(found, key=lambda item: item[1])

    def write(self, path, messages=None, *, storage="mcap", compression="", custom=None, types=None):
        """Write a bag and return its folder."""
        topics = {**self.topics, **(types or {})}
        writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
        if compression:
            writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
        connections = {}
        with writer:
            for key, value in (custom or {}).items():
                writer.set_custom_data(key, value)
            for topic, log_ns, message in self.messages() if messages is None else messages:
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, topics[topic], typestore=self.store)
                writer.write(connections[topic], log_ns, self.store.serialize_cdr(message, topics[topic]))
        return path

    def write_ros1(self, path, messages=None, *, compression="", chunk_bytes=20_000, types=None):
        """Write the same as a rosbag1 file and return its path."""
        store = get_typestore(Stores.ROS1_NOETIC)
        store.register({bag_schema.EVENTS_TYPE: self.store.fielddefs[bag_schema.EVENTS_TYPE]})

        def converted(value):
            if isinstance(value, list):
                return [converted(item) for item in value]
            if not hasattr(value, "__msgtype__"):
                return value
            kind: Any = store.types[value.__msgtype__]
            fields = [field.name for field in dataclasses.fields(kind)]
            return kind(**{name: 0 if name == "seq" else converted(getattr(value, name)) for name in fields})

        path.parent.mkdir(parents=True, exist_ok=True)
        writer = Bag1Writer(path)
        writer.chunk_threshold = chunk_bytes
        if compression:
            writer.set_compression(Bag1Writer.CompressionFormat[compression.upper()])
        connections = {}
        with writer:
            for topic, log_ns, message in self.messages() if messages is None else messages:
                type_ = (types or self.topics)[topic]
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, type_, typestore=store)
                data = store.serialize_ros1(converted(message), type_)
                writer.write(connections[topic], log_ns, data)
        return path

    def cut(self, path, fraction=0.6):
        """Cut a bag's MCAP file short, as a killed recorder or an interrupted copy does; returns the folder."""
        (file,) = path.glob("*.mcap")
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * fraction)])
        return path
