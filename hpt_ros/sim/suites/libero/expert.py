# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A scripted pick and place: it looks at the object's box in every step, and begins again where it slips."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SPEED_M_S: Final = 0.25  # of the commanded position; the benchmark's controller follows it 4 cm behind
CAREFUL_M_S: Final = 0.12  # near the floor
TURN_RAD_S: Final = 1.2
OPEN, CLOSED = 1.0, 0.0
NEAR_M: Final = 0.012  # a position counts as reached
NEAR_RAD: Final = 0.06
ABOVE_M: Final = 0.10  # of the fingertips over the object's top on the way to it
DEPTH_M: Final = 0.03  # how far below its top a tall object is gripped
LOWEST_M: Final = 0.008  # of the fingertips over the floor
CLOSING, OPENING = 12, 8  # steps that the fingers are given
CARRY_M: Final = 0.30  # height of the fingertips on the way to the basket
RELEASE_M: Final = 0.05  # of the object's lowest point over the middle of the basket's inside
LOST_M: Final = 0.06  # between object and fingertips: it slipped
WIDEST_M: Final = 0.07  # between the fingers


class LiberoView(Protocol):
    """What the expert looks at, see `LiberoEnvironment`."""

    @property
    def now_ns(self) -> int: ...  # noqa: D102
    @property
    def hand_m(self) -> Floats: ...  # noqa: D102
    @property
    def hand_axes(self) -> Floats: ...  # noqa: D102
    @property
    def target_m(self) -> Floats: ...  # noqa: D102
    @property
    def basket_m(self) -> Floats: ...  # noqa: D102


class LiberoExpert:
    """Moves the commanded position on straight lines, and turns the hand about the vertical only.

    Args:
        scene: what it looks at.
    """

    def __init__(self, scene: LiberoView) -> None:
        """Begin where the hand is, with the fingers across the object's narrower side."""
        self._scene, self._target = scene, scene.hand_m
        low, high = scene.target_m
        wide = high - low
        # At 0 the fingers move along the world's x, at a right angle along its y; near the first they begin.
        self._goal_rad = np.pi / 2.0 if wide[0] > min(wide[1], WIDEST_M) else 0.0
        across = scene.hand_axes[:, 1]
        self._yaw_rad = float(np.arctan2(across[1], across[0]))
        self._phase, self._waited, self._opening = 0, 0, OPEN

    def action(self, time_ns: int) -> Floats:
        """Return the hand's position, its orientation's first two columns, and the gripper's opening (10,)."""
        dt_s = (time_ns - self._scene.now_ns) / 1e9
        position, speed_m_s = self._want()
        way = position - self._target
        far_m, most_m = float(np.linalg.norm(way)), speed_m_s * dt_s
        self._target = position if far_m <= most_m else self._target + way * (most_m / far_m)
        self._yaw_rad += float(np.clip(self._goal_rad - self._yaw_rad, -TURN_RAD_S * dt_s, TURN_RAD_S * dt_s))
        c, s = np.cos(self._yaw_rad), np.sin(self._yaw_rad)
        return np.concatenate([self._target, [-s, c, 0.0, c, s, 0.0], [self._opening]])

    def _want(self) -> tuple[Floats, float]:
        """Return where to go now, and how fast."""
        scene = self._scene
        hand, (low, high) = scene.hand_m, scene.target_m
        middle = 0.5 * (low + high)
        grip = np.array([middle[0], middle[1], max(min(middle[2], high[2]), high[2] - DEPTH_M, LOWEST_M)])
        if self._phase in (2, 3) and np.linalg.norm(np.maximum(low - hand, hand - high).clip(0.0)) > LOST_M:
            self._phase = 0  # it slipped
        if self._phase == 0:
            self._opening, self._waited = OPEN, 0
            over = np.array([middle[0], middle[1], high[2] + ABOVE_M])
            if np.linalg.norm((hand - over)[:2]) > NEAR_M or abs(self._turn_left()) > NEAR_RAD:
                return over, SPEED_M_S
            self._phase = 1
        if self._phase == 1:
            if hand[2] - grip[2] < NEAR_M or self._waited:
                self._opening, self._waited = CLOSED, self._waited + 1
                if self._waited >= CLOSING:
                    self._phase, self._held = 2, hand[2] - low[2]
                return self._target, CAREFUL_M_S
            return grip, CAREFUL_M_S
        basket = scene.basket_m
        if self._phase == 2:
            if hand[2] < CARRY_M - 0.04 and np.linalg.norm((hand - basket)[:2]) > 0.1:
                return np.array([self._target[0], self._target[1], CARRY_M]), SPEED_M_S
            over = np.array([basket[0], basket[1], CARRY_M]) + self._offset(hand, middle)
            if np.linalg.norm((hand - over)[:2]) > NEAR_M:
                return over, SPEED_M_S
            self._phase, self._waited = 3, 0
        down = np.array([self._target[0], self._target[1], basket[2] + RELEASE_M + self._held])
        if self._phase == 3:
            if hand[2] - down[2] > NEAR_M:
                return down, CAREFUL_M_S
            self._phase = 4
        self._opening, self._waited = OPEN, self._waited + 1
        if self._waited < OPENING:
            return self._target, CAREFUL_M_S
        return np.array([self._target[0], self._target[1], CARRY_M]), SPEED_M_S

    def _offset(self, hand: Floats, middle: Floats) -> Floats:
        """Return from the object's middle to the hand, level: the object is to be over the basket, not the hand."""
        return np.append((hand - middle)[:2], 0.0)

    def _turn_left(self) -> float:
        across = self._scene.hand_axes[:, 1]
        return float(np.arctan2(np.sin(a := self._goal_rad - np.arctan2(across[1], across[0])), np.cos(a)))
