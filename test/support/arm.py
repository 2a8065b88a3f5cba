# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A model of an arm between its controller's commands and what its encoders say, with time as an argument.

What rigs that follow at once leave out: a lag (first order), a dead time, gravity that pulls the arm below its command,
noise, the encoders' steps, and an object between the fingers that stops a closing gripper.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

Array = npt.NDArray[np.float64]
NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ArmModel:
    """Properties of an arm; the defaults follow at once and measure exactly.

    Attributes:
        lag_s: time constant of the first order between command and position.
        dead_time_s: from a command to its first effect.
        sag: what gravity pulls each joint away from its command, rad; a number or (N,).
        noise: standard deviation of a measured position, rad.
        step: of the encoders, rad; 0: none.
        held: joint number to the position at which an object stops it from closing (going up).
    """

    lag_s: float = 0.0
    dead_time_s: float = 0.0
    sag: float | Array = 0.0
    noise: float = 0.0
    step: float = 0.0
    held: dict[int, float] = field(default_factory=dict)

    def append_reason(self, seconds: float) -> float:
        """Which part of the way to a command that does not change it goes in a time."""
        return 1.0 if self.lag_s == 0.0 else float(-np.expm1(-seconds / self.lag_s))


# A cobot in position mode: lag and dead time of UR5e-like arms, a sag that a controller without integral part leaves.
COBOT = ArmModel(lag_s=0.04, dead_time_s=0.01, sag=-0.005, noise=0.0005, step=0.0002)


class Arm:
    """An arm at rest at `position` (N,); `advance` moves it to a time under a command.

    Attributes:
        position: (N,) where it is, rad.
        velocity: (N,) over the last advance, rad/s.
    """

    def __init__(self, model: ArmModel, position: Array, now_ns: int, seed: int = 0) -> None:
        self.model = model
        self.position = np.array(position, dtype=np.float64)
        self.velocity = np.zeros_like(self.position)
        self._now_ns = now_ns
        self._target = self.position - model.sag
        self._coming: deque[tuple[int, Array]] = deque()
        self._rng = np.random.default_rng(seed)

    def advance(self, now_ns: int, command: Array) -> None:
        """To `now_ns`, at which it gets `command` (N,)."""
        model, before_ns = self.model, self._now_ns
        self._coming.append((now_ns + round(model.dead_time_s * NS_PER_S), np.array(command)))
        while self._coming and self._coming[0][0] <= now_ns:
            self._target = self._coming.popleft()[1]
        seconds = (now_ns - before_ns) / NS_PER_S
        fraction = model.append_reason(seconds)
        before = self.position
        self.position = before + fraction * (self._target + model.sag - before)
        for joint, at in model.held.items():
            self.position[joint] = min(self.position[joint], max(at, before[joint]))
        if seconds > 0.0:
            self.velocity = (self.position - before) / seconds
        self._now_ns = now_ns

    def measured(self) -> Array:
        """What the encoders say now (N,), rad."""
        noisy = self.position + self.model.noise * self._rng.standard_normal(self.position.shape)
        return noisy if self.model.step == 0.0 else np.round(noisy / self.model.step) * self.model.step


class Wrist:
    """The orientation of an arm's tool, which lags as the arm does and is measured with its noise, per axis."""

    def __init__(self, model: ArmModel, rotation: Rotation, now_ns: int, seed: int = 0) -> None:
        self.model, self.rotation = model, rotation
        self._now_ns = now_ns
        self._rng = np.random.default_rng(seed)

    def advance(self, now_ns: int, command: Rotation) -> None:
        """To `now_ns`, at which it gets `command`."""
        fraction = self.model.append_reason((now_ns - self._now_ns) / NS_PER_S)
        away = (command * self.rotation.inv()).as_rotvec()
        self.rotation, self._now_ns = Rotation.from_rotvec(fraction * away) * self.rotation, now_ns

    def measured(self) -> Rotation:
        """What a driver computes from the encoders now."""
        return Rotation.from_rotvec(self.model.noise * self._rng.standard_normal(3)) * self.rotation
