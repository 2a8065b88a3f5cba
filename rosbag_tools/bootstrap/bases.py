# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Mobile bases in a bag: the velocity that they are commanded, and the odometry that measures it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice

import numpy as np

from hpt_ros.embodiment import Stream
from hpt_ros.embodiment.kinds import TWIST_ELEMENTS
from hpt_ros.embodiment.message_types.twist import ELSEWHERE
from hpt_ros.errors import Code
from hpt_ros.observation import DecodeError, decode
from rosbag_tools.bootstrap.joints import Floats
from rosbag_tools.bootstrap.sensors import Unsupported
from rosbag_tools.reading.decodable import MOST_ODD
from rosbag_tools.reading.reader import Bag

ODOMETRY_TYPE = "nav_msgs/msg/Odometry"
TWIST_TYPE, STAMPED_TYPE = "geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped"
NAME = "cmd_vel"  # of a base's topic, by convention
# diff_drive_controller's cmd_vel_timeout: a base stands when its last command is older.
TIMEOUT_S = 0.5


@dataclass
class Odometry:
    """A topic of a base's measured velocity, in the frame `child_frame_id`."""

    topic: str
    rate_hz: float
    child_frame_id: str


def find_odometry(bag: Bag, topic: str, rate_hz: float) -> Odometry:
    """A topic of odometry; raises Unsupported if it cannot be decoded."""
    refused: Unsupported | None = None
    for message in islice(bag.messages([topic]), MOST_ODD):
        try:
            decode(
                Stream("probe", "state", topic, ODOMETRY_TYPE, 1.0, 1.0, fields=("twist",)), message.content
            )
        except DecodeError as error:
            refused = refused or Unsupported.of(error.refusal)
            continue
        return Odometry(topic, rate_hz, str(message.content.child_frame_id).lstrip("/"))
    raise refused or Unsupported(Code.EMPTY, problem="it has no messages")


def commands_base(topic: str, type_: str, frame_id: str, frames: Collection[str]) -> bool:
    """Whether a twist is a base's and not a tool's: unstamped, called cmd_vel, or in a frame that odometry measures."""
    if type_ == TWIST_TYPE:
        return True
    return type_ == STAMPED_TYPE and (NAME in topic or (bool(frame_id) and frame_id in frames))


def find_used_axes(values: Floats) -> tuple[str, ...]:
    """Axes along which twists (N, 6) command anything; raises Unsupported if there are none."""
    moving = np.abs(values).max(axis=0) > ELSEWHERE
    if not moving.any():
        raise Unsupported(Code.EMPTY, problem="it commands no motion at all; record a drive")
    return tuple(axis for axis, used in zip(TWIST_ELEMENTS, moving, strict=True) if used)


def settle_odometry(found: list[Odometry], driven: bool, left_out: dict[str, str]) -> list[Odometry]:
    """The odometry that the policy sees: the busiest, if a base is driven. Others are left out with the reason."""
    order = sorted(found, key=lambda item: (-item.rate_hz, item.topic))
    for item in order[1 if driven else 0 :]:
        left_out[item.topic] = (
            f"{order[0].topic} measures the base more often; take one of them"
            if driven
            else "no command of a base is in the bag; record its cmd_vel, or add it as a state stream if it is observed"
        )
    return order[:1] if driven else []
