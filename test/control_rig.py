# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A controller over injected time, with two streams and a robot that goes where it is told."""

from __future__ import annotations

import numpy as np

from hpt_ros.control import Command, ControlConfig, Controller, Kinematics, Limits, State, StreamRate

S = 1_000_000_000
MS = 1_000_000
START = 1_000 * S
DT_S = 0.1
LIMITS = Limits(np.full(2, -2.0), np.full(2, 2.0), np.full(2, 2.0), np.full(2, 10.0))
PERIOD_S = 0.01


class Rig:
    """A controller, its streams and a clock that only moves when told."""

    def __init__(
        self,
        config: ControlConfig | None = None,
        latency_s: float = 0.0,
        kinematics: Kinematics | None = None,
    ) -> None:
        self.controller = Controller(
            config or ControlConfig(),
            LIMITS,
            ("a", "b"),
            (StreamRate("camera", 10.0), StreamRate("joints", 100.0)),
            rate_hz=100.0,
            latency_s=latency_s,
            kinematics=kinematics,
        )
        self.now = START
        self.sent: list[Command] = []
        self.starts: list[
            tuple[int, np.ndarray]
        ] = []  # first command after silence: its number, the measured pose
        self.camera_on = self.joints_on = True
        self.told: np.ndarray | None = None  # the command of the last period
        self.pose = np.array([0.5, -0.5])
        self.follows = True  # commands, where there are any
        self.turned = np.zeros(2)  # how far off it is

    def state(self) -> State:
        return self.controller.state

    @property
    def counters(self) -> dict[str, int]:
        return self.controller.session.counters

    def tick(self, count: int = 1, ms: int = 10) -> Command | None:
        command = None
        for _ in range(count):
            self.now += ms * MS
            if self.camera_on and self.now % (100 * MS) == 0:
                self.controller.message("camera", self.now, self.now)
            if self.joints_on:
                self.controller.message("joints", self.now, self.now)
                self.controller.measured(self.measured() + self.turned, self.now)
            measured = self.measured() + self.turned
            command = self.controller.step(self.now)
            if command is not None and self.told is None:
                self.starts.append((len(self.sent), measured))
            self.told = None if command is None else command.position
            if command is not None:
                self.sent.append(command)
        return command

    def measured(self) -> np.ndarray:
        return self.told if self.follows and self.told is not None else self.pose

    def chunk(self, slope: float = 0.2, horizon: int = 16, age_ms: int = 20) -> str:
        rows = self.pose + slope * DT_S * np.arange(horizon)[:, None]
        return self.controller.chunk(self.now - age_ms * MS, DT_S, rows, self.now)

    def run(self, slope: float = 0.2) -> Rig:
        self.controller.activate()
        self.tick(10)
        assert self.chunk(slope) == ""
        self.tick()
        assert self.state() is State.RUNNING, self.controller.session.waiting_for
        return self

    def check_limits(self) -> None:
        """Each stretch of commands begins at the measured pose and keeps the limits to its end."""
        assert bool(self.sent) == bool(self.starts)
        ends = [*(number for number, _ in self.starts), len(self.sent)][1:]
        for (first, measured), end in zip(self.starts, ends, strict=True):
            path = np.array([command.position for command in self.sent[first:end]])
            velocity = np.diff(path, axis=0) / PERIOD_S
            acceleration = np.diff(velocity, axis=0) / PERIOD_S
            assert (np.abs(path[0] - np.clip(measured, -2.0, 2.0)) <= 2.0 * PERIOD_S).all()
            assert (np.abs(path) <= 2.0).all()
            assert (np.abs(velocity) <= 2.0 * (1 + 1e-6)).all()
            assert (np.abs(acceleration) <= 10.0 * (1 + 1e-6)).all()
