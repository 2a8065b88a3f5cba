# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which topics of a bag measure a tool's pose, and in which frame."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpt_ros.errors import Code
from rosbag_tools.bootstrap.joints import Floats
from rosbag_tools.bootstrap.sensors import OddMessages, Unsupported
from rosbag_tools.reading.reader import Bag

POSE_TYPE = "geometry_msgs/msg/PoseStamped"


@dataclass
class Pose:
    """A topic of measured poses: position (N, 3) in m and the frame of all of its messages."""

    topic: str
    rate_hz: float
    frame_id: str
    positions: Floats
    child: str = ""  # frame of the tool, of a topic of transforms
    odd: str = ""  # which of its messages do not fit, how many and why, in words; empty if all do


def find_pose(bag: Bag, topic: str, rate_hz: float) -> Pose:
    """A topic of measured poses; raises Unsupported if too many of its messages are in other frames."""
    places: dict[str, list[tuple[float, float, float]]] = {}
    for message in bag.messages([topic]):
        place = message.content.pose.position
        places.setdefault(frame_of(message.content), []).append((place.x, place.y, place.z))
    usual = max(places, key=lambda frame: len(places[frame]), default="")
    odd = OddMessages()
    for frame, positions in places.items():
        odd.count("" if frame == usual else unlike_frame(frame, usual), len(positions))
    frame_id = one_frame(places if odd.too_many else [usual])
    return Pose(
        topic, rate_hz, frame_id, np.array(places[usual], dtype=np.float64), odd=odd.sentence()
    )  # fmt: skip


def frame_of(message: Any) -> str:
    """The frame of a message with a header."""
    return str(message.header.frame_id).lstrip("/")


def unlike_frame(frame: str, usual: str) -> str:
    """Why a message does not fit that is in another frame than the others."""
    return f"it is in the frame {frame[:40]!r}, and others in {usual[:40]!r}"


def one_frame(frames: Collection[str]) -> str:
    """The only one of some frames; raises Unsupported if there are several, or it is no name."""
    if len(frames) != 1 or not (frame := next(iter(frames))) or not frame.isprintable() or len(frame) > 200:
        shown = ", ".join(repr(frame[:40]) for frame in sorted(frames)[:3])
        raise Unsupported(
            Code.MISMATCH, problem=f"its frame_id is {shown}, but one name in all messages is used"
        )
    return frame


def find_measured_pose(frame_id: str, places: Floats | None, poses: Sequence[Pose]) -> Pose | None:
    """The measured pose in a command's frame; of several the one nearest to the commanded places, else the first.

    Args:
        frame_id: of the command.
        places: (N, 3) that it commands, m; None if it commands none.
        poses: measured ones.
    """
    alike = [pose for pose in poses if pose.frame_id == frame_id]
    if places is None:
        return alike[0] if alike else None
    middle = places.mean(axis=0)
    return min(
        alike,
        key=lambda pose: float(np.linalg.norm(np.nanmean(pose.positions, axis=0) - middle)),
        default=None,
    )
