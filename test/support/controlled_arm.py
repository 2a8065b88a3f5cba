# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An arm behind a model of its controller, which runs at its own rate and phase; and what was asked of its motors."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from support.arm import Arm

from hpt_ros.errors import Refusal
from hpt_ros.sim.controllers import ForwardController, TrajectoryController

Array = npt.NDArray[np.float64]
NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Motion:
    """What the motors were told, over all cycles of the controller.

    Attributes:
        velocity: (N,) largest first difference of the commands, rad/s.
        acceleration: (N,) largest second difference, rad/s^2: what the controller makes of a message included.
        curve_acceleration: (N,) largest of the interpolated curve, rad/s^2; 0 behind a forward controller.
        jerk: (N,) largest third difference, rad/s^3.
        reversals: how often a joint that moves faster than 0.01 rad/s was told to turn back from one cycle to the next.
    """

    velocity: Array
    acceleration: Array
    curve_acceleration: Array
    jerk: Array
    reversals: int


class ControlledArm:
    """A controller and its arm. Messages arrive in order; `advance` runs the cycles in between.

    Args:
        controller: not yet active.
        arm: at rest.
        start_ns: of time.
        rate_hz: of the controller.
        phase_ns: of its cycles against `start_ns`.
    """

    def __init__(
        self,
        controller: TrajectoryController | ForwardController,
        arm: Arm,
        start_ns: int,
        rate_hz: float = 500.0,
        phase_ns: int = 700_000,
    ) -> None:
        self.controller, self.arm = controller, arm
        self.refused: list[tuple[int, Refusal]] = []
        self.told: list[Array] = []
        self._curve: list[Array] = []
        self._period_ns = round(NS_PER_S / rate_hz)
        self._due_ns = start_ns + phase_ns
        self._arriving: list[tuple[int, int, object]] = []
        self._number = itertools.count()
        controller.activate(arm.measured(), arm.velocity)

    def send(self, message: object, arrives_ns: int) -> None:
        """Let a message (as the controller's `receive` takes it) arrive at a time."""
        heapq.heappush(self._arriving, (arrives_ns, next(self._number), message))

    def advance(self, until_ns: int) -> None:
        """Run all cycles up to and including a time."""
        while self._due_ns <= until_ns:
            now_ns = self._due_ns
            while self._arriving and self._arriving[0][0] <= now_ns:
                arrived_ns, _, message = heapq.heappop(self._arriving)
                if isinstance(self.controller, TrajectoryController):
                    refused = self.controller.receive(message, arrived_ns)  # type: ignore[arg-type]
                else:
                    refused = self.controller.receive(message)  # type: ignore[arg-type]
                if refused is not None:
                    self.refused.append((arrived_ns, refused))
            command = self.controller.update(now_ns, self.arm.measured(), self.arm.velocity)
            self.told.append(command)
            if isinstance(self.controller, TrajectoryController):
                self._curve.append(self.controller.accelerations)
            self.arm.advance(now_ns, command)
            self._due_ns += self._period_ns

    def motion(self, skip: int = 0) -> Motion:
        """What the motors were told, from cycle `skip` on."""
        told, seconds = np.array(self.told[skip:]), self._period_ns / NS_PER_S
        velocity = np.diff(told, axis=0) / seconds
        acceleration = np.diff(velocity, axis=0) / seconds
        jerk = np.diff(acceleration, axis=0) / seconds
        curve = np.array(self._curve[skip:]) if self._curve else np.zeros_like(told)
        signs = np.sign(np.where(np.abs(velocity) > 0.01, velocity, 0.0))
        reversals = int((signs[:-1] * signs[1:] < 0).sum())
        return Motion(
            np.abs(velocity).max(axis=0),
            np.abs(acceleration).max(axis=0),
            np.abs(curve).max(axis=0),
            np.abs(jerk).max(axis=0),
            reversals,
        )
