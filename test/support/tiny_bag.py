# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A bag of a robot without cameras (`support.tiny_mixture`): joints at 50 Hz, commands at 25 Hz, both along sines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from hpt_ros.embodiment import Embodiment

NS = 1_000_000_000
KINDS = {"/joint_states": "sensor_msgs/msg/JointState", "/commands": "trajectory_msgs/msg/JointTrajectory"}


def path_of(times_s: Any, joints: int, seed: int) -> Any:
    """Where the joints are at some times, (N, joints): at rest at first, and always slower than the robot's limits."""
    times_s = np.maximum(np.asarray(times_s) - 0.6, 0.0)
    times_s = times_s**2 / (times_s + 0.5)
    phases = np.random.default_rng(seed).uniform(0.0, 6.0, joints)
    return 0.4 * np.sin(0.8 * times_s[..., None] + phases)


def write_tiny_bag(
    path: Path,
    robot: Embodiment,
    *,
    seed: int = 0,
    length_s: float = 4.0,
    silent_s: tuple[float, float] = (9.0, 9.0),
) -> Path:
    """Write the bag; joint states are missing between two times."""
    store = get_typestore(Stores.ROS2_KILTED)
    names, empty = list(robot.action.names), np.zeros(0)

    def make(kind: str, /, **fields: Any) -> Any:
        return store.types[kind](**fields)

    def header(ns: int) -> Any:
        stamp = make("builtin_interfaces/msg/Time", sec=ns // NS, nanosec=ns % NS)
        return make("std_msgs/msg/Header", stamp=stamp, frame_id="")

    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in KINDS.items()}
        for step in range(round(50 * length_s) + 1):
            time_s, ns = step / 50, 1_000_000_000 * NS + step * NS // 50
            messages: dict[str, Any] = {}
            if not silent_s[0] < time_s < silent_s[1]:
                place = path_of(time_s, len(names), seed)
                messages["/joint_states"] = make(
                    KINDS["/joint_states"],
                    header=header(ns),
                    name=names,
                    position=place,
                    velocity=empty,
                    effort=empty,
                )
            if step % 2 == 0:
                point = make(
                    "trajectory_msgs/msg/JointTrajectoryPoint", positions=path_of(time_s + 0.1, len(names), seed),
                    velocities=empty, accelerations=empty, effort=empty,
                    time_from_start=make("builtin_interfaces/msg/Duration", sec=0, nanosec=0),
                )  # fmt: skip
                messages["/commands"] = make(
                    KINDS["/commands"], header=header(ns), joint_names=names, points=[point]
                )
            for topic, message in messages.items():
                # A few milliseconds on the way, as messages are.
                writer.write(topics[topic], ns + 3_000_000, store.serialize_cdr(message, KINDS[topic]))
    return path
