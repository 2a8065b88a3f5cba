# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A controller over injected time, with two streams and a robot that lags, sags, and is measured with noise."""

from __future__ import annotations

import numpy as np
from support.arm import COBOT, Arm, ArmModel

from hpt_ros.control import Command, ControlConfig, Controller, Kinematics, Limits, State, StreamRate
from hpt_ros.control.stillness import MOVING, WINDOW_S
from hpt_ros.errors import Refusal

S = 1_000_000_000
MS = 1_000_000
START = 1_000 * S
DT_S = 0.1
LIMITS = Limits(np.full(2, -2.0), np.full(2, 2.0), np.full(2, 2.0), np.full(2, 10.0))
PERIOD_S = 0.01
NOISE = 0.005  # of a single measurement against the mean of some: COBOT's, five times over, and its encoders' steps
# How far the mean of the last measurements is behind a robot that creeps as fast as one may that counts as at rest.
CREPT = WINDOW_S / 2.0 * MOVING * float(LIMITS.velocity.max())


class Rig:
    """A controller, its streams and a clock that only moves when told."""

    def __init__(
        self,
        config: ControlConfig | None = None,
        latency_s: float = 0.0,
        kinematics: Kinematics | None = None,
        model: ArmModel = COBOT,
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
        self.elapsed_s: list[float] = []  # of each command, when it was sent: this clock is never set
        self.starts: list[int] = []  # numbers of commands where motion began from the measured pose
        self._elapsed_ns = 0
        self._model = model
        self._told: tuple[Command, int] | None = None  # and when, until the robot is moved by hand
        self.camera_on = self.joints_on = True
        self.pose = np.array([0.5, -0.5])
        self.turned = np.zeros(2)  # how far off it is

    def state(self) -> State:
        return self.controller.state

    @property
    def counters(self) -> dict[str, int]:
        return self.controller.activation.counters

    def tick(self, count: int = 1, ms: int = 10) -> Command | None:
        command = None
        for _ in range(count):
            self.now += ms * MS
            self._elapsed_ns += ms * MS
            self._live()
            if self.camera_on and self.now % (100 * MS) == 0:
                self.controller.note_message("camera", self.now, self.now)
            measured = self._measured = self.robot.measured() + self.turned
            if self.joints_on:
                self.controller.note_message("joints", self.now, self.now)
                self.controller.note_pose(measured, self.now)
            command = self.controller.step(self.now)
            if command is not None:
                last = self.sent[-1].position if self.sent else None
                away = np.abs(np.clip(measured, -2.0, 2.0) - command.position).max()
                if last is None or (np.abs(last - measured).max() > 0.2 and away < NOISE + CREPT):
                    self.starts.append(len(self.sent))
                self.sent.append(command)
                self.elapsed_s.append(self._elapsed_ns / S)
                self._told = command, self._elapsed_ns
        return command

    def _live(self) -> None:
        """The robot goes along the curve that it was commanded last, by its own clock, or stays where it was put."""
        target = self.robot.position - self._model.sag
        if self._told is not None:
            command, sent_ns = self._told
            target = command.curve.at(command.now_ns + self._elapsed_ns - sent_ns).position
        self.robot.advance(self._elapsed_ns, target)

    @property
    def pose(self) -> np.ndarray:
        """Where chunks begin."""
        return self.base

    @pose.setter
    def pose(self, pose: np.ndarray) -> None:
        """Put the robot there by hand."""
        self.robot = Arm(self._model, pose, self._elapsed_ns)
        self.base, self._told, self._measured = pose, None, pose

    def measured(self) -> np.ndarray:
        """What was measured last, (2,)."""
        return self._measured

    def rest(self) -> None:
        """Until the robot was commanded to rest."""
        while not self.controller.at_rest:
            self.tick()

    def chunk(self, slope: float = 0.2, horizon: int = 16, age_ms: int = 20) -> Refusal | None:
        rows = self.pose + slope * DT_S * np.arange(horizon)[:, None]
        return self.controller.take_chunk(self.now - age_ms * MS, DT_S, rows, self.now)

    def run(self, slope: float = 0.2) -> Rig:
        self.controller.activate()
        self.tick(10)
        assert self.chunk(slope) is None
        self.start()
        return self

    def start(self) -> None:
        """Until motion begins, for which the robot's controller may have to come to where it does."""
        self.tick()
        while self.state() is State.WAITING and not self.controller.at_rest:
            self.tick()
        assert self.state() is State.RUNNING, self.controller.activation.waiting_for

    def check_limits(self) -> None:
        """All that was commanded keeps the limits over the times at which it was commanded, silences included.

        But for where motion begins from a measured pose: the robot was far from what it was commanded.
        """
        assert bool(self.sent) == bool(self.starts)
        ends = [*self.starts, len(self.sent)][1:]
        for first, end in zip(self.starts, ends, strict=True):
            path = np.array([command.position for command in self.sent[first:end]])
            spans = np.diff(self.elapsed_s[first:end])[:, None]
            velocity = np.diff(path, axis=0) / spans
            acceleration = np.diff(velocity, axis=0) / ((spans[1:] + spans[:-1]) / 2.0)
            assert (np.abs(path) <= 2.0).all()
            assert (np.abs(velocity) <= 2.0 * (1 + 1e-6)).all()
            assert (np.abs(acceleration) <= 10.0 * (1 + 1e-6)).all()
