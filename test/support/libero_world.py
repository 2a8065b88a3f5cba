# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A world behind LIBERO's server without LIBERO: a hand that goes where it is pulled, and a box that sticks to it.

Run by itself it serves this world, and prints to everything that a library could print to.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from hpt_ros.sim.suites.libero import server

HALF = np.array([0.02, 0.04, 0.05])  # of the box
FOLLOWED = 0.5  # ratio of a pull that a step follows


class PointWorld:
    """See the module."""

    def __init__(self, task: int) -> None:
        """Stand somewhere."""
        print("made task", task)
        os.write(1, b"as a library below Python prints")
        self.versions: Mapping[str, str] = {"point-world": str(task)}
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Put hand, box and basket down."""
        draw = np.random.default_rng(seed).uniform(-0.02, 0.02, (3, 2))
        self.hand = np.array([-0.15, 0.0, 0.26]) + np.append(draw[0], 0.0)
        self.turned = Rotation.from_matrix([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
        self.box = np.array([*draw[1] + [-0.1, -0.2], HALF[2]])
        self.basket = np.array([*draw[2] + [0.0, 0.26], 0.06])
        self.fingers = 0.08
        self.held: Any = None

    def step(self, action: np.ndarray) -> None:
        """Follow half of a pull."""
        print("a step", action)
        assert np.abs(action).max() <= 1.0
        self.hand = self.hand + FOLLOWED * 0.05 * action[:3]
        self.turned = Rotation.from_rotvec(FOLLOWED * 0.5 * action[3:6]) * self.turned
        self.fingers = float(np.clip(self.fingers - 0.01 * np.sign(action[6]), 0.0, 0.08))
        closed = self.fingers <= 2.0 * HALF[0]
        if closed and self.held is None and (np.abs(self.hand - self.box) < HALF).all():
            self.held = self.box - self.hand
        if self.held is not None:
            self.fingers = max(self.fingers, 2.0 * HALF[0] - 0.01)
            self.box = self.hand + self.held
            if not closed:
                self.held, self.box[2] = None, HALF[2]

    def state(self) -> dict[str, np.ndarray]:
        """Return what LIBERO's has."""
        inside = self.held is None and np.abs(self.box - self.basket)[:2].max() < 0.05
        return {
            "hand": self.hand,
            "rotation": self.turned.as_matrix(),
            "fingers": np.array([self.fingers]),
            "target": np.stack([self.box - HALF, self.box + HALF]),
            "basket": self.basket,
            "success": np.array([float(inside)]),
        }

    def image(self, camera: str, height: int, width: int, video: bool) -> np.ndarray:
        """Return stripes that are elsewhere as hand and box are, and other ones for each camera."""
        print("an image of", camera)
        across = np.arange(width) / (4.0 if camera == "agentview" else 9.0) + 90.0 * self.box[0] + video
        down = np.arange(height)[:, None] / 7.0 + 90.0 * self.hand[2]
        grey = 127.0 + 60.0 * np.sin(across) + 60.0 * np.cos(down)
        return np.repeat(grey[:, :, None], 3, axis=2).astype(np.uint8)


if __name__ == "__main__":
    server.main(PointWorld)
