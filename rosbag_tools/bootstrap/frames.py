# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Measured poses of tools that a bag has as transforms alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from hpt_ros.embodiment import Stream
from hpt_ros.embodiment.kinds import CARTESIAN_POSE
from hpt_ros.embodiment.message_types.transforms import TF_TYPE
from hpt_ros.observation import InvalidSampleError
from hpt_ros.observation.transforms import TransformChain
from rosbag_tools.bootstrap.commands import DetectedCommand
from rosbag_tools.bootstrap.poses import Pose
from rosbag_tools.reading.reader import Bag

# Messages that the frames of a robot are looked for in: those that move are in each.
LOOKED_AT = 2000
STATIC = "_static"


def tool_pose(bag: Bag, topic: str, rate_hz: float, command: DetectedCommand) -> Pose | None:
    """The pose of the outermost frame that is nearest to where a Cartesian command goes, in the command's frame.

    Args:
        bag: an open bag.
        topic: of the transforms that move.
        rate_hz: of it.
        command: Cartesian.
    """
    messages = [item.content for item in islice(bag.messages([topic, f"{topic}{STATIC}"]), LOOKED_AT)]
    parents = {
        _name(item.child_frame_id): _name(item.header.frame_id)
        for message in messages
        for item in message.transforms
    }
    outermost = sorted(set(parents) - set(parents.values()))
    found: list[tuple[float, str, np.ndarray]] = []
    goal = command.values[:, :3].mean(axis=0) if command.kind == CARTESIAN_POSE else None
    for child in outermost:
        positions = _positions(messages, command.frame_id, child, topic)
        if len(positions) >= 2:
            away = 0.0 if goal is None else float(np.linalg.norm(positions.mean(axis=0) - goal))
            found.append((away, child, positions))
    if not found:
        return None
    _, child, positions = min(found, key=lambda item: item[:2])
    return Pose(topic, rate_hz, command.frame_id, positions, child=child)


def _positions(messages: Sequence[object], frame: str, child: str, topic: str) -> np.ndarray:
    chain = TransformChain(Stream("tool", "state", topic, TF_TYPE, 1.0, 1.0, frame=frame, child=child))
    found = []
    for message in messages:
        try:
            pose = chain.take(message)
        except InvalidSampleError:
            continue
        if pose is not None:
            place = pose.pose.position
            found.append((place.x, place.y, place.z))
    return np.array(found, dtype=np.float64).reshape(-1, 3)


def _name(frame: str) -> str:
    return str(frame).lstrip("/")
