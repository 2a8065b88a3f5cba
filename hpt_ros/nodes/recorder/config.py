# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""ROS parameters of the recorder."""

from __future__ import annotations

from dataclasses import dataclass

from hpt_ros.nodes.recorder.controls import JoyConfig
from hpt_ros.structured import field

# An episode ends, whole, when there is less room than this: its index and metadata need some.
KEEP_FREE_MB = 200


@dataclass(frozen=True, slots=True)
class RecorderParameters:
    """ROS parameters of the node."""

    embodiment: str = field("path of the robot's embodiment file", default="")
    deployment: str = field("path of a deployment file with the facts of this cell; empty: none", default="")
    out_dir: str = field("folder that bags go to; made if it is not there", default="")
    keep_free_mb: int = field(
        "an episode ends when less than this is free on its disk", default=KEEP_FREE_MB, unit="MiB",
        minimum=0, maximum=1 << 40,
    )  # fmt: skip
    extra_topics: tuple[str, ...] = field("further topics to record, of whatever type they have", default=())
    all_topics: bool = field(
        "record every topic that is published, and decide later; the embodiment file may be left out then",
        default=False,
    )
    operator: str = field("who teleoperates; stored in each bag", default="")
    joy_topic: str = field("topic of the joystick, sensor_msgs/Joy", default="joy")
    joy: JoyConfig = field("buttons of the joystick", default=JoyConfig())
