# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The dog and its bowl (dog.xml, bowl.xml), which are in more than one scene."""

from __future__ import annotations

from typing import Final

import numpy as np

from hpt_ros.sim.physics import Physics

BOWL_INNER_RADIUS_M: Final = 0.085
BOWL_RIM_M: Final = 0.056
REST_M_S: Final = 0.15  # a piece slower than this has come to rest
_TAIL_FROM_DOG_M: Final = np.array([-0.125, 0.0, 0.045])


def wag(physics: Physics, yaw_rad: float, fed: bool) -> None:
    """Wag the tail of a dog that looks in this direction: slowly while it waits, quickly when it is fed."""
    swing = (0.7 if fed else 0.25) * np.sin(2 * np.pi * (2.5 if fed else 0.8) * physics.time_s)
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    offset = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ _TAIL_FROM_DOG_M
    physics.place("dog_tail", physics.body_position("dog") + offset, yaw_rad + swing)


def pieces_in_bowl(physics: Physics) -> int:
    """Return how many pieces rest in the bowl now."""
    positions = physics.piece_poses[:, :3] - physics.body_position("bowl")
    inside = (np.hypot(positions[:, 0], positions[:, 1]) < BOWL_INNER_RADIUS_M) & (
        positions[:, 2] < BOWL_RIM_M
    )
    return int((inside & (physics.piece_speeds_m_s < REST_M_S)).sum())
