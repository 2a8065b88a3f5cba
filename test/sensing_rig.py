# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A robot with every sense: the arm of policy_rig with a depth camera, wrench, skin, point cloud and a task's topic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from geometry_msgs.msg import Vector3, Wrench, WrenchStamped
from policy_rig import HOME, ROBOT, Robot
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState, PointCloud2, PointField
from std_msgs.msg import Float32MultiArray, String

from hpt_ros.embodiment import ImageSpec, Stream

NS = 1_000_000_000
_SENSES = (
    Stream("far", "depth", "/far", "sensor_msgs/msg/Image", 10.0, 0.15, image=ImageSpec(8, 12)),
    Stream("wrist_force", "wrench", "/wrench", "geometry_msgs/msg/WrenchStamped", 100.0, 0.1),
    Stream("skin", "tactile", "/skin", "std_msgs/msg/Float32MultiArray", 20.0, 0.15, length=4),
    Stream("cloud", "pointcloud", "/cloud", "sensor_msgs/msg/PointCloud2", 10.0, 0.15, points=5),
    Stream("instruction", "language", "/task", "std_msgs/msg/String", 1.0, 1.0, qos="reliable"),
)
SENSING = replace(ROBOT, streams=(*ROBOT.streams, *_SENSES), observation_horizon=2)
TASKS = ("feed the dog", "water the cat")
KINDS = {
    "sensor_msgs/msg/Image": Image,
    "sensor_msgs/msg/JointState": JointState,
    "sensor_msgs/msg/PointCloud2": PointCloud2,
    "geometry_msgs/msg/WrenchStamped": WrenchStamped,
    "std_msgs/msg/Float32MultiArray": Float32MultiArray,
    "std_msgs/msg/String": String,
}


def message_of(stream: Stream, seed: int, stamp_ns: int, pose: Any = None) -> Any:
    """A message as a driver sends it; equal arguments give equal messages."""
    random = np.random.default_rng(seed)
    if stream.modality == "image":
        data = random.integers(0, 256, (96, 128 * 3), dtype=np.uint8).tobytes()
        message = Image(height=96, width=128, step=128 * 3, encoding="rgb8", data=data)
    elif stream.modality == "depth":
        metres = random.uniform(0.2, 4.0, (8, 12)).astype("<f4")
        message = Image(height=8, width=12, step=48, encoding="32FC1", data=metres.tobytes())
    elif stream.modality == "state":
        # A path that an arm can follow: a jump would not be believed.
        turn = 0.2 * np.sin(stamp_ns / NS + np.arange(len(stream.joints)))
        position = HOME + turn if pose is None else np.asarray(pose)
        message = JointState(name=list(stream.joints), position=position.tolist())
    elif stream.modality == "wrench":
        numbers = random.normal(size=6).tolist()
        force, torque = (Vector3(x=v[0], y=v[1], z=v[2]) for v in (numbers[:3], numbers[3:]))
        message = WrenchStamped(wrench=Wrench(force=force, torque=torque))
    elif stream.modality == "tactile":
        return Float32MultiArray(data=random.normal(size=stream.length).tolist())
    elif stream.modality == "pointcloud":
        fields = [
            PointField(name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
            for place, name in enumerate("xyz")
        ]
        points = random.normal(size=(20, 3)).astype("<f4")
        message = PointCloud2(
            height=1, width=20, fields=fields, point_step=12, row_step=240, data=points.tobytes(), is_dense=True
        )  # fmt: skip
    else:
        return String(data=TASKS[seed % len(TASKS)])
    message.header.stamp.sec, message.header.stamp.nanosec = stamp_ns // NS, stamp_ns % NS
    return message


class SensingRobot(Robot):  # type: ignore[misc]
    """Publishes the further senses too, but for the task, which `say` does. `off` names streams that are dead."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.off: set[str] = set()
        self.number = 0
        self.senses = {
            stream.name: self.create_publisher(KINDS[stream.type], stream.topic, qos_profile_sensor_data)
            for stream in _SENSES
            if stream.modality != "language"
        }
        self.voice = self.create_publisher(String, "/task", 10)
        self.create_timer(0.02, self._publish_senses)

    def say(self, text: str) -> None:
        self.voice.publish(String(data=text))

    def _publish_senses(self) -> None:
        self.number += 1
        now_ns = self.get_clock().now().nanoseconds
        for name, publisher in self.senses.items():
            if name not in self.off:
                publisher.publish(message_of(SENSING.stream(name), self.number, now_ns))
