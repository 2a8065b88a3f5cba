# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The tiny robot with every modality: depth, touch, point clouds, wrenches and a task that changes."""

from __future__ import annotations

import numpy as np
from support.tiny_robot import MS, START_NS, TEXT, Robot

from hpt_ros.embodiment import Embodiment

STREAMS = """
  - {name: near, modality: depth, topic: /near, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.15,
     image: {height: 12, width: 16}}
  - {name: finger, modality: tactile, topic: /finger, type: std_msgs/msg/Float32MultiArray, rate_hz: 20.0,
     tolerance_s: 0.15, length: 5}
  - {name: cloud, modality: pointcloud, topic: /cloud, type: sensor_msgs/msg/PointCloud2, rate_hz: 10.0,
     tolerance_s: 0.15, points: 6}
  - {name: tool, modality: wrench, topic: /tool, type: geometry_msgs/msg/WrenchStamped, rate_hz: 50.0,
     tolerance_s: 0.1}
  - {name: said, modality: language, topic: /task, type: std_msgs/msg/String, rate_hz: 1.0, tolerance_s: 60.0}
action:"""


class Senses(Robot):  # type: ignore[misc]
    """The tiny robot with more senses; every value says when it was measured, in ticks or seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.text = TEXT.replace("\naction:", STREAMS)
        self.embodiment = Embodiment.loads(self.text)
        self.topics = {
            **Robot.topics,
            **{stream.topic: stream.type for stream in self.embodiment.streams},
        }

    def depth(self, index, stamp_ns):
        pixels = np.full((12, 16), 1000 + index, "<u2")
        pixels[0] = 0
        return self.make(
            "sensor_msgs/msg/Image",
            header=self.header(stamp_ns),
            height=12,
            width=16,
            encoding="16UC1",
            is_bigendian=0,
            step=32,
            data=pixels.view(np.uint8).reshape(-1),
        )

    def array(self, values):
        layout = self.make("std_msgs/msg/MultiArrayLayout", dim=[], data_offset=0)
        return self.make("std_msgs/msg/Float32MultiArray", layout=layout, data=np.array(values, np.float32))

    def cloud(self, index, stamp_ns):
        points = np.arange(18, dtype="<f4").reshape(6, 3) + 100 * index
        fields = [
            self.make("sensor_msgs/msg/PointField", name=name, offset=4 * axis, datatype=7, count=1,
                      INT8=1, UINT8=2, INT16=3, UINT16=4, INT32=5, UINT32=6, FLOAT32=7, FLOAT64=8)
            for axis, name in enumerate("xyz")
        ]  # fmt: skip
        return self.make(
            "sensor_msgs/msg/PointCloud2",
            header=self.header(stamp_ns),
            height=1,
            width=6,
            fields=fields,
            is_bigendian=False,
            point_step=12,
            row_step=72,
            data=points.view(np.uint8).reshape(-1),
            is_dense=True,
        )

    def wrench(self, time_s, stamp_ns):
        force = self.make("geometry_msgs/msg/Vector3", x=time_s, y=2 * time_s, z=0.0)
        torque = self.make("geometry_msgs/msg/Vector3", x=-time_s, y=0.0, z=1.0)
        return self.make(
            "geometry_msgs/msg/WrenchStamped",
            header=self.header(stamp_ns),
            wrench=self.make("geometry_msgs/msg/Wrench", force=force, torque=torque),
        )

    def all_messages(self, duration_s=3.0, tasks=((-30, "pour"),)):
        """Messages of all topics; tasks as (milliseconds after the start, text)."""
        found = self.messages(duration_s)
        for index in range(int(duration_s * 10)):
            stamp = START_NS + index * 100 * MS - 7 * MS
            found.append(("/near", stamp + MS, self.depth(index, stamp)))
            found.append(("/cloud", stamp + 2 * MS, self.cloud(index, stamp)))
        for index in range(int(duration_s * 20)):
            # No header: its time is its arrival.
            found.append(
                ("/finger", START_NS + index * 50 * MS - 5 * MS, self.array(np.arange(5) + index / 2))
            )
        for index in range(int(duration_s * 50)):
            stamp = START_NS + index * 20 * MS - 15 * MS
            found.append(("/tool", stamp + MS, self.wrench((stamp - START_NS) * 1e-9, stamp)))
        found += [("/task", START_NS + at_ms * MS, self.string(text)) for at_ms, text in tasks]
        return sorted(found, key=lambda item: item[1])
