# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""When a goal is sent to a driver that goes to one target at a time and keeps the last: seldom."""

from __future__ import annotations

import math

import numpy as np

from hpt_ros.control.chunk import NS_PER_S, Vector

# A goal that was rejected is sent again after this long, ours: a driver that is busy or starts needs seconds.
RETRY_S = 1.0


class GoalPacer:
    """Decides whether a target becomes a goal. Pure: time is an argument.

    A goal goes out when the target has moved by more than a resolution since the last goal, and not sooner after that
    than a rate permits; a target that moved meanwhile goes out then, so the last one always does. Where the driver was
    when motion first began is not sent: a gripper that holds an object would be commanded to go where its fingers are,
    and let go. After a pause, in which others may have moved it, what it was commanded last is sent once more.
    """

    def __init__(self, resolution: float, rate_hz: float) -> None:
        """Start with nothing sent.

        Args:
            resolution: largest move of a target that is not sent, in the action's unit.
            rate_hz: at most so many goals a second; infinite: one for each target that moved.
        """
        self._resolution = resolution
        self._usual_ns = 0 if math.isinf(rate_hz) else round(NS_PER_S / rate_hz)
        self._least_ns = self._usual_ns
        self._last: Vector | None = None  # what the driver has, or had when motion began
        self._sent_ns: int | None = None
        self._again = self._ever = False

    def begin(self) -> None:
        """An activation begins."""
        self._again = self._ever

    def due(self, target: Vector, began: Vector, now_ns: int) -> bool:
        """Whether to send a goal now; if so, it counts as sent.

        Args:
            target: (n,) where to go.
            began: (n,) where motion began, if it just did.
            now_ns: now.
        """
        if self._last is None and not self._ever:
            self._last = began.copy()
        moved = self._last is None or bool((np.abs(target - self._last) > self._resolution).any())
        if not (moved or self._again):
            return False
        if self._sent_ns is not None and 0 <= now_ns - self._sent_ns < self._least_ns:
            return False
        self._last, self._sent_ns = target.copy(), now_ns
        self._again, self._ever = False, True
        self._least_ns = self._usual_ns
        return True

    def note_rejected(self) -> None:
        """The last goal was not taken: it is due again, after a while."""
        self._again, self._least_ns = True, max(self._usual_ns, round(RETRY_S * NS_PER_S))

    def note_loss(self) -> None:
        """The driver is gone: what it was commanded last is sent when it is there again."""
        self._again = self._ever
