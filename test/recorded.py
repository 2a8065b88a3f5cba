# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Two seconds of every sense in a bag, what the converter makes of it, and a policy that keeps what it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensing_rig import NS, SENSING, message_of
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hpt_ros.embodiment.streams import in_namespace
from hpt_ros.observation import Tick
from hpt_ros.policies.protocol import Observation
from rosbag_tools.converting.resample import Resampler, Row
from rosbag_tools.reading.reader import Bag

MS = 1_000_000
START = 1_700_000_000 * NS
RECORDED = SENSING.with_topics(in_namespace)  # names in a bag are absolute
ACTION = RECORDED.action


@dataclass
class Watching:
    """Keeps what it is shown, and never moves the robot: its first target is always far away."""

    seen: dict[int, Observation] = field(default_factory=dict)
    ahead: list[tuple[int, ...]] = field(default_factory=list)

    def predict(self, observation: Observation) -> np.ndarray:
        self.seen[observation.stamp_ns] = observation
        return np.tile(SENSING.upper, (ACTION.horizon, 1))

    def observe(self, observation: Observation) -> None:
        self.ahead.append(observation.keys)

    def reset(self) -> None:
        pass


def recorded_command(seed: int, stamp_ns: int) -> Any:
    point = JointTrajectoryPoint(positions=np.random.default_rng(seed).normal(size=ACTION.dim).tolist())
    message = JointTrajectory(joint_names=list(ACTION.names), points=[point])
    message.header.stamp.sec, message.header.stamp.nanosec = stamp_ns // NS, stamp_ns % NS
    return message


def whole(data: bytes, type_: str, store: Any) -> bytes:
    """Without the bytes that rclpy leaves after a message, which no recording has."""
    definition = store.get_msgdef(type_)
    _, length = definition.deserialize_cdr_le(data[4:], 0, definition.cls, store)
    return data[: 4 + length]


def write_bag(path: Path) -> Path:
    """Two seconds of all streams and commands; the skin is silent in between."""
    random = np.random.default_rng(5)
    store = get_typestore(Stores.ROS2_KILTED)
    entries: list[tuple[int, str, str, Any]] = []
    for stream in RECORDED.streams:
        for number in range(int(2 * stream.rate_hz)):
            stamp = START + round(number * NS / stream.rate_hz) - 3 * MS
            if stream.name == "skin" and 0.9 < number / stream.rate_hz < 1.4:
                continue
            log_ns = stamp + int(random.integers(MS, 15 * MS))
            entries.append((log_ns, stream.topic, stream.type, message_of(stream, number, stamp)))
    for number in range(100):
        stamp = START + number * 20 * MS + 4 * MS
        type_ = "trajectory_msgs/msg/JointTrajectory"
        entries.append((stamp + 2 * MS, ACTION.topic, type_, recorded_command(number, stamp)))
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections: dict[str, Any] = {}
        for log_ns, topic, type_, message in sorted(entries, key=lambda entry: entry[0]):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, type_, typestore=store)
            writer.write(connections[topic], log_ns, whole(serialize_message(message), type_, store))
    return path


def converted(bag: Path, optional: frozenset[str]) -> dict[int, Row]:
    """The converter's rows, by the tick's time."""
    resampler = Resampler(RECORDED, optional=optional)
    with Bag.open(bag) as opened:
        rows = [
            row
            for message in opened.messages(resampler.topics)
            for row in resampler.push(message.topic, message.content, message.log_ns)
        ]
    return {row.tick.stamp_ns: row for row in [*rows, *resampler.finish()]}


def require_inputs(inputs: Mapping[str, np.ndarray], ticks: Sequence[Tick]) -> None:
    """What a policy was shown is what the converter has at these ticks, number for number."""
    for index, tick in enumerate(ticks):
        for view, stream in enumerate(SENSING.image_streams):
            np.testing.assert_array_equal(inputs["image"][0, index, view], tick.arrays[stream.name])
        for modality, name in (("depth", "far"), ("pointcloud", "cloud"), ("tactile", "skin")):
            if modality != "tactile" or "tactile" in inputs:
                np.testing.assert_array_equal(inputs[modality][0, index, 0], tick.arrays[name])
        np.testing.assert_array_equal(inputs["state"][0, index], tick.state.astype(np.float32))
        np.testing.assert_array_equal(inputs["wrench"][0, index], tick.vectors["wrench"].astype(np.float32))
    assert ("tactile" in inputs) == all(not tick.absent for tick in ticks)
