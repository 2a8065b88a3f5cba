# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A robot with every modality, and a small dataset of it in which each modality alone shows where to go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset import DatasetWriter
from hpt_ros.embodiment import Embodiment

TASKS = ("to the left", "to the right")
LENGTH = 9
EPISODES = 6
POINTS = 24
EMBODIMENT = """
format: hpt_ros/embodiment/1
name: many
tick_hz: 10.0
observation_horizon: 2
streams:
  - {name: front, modality: image, topic: /front, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.1,
     image: {height: 32, width: 32}}
  - {name: range, modality: depth, topic: /range, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.1,
     image: {height: 16, width: 16}}
  - {name: joints, modality: state, topic: /joint_states, type: sensor_msgs/msg/JointState, rate_hz: 100.0,
     tolerance_s: 0.1, joints: [j1, j2], fields: [position, velocity]}
  - {name: wrist, modality: wrench, topic: /wrench, type: geometry_msgs/msg/WrenchStamped, rate_hz: 100.0,
     tolerance_s: 0.1}
  - {name: thumb, modality: tactile, topic: /thumb, type: std_msgs/msg/Float32MultiArray, rate_hz: 50.0,
     tolerance_s: 0.1, length: 4}
  - {name: finger, modality: tactile, topic: /finger, type: std_msgs/msg/Float32MultiArray, rate_hz: 50.0,
     tolerance_s: 0.1, length: 4}
  - {name: cloud, modality: pointcloud, topic: /cloud, type: sensor_msgs/msg/PointCloud2, rate_hz: 10.0,
     tolerance_s: 0.1, points: 24}
  - {name: order, modality: language, topic: /order, type: std_msgs/msg/String, rate_hz: 1.0, tolerance_s: 60.0}
action:
  topic: /commands
  type: trajectory_msgs/msg/JointTrajectory
  names: [j1, j2]
  rate_hz: 10.0
  horizon: 3
  limits:
    - {name: j1, lower: -3.0, upper: 3.0, velocity: 2.0, acceleration: 10.0}
    - {name: j2, lower: -3.0, upper: 3.0, velocity: 2.0, acceleration: 10.0}
"""


def ticks(side: float, rng: np.random.Generator) -> list[dict[str, NDArray[Any]]]:
    """One episode: the joints go to one side (-1 or 1), and everything that is sensed says which."""
    found = []
    column = 4 if side < 0 else 20
    for fraction in np.linspace(0.2, 1.0, LENGTH):
        picture = rng.integers(90, 110, (32, 32, 3)).astype(np.uint8)
        picture[8:24, column : column + 8] = (220, 40, 30)
        depth = rng.integers(900, 1100, (16, 16)).astype(np.uint16)
        depth[4:12, column // 2 : column // 2 + 4] = 300
        depth[0, :4] = 0  # nothing measured
        goal = side * np.array([1.0, -0.5])
        found.append(
            {
                "observation.images.front": picture,
                "observation.depth.range": depth,
                "observation.state": np.concatenate((fraction * goal, 0.1 * goal)),
                "observation.wrench": side * np.arange(1.0, 7.0) + rng.normal(size=6),
                "observation.tactile.thumb": rng.normal(size=4) + 2.0 * side,
                "observation.tactile.finger": rng.normal(size=4) - 2.0 * side,
                "observation.pointcloud.cloud": rng.normal(size=(POINTS, 3)) * 0.05 + [0.5, 0.3 * side, 0.2],
                "action": fraction * goal + 0.1 * goal,
            }
        )
    return found


def write_many(root: Path) -> None:
    """Write the dataset: episodes to the left and to the right in turn."""
    rng = np.random.default_rng(4)
    with DatasetWriter(root, Embodiment.loads(EMBODIMENT)) as writer:
        for index in range(EPISODES):
            episode = writer.episode(TASKS[index % 2])
            for values in ticks(1.0 if index % 2 else -1.0, rng):
                episode.add(values)
            writer.append(episode.finish())
        writer.finish()
