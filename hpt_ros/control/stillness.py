# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Whether the robot itself is at rest, from where it was measured."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import NS_PER_S, Vector
from hpt_ros.control.refusals import Why
from hpt_ros.errors import Refusal

WINDOW_S = 0.1  # looked at, ours: an arm's lag (UMI)
# Part of the velocity limit that is no motion, ours: a sensor's noise of 10 mrad at 100 Hz looks like 0.1 rad/s, an arm
# that is moved by hand is faster.
MOVING = 0.1
SAMPLES_KEPT = 1024


class Stillness:
    """The mean pose and the mean velocity of the last measurements (least squares: a sensor has noise)."""

    def __init__(self, names: Sequence[str], slow: Vector, step: NDArray[np.bool_]) -> None:
        """Start with nothing measured.

        Args:
            names: of the dimensions.
            slow: (dim,) velocities below which they rest.
            step: (dim,) true for those that are not looked at (grippers).
        """
        self._names, self._slow, self._step = tuple(names), slow, step
        self._samples: deque[tuple[int, Vector]] = deque(maxlen=SAMPLES_KEPT)

    def reset(self) -> None:
        """Forget everything."""
        self._samples.clear()

    def note_pose(self, stamp_ns: int, position: Vector) -> None:
        """Note a measured pose (dim,); one that is not newer than the last says nothing."""
        if self._samples and stamp_ns <= self._samples[-1][0]:
            return
        self._samples.append((stamp_ns, position))
        # One at or before the window's begin stays.
        while len(self._samples) > 2 and self._samples[1][0] <= stamp_ns - round(WINDOW_S * NS_PER_S):
            self._samples.popleft()

    def moving(self, now_ns: int) -> Refusal | None:
        """Return why the robot does not count as at rest; None if it does."""
        if not self._samples:
            return Refusal(Why.UNMEASURED, "the measured pose")
        if self._samples[-1][0] <= now_ns - round(WINDOW_S * NS_PER_S):
            return None  # one that is published while it moves, and did not; whether it is too old the watchdog says
        if self._samples[-1][0] - self._samples[0][0] < round(WINDOW_S * NS_PER_S * 0.5):
            return Refusal(Why.UNMEASURED, f"measured poses of {WINDOW_S / 2:g} s")
        first = self._samples[0][0]
        times = np.array([stamp - first for stamp, _ in self._samples], dtype=np.float64) / NS_PER_S
        times -= times.mean()
        speed = np.abs(times @ np.stack([pose for _, pose in self._samples])) / (times @ times)
        excess = np.where(self._step, -np.inf, speed - self._slow)
        worst = int(np.argmax(excess))
        if excess[worst] <= 0.0:
            return None
        return Refusal(
            Why.MOVING, "the robot", float(speed[worst]),
            problem=f"to come to rest: {self._names[worst]} is measured moving by {speed[worst]:.3f} per second",
        )  # fmt: skip

    @property
    def pose(self) -> Vector:
        """The mean of the last measurements, (dim,)."""
        return np.asarray(np.mean([pose for _, pose in self._samples], axis=0))
