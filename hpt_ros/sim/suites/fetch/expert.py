# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Scripted experts of Fetch's tasks, which look at the block in every step and begin again where it slips."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from hpt_ros.sim.suites.hand import FACING_DOWN

Floats = npt.NDArray[np.float64]

SPEED_M_S: Final = 0.6  # of the commanded position
PUSHING_M_S: Final = 0.25
OPEN_M, CLOSED_M = 0.05, 0.0  # of a finger
NEAR_M: Final = 0.012  # a position counts as reached
ABOVE_M: Final = 0.08  # height over the block on the way to it
BEHIND_M: Final = 0.08  # distance from the block's middle to begin to push from
CLOSING: Final = 8  # steps that the fingers are given


class FetchView(Protocol):
    """What the expert looks at, m."""

    @property
    def now_ns(self) -> int: ...  # noqa: D102
    @property
    def grip_m(self) -> Floats: ...  # noqa: D102
    @property
    def block_m(self) -> Floats: ...  # noqa: D102
    @property
    def goal_m(self) -> Floats: ...  # noqa: D102


class FetchExpert:
    """Moves the commanded position on straight lines from place to place.

    Args:
        task: reach, push or pick-place.
        scene: what it looks at.
    """

    def __init__(self, task: str, scene: FetchView) -> None:
        """Begin where the gripper is."""
        self._scene, self._target = scene, scene.grip_m
        self._want = {"reach": self._reach, "push": self._push, "pick-place": self._pick}[task]
        self._phase, self._closing, self._opening = 0, 0, CLOSED_M

    def action(self, time_ns: int) -> Floats:
        """Return the gripper's position, its fixed orientation and a finger's opening (7,)."""
        position, speed_m_s = self._want()
        way = position - self._target
        far_m = float(np.linalg.norm(way))
        most_m = speed_m_s * (time_ns - self._scene.now_ns) / 1e9
        self._target = position if far_m <= most_m else self._target + way * (most_m / far_m)
        return np.concatenate([self._target, FACING_DOWN, [self._opening]])

    def _reach(self) -> tuple[Floats, float]:
        return self._scene.goal_m, SPEED_M_S

    def _pick(self) -> tuple[Floats, float]:
        scene = self._scene
        grip, block = scene.grip_m, scene.block_m
        if self._phase == 2 and np.linalg.norm(grip - block) > 0.05:
            self._phase = 0  # it slipped
        if self._phase == 0:
            self._opening, self._closing = OPEN_M, 0
            over = block + np.array([0.0, 0.0, ABOVE_M])
            if np.linalg.norm((grip - block)[:2]) > NEAR_M:
                return over, SPEED_M_S
            self._phase = 1
        if self._phase == 1:
            if abs(grip[2] - block[2]) < NEAR_M:
                self._opening, self._closing = CLOSED_M, self._closing + 1
                self._phase = 2 if self._closing >= CLOSING else 1
            return block, SPEED_M_S
        return scene.goal_m + grip - block, SPEED_M_S

    def _push(self) -> tuple[Floats, float]:
        scene = self._scene
        grip, block, goal = scene.grip_m, scene.block_m, scene.goal_m
        way = (goal - block)[:2]
        far_m = float(np.linalg.norm(way))
        ahead = np.append(way / max(far_m, 1e-6), 0.0)
        behind = block - BEHIND_M * ahead
        beside = (grip - block) - ((grip - block) @ ahead) * ahead
        beside[2] = 0.0
        if self._phase == 2 and (np.linalg.norm(beside) > 0.03 or (grip - block) @ ahead > 0.0):
            self._phase = 0  # it slipped off
        if far_m < 0.01:
            return self._target, SPEED_M_S
        if self._phase == 0:
            if np.linalg.norm((grip - behind)[:2]) > NEAR_M:
                high = np.append(behind[:2], block[2] + ABOVE_M)
                up = np.append(self._target[:2], high[2])
                return (up if grip[2] < high[2] - 0.02 else high), SPEED_M_S
            self._phase = 1
        if self._phase == 1:
            if abs(grip[2] - block[2]) > NEAR_M:
                return behind, SPEED_M_S
            self._phase = 2
        return self._flat(grip + 0.05 * ahead - 1.5 * beside, block), min(PUSHING_M_S, 0.08 + 2.0 * far_m)

    def _flat(self, position: Floats, block: Floats) -> Floats:
        return np.append(position[:2], block[2])
