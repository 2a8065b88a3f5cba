# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""ROS parameters of the simulator node."""

from __future__ import annotations

from dataclasses import dataclass

from hpt_ros.resources import DEMO
from hpt_ros.sim.demonstrations import MOST_DISTURBANCE_RAD
from hpt_ros.sim.environment import (
    ENVIRONMENTS,
    Environment,
    make_environment,
)
from hpt_ros.sim.transport import Transport
from hpt_ros.sim.variation import level_of, restrict, with_settings
from hpt_ros.structured import field


@dataclass(frozen=True, slots=True)
class SimParameters:
    """ROS parameters of the node."""

    environment: str = field("name of the environment, as 'hpt eval --env' takes it", default=DEMO)
    real_time_factor: float = field(
        "simulated seconds per wall second; 0 runs as fast as possible",
        default=1.0,
        minimum=0.0,
        maximum=100.0,
    )
    picture_height: int = field("height of /picture_camera", default=480, unit="px", minimum=16, maximum=960)
    picture_width: int = field("width of /picture_camera", default=640, unit="px", minimum=16, maximum=1280)
    jpeg_quality: int = field("quality of the compressed images", default=90, minimum=1, maximum=100)
    image_delay_s: float = field(
        "shortest time from a camera's exposure to the image's publication",
        default=0.0, unit="s", minimum=0.0, maximum=10.0,
    )  # fmt: skip
    image_jitter_s: float = field(
        "mean of a random time on top, drawn for each image", default=0.0, unit="s", minimum=0.0, maximum=10.0
    )
    image_lost: float = field(
        "ratio of images that are never published", default=0.0, minimum=0.0, maximum=1.0
    )
    disturbance_rad: float = field(
        "standard deviation of smooth random offsets between commanded and executed joint targets",
        default=0.0, unit="rad", minimum=0.0, maximum=MOST_DISTURBANCE_RAD,
    )  # fmt: skip
    difficulty: str = field(
        "how far scenes differ: standard, varied, hard or extreme, as 'hpt eval --difficulty'",
        default="standard",
    )
    vary: tuple[str, ...] = field("one thing of it each, KEY=VALUE, as 'hpt eval --vary'", default=())
    seed: int = field("seed of the scene at the start", default=0, minimum=0)

    def make(self) -> Environment:
        """Make the environment.

        Raises:
            HptError: there is none of that name, it cannot be made here, or does not vary so.
        """
        images = Transport(self.image_delay_s, self.image_jitter_s, self.image_lost)
        varies = ENVIRONMENTS[self.environment].varies
        variation = with_settings(restrict(level_of(self.difficulty), varies), self.vary)
        return make_environment(
            self.environment, images, disturbance_rad=self.disturbance_rad, variation=variation
        )
