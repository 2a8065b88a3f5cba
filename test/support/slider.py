# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A robot with a speed slider behind scaled_joint_trajectory_controller, and the real control room in front."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from support.arm import Arm, ArmModel
from support.stream import HORIZON, START_NS, TICK_S, Delays, Plan, Stream, shipped_controller

from hpt_ros.control import ControlConfig, Limits
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.control.config import SpeedScalingConfig
from hpt_ros.sim.controllers import JAZZY, Release

FULL, V, A = 0.8, 3.1415, 5.0
LIMITS = Limits(np.full(2, -20.0), np.full(2, 20.0), np.full(2, V), np.full(2, A))
TOPIC = "/speed_scaling_state_broadcaster/speed_scaling"
CYCLE_S = 0.002  # of the controller


class SlidArm(Arm):  # type: ignore[misc]
    """An arm that goes a part of the way to its command in each cycle, and no faster than 1.5 times that of `FULL`."""

    scaling = 1.0
    position: np.ndarray
    velocity: np.ndarray
    _now_ns: int

    def advance(self, now_ns: int, command: np.ndarray) -> None:
        seconds = (now_ns - self._now_ns) / NS_PER_S
        most = 1.5 * self.scaling * FULL * seconds
        step = self.scaling * (command - self.position)
        step *= min(1.0, most / max(np.abs(step).max(), 1e-12))  # straight on
        self.velocity = step / seconds if seconds > 0.0 else self.velocity
        self.position, self._now_ns = self.position + step, now_ns


class Slider(Stream):  # type: ignore[misc]
    """A policy that goes on from where it sees the robot, at 0.8 rad/s, and a slider that somebody moves.

    Args:
        scaling: of the robot at the beginning, 0 to 1.
        known: whether the control room hears of it.
        release: of the controller.
        inference_s: mean duration.
        late_every: messages take equally long, but each of this number a cycle of the controller more; 0: none does;
            None: each draws anew (`Delays`).
        trajectories: whether times are labelled for a controller that scales trajectories.
    """

    _chunk: tuple[int, int] | None

    def __init__(
        self,
        scaling: float,
        *,
        known: bool = True,
        release: Release = JAZZY,
        inference_s: float = 0.03,
        late_every: int | None = None,
        trajectories: bool = True,
    ) -> None:
        controller = shipped_controller(release, ("joint0", "joint1"))
        speed = SpeedScalingConfig(topic=TOPIC, trajectories=trajectories)
        config = ControlConfig(speed_scaling=speed) if known else ControlConfig()
        self._late_every, self._drawn = late_every, 0
        super().__init__(
            controller, ArmModel(), LIMITS, rate_hz=100.0, plan=Plan("none", lambda t: np.zeros((len(t), 2))),
            calls=calls(), delays=Delays(inference_s=inference_s), config=config,
        )  # fmt: skip
        self.robot.arm = SlidArm(ArmModel(), np.zeros(2), START_NS)
        self.seen: list[tuple[int, np.ndarray]] = [(START_NS, np.zeros(2))]
        self.set(scaling)

    def _draw_ns(self, mean_s: float) -> int:
        if self._late_every is None:
            return super()._draw_ns(mean_s)
        self._drawn += 1
        late = self._late_every and self._drawn % self._late_every == 0
        return round((mean_s + (CYCLE_S if late else 0.0)) * NS_PER_S)

    def set(self, scaling: float) -> None:
        assert isinstance(self.robot.arm, SlidArm)
        self.robot.arm.scaling = scaling
        self.robot.controller.speed_scaling = scaling
        if self.room.config.speed_scaling.topic:
            self.room.note_speed_scaling(100.0 * scaling)

    def _measure(self, now_ns: int) -> None:
        super()._measure(now_ns)
        self.seen.append((now_ns, self.robot.arm.position))

    def _infer(self, now_ns: int) -> None:
        if self._chunk is not None and now_ns >= self._chunk[0]:
            tick_ns, self._chunk = self._chunk[1], None
            pose = next(pose for at_ns, pose in reversed(self.seen) if at_ns <= tick_ns)
            way = FULL * TICK_S * np.arange(HORIZON)[:, None]
            self.room.take_chunk(tick_ns, TICK_S, pose + way * [1.0, -0.5], now_ns)
        super()._infer(now_ns)


def calls() -> Iterator[int]:
    now_ns = START_NS
    while True:
        now_ns += 10_000_000
        yield now_ns
