# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Joints that turn without end: no seam for limits, chunks, tracking and starts, whatever turns are reported."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.arm import Arm, ArmModel
from support.refused import assert_refusal

from hpt_ros.angles import TURN, shortest
from hpt_ros.control import Command, ControlConfig, Controller, Limits, State, StreamRate
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.control.refusals import Why
from hpt_ros.errors import Refusal

MS = 1_000_000
START = 1000 * NS_PER_S
V, A = 2.0, 10.0
LIMITS = Limits(np.array([-np.inf, -2.0]), np.array([np.inf, 2.0]), np.full(2, V), np.full(2, A))
WRAPS = np.array([True, False])
HORIZON, DT_S = 16, 0.1


class Life:
    """A continuous joint and another, a robot that lags and reports -pi to pi, and a policy that sees that alone."""

    def __init__(self, start: float, speed: float, lag_ms: int, wrapped_targets: bool) -> None:
        self.controller = Controller(
            ControlConfig(),
            LIMITS,
            ("spin", "lift"),
            (StreamRate("joints", 100.0),),
            rate_hz=100.0,
            wraps=WRAPS,
        )
        self.now, self.speed, self.wrapped_targets = START, speed, wrapped_targets
        self.model = ArmModel(lag_ms / 2e3, lag_ms / 2e3)
        self.arm = Arm(self.model, np.array([start, 0.0]), START)
        self.sent: list[Command] = []
        self.path: list[np.ndarray] = []  # what it was commanded, every 2 ms
        self.answers: list[Refusal | None] = []
        self.blocked = False
        self.controller.activate()

    @property
    def measured(self) -> np.ndarray:
        """As its driver reports it."""
        measured = self.arm.measured()
        return np.array([float(shortest(measured[:1])[0]), measured[1]])

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            if self.sent:
                curve = self.sent[-1].curve
                times = range(self.now + 2 * MS, self.now + 12 * MS, 2 * MS)
                self.path.extend(curve.at(time_ns).position for time_ns in times)
            self.now += 10 * MS
            told = self.path[-1] if self.path and not self.blocked else self.arm.position
            self.arm.advance(self.now, told)
            self.controller.note_message("joints", self.now, self.now)
            self.controller.note_pose(self.measured, self.now)
            if (self.now - START) % (200 * MS) == 0:
                self.predict()
            command = self.controller.step(self.now)
            if command is not None:
                self.sent.append(command)

    def predict(self) -> None:
        """A chunk that goes on from what is seen, some of it past the seam."""
        values = np.tile(self.measured, (HORIZON, 1))
        values[:, 0] += self.speed * DT_S * np.arange(HORIZON)
        if self.wrapped_targets:
            values[:, 0] = shortest(values[:, 0])
        self.answers.append(self.controller.take_chunk(self.now, DT_S, values, self.now))

    def check_limits(self) -> None:
        path = np.array(self.path)
        velocity = np.diff(path, axis=0) / 0.002
        assert np.abs(velocity).max() <= V * (1 + 1e-6)
        assert np.abs(np.diff(velocity, axis=0)).max() / 0.002 <= A * (1 + 1e-6) + 1e-2


@settings(max_examples=20, deadline=None)
@given(st.floats(-np.pi, np.pi), st.floats(-1.8, 1.8), st.sampled_from([0, 40, 80]), st.booleans())
@example(2.9, 0.5, 0, False)
@example(2.9, 0.5, 0, True)
@example(-3.1, -1.8, 80, True)
@example(np.pi, 0.0, 40, True)
def test_when_a_joint_turns_past_the_seam_expect_motion_that_goes_on_within_the_limits(
    start: float, speed: float, lag_ms: int, wrapped_targets: bool
) -> None:
    life = Life(start, speed, lag_ms, wrapped_targets)
    life.tick(500)
    assert life.controller.state is State.RUNNING, life.controller.activation.reason
    assert not any(life.answers)
    assert life.controller.activation.counters["clamped_position"] == 0
    life.check_limits()
    turned = life.path[-1][0] - life.path[0][0]
    # A policy that begins anew from the measured pose loses what the arm lags, five times a second.
    assert np.sign(turned) == np.sign(speed) or abs(speed) < 0.1
    assert abs(turned) >= 0.4 * abs(speed) * 4.0 - 0.1


@pytest.mark.parametrize("reported", [-3.1, 2.0 * np.pi - 3.1, -3.1 - 2.0 * np.pi])
def test_when_the_robot_reports_the_other_side_of_the_seam_expect_the_start_from_the_last_command(
    reported,
) -> None:
    life = Life(3.1, 0.0, 0, True)
    life.tick(100)
    told = life.sent[-1].position[0]
    assert abs(told - 3.1) < 1e-6
    life.controller.disable()
    life.tick(50)
    life.arm = Arm(life.model, np.array([reported, 0.0]), life.now)
    life.path[-1] = life.arm.position
    count = len(life.sent)
    life.controller.enable()
    life.tick(60)
    assert life.controller.state is State.RUNNING, life.controller.activation.waiting_for
    assert abs(life.sent[count].position[0] - told) < 1e-9
    assert np.abs(np.diff([command.position[0] for command in life.sent[count:]])).max() <= V * 0.01 + 1e-9


def test_when_a_joint_is_a_turn_minus_little_away_from_its_command_expect_that_little_as_the_error() -> None:
    life = Life(3.1, 0.0, 0, False)
    life.tick(100)
    assert life.controller.monitors.tracking.error < 1e-9
    life.controller.note_pose(np.array([3.1 + 0.05 - TURN, 0.0]), life.now + 1)
    assert life.controller.monitors.tracking.error == pytest.approx(0.05, abs=1e-6)


def test_when_a_continuous_joint_is_blocked_expect_a_fault() -> None:
    life = Life(3.0, 1.0, 0, True)
    life.tick(60)
    life.blocked = True
    life.tick(100)
    assert life.controller.state is State.FAULT
    assert_refusal(life.controller.activation.reason, Why.TRACKING, subject="spin")


def test_when_a_policy_asks_for_half_a_turn_at_once_expect_it_refused() -> None:
    life = Life(0.0, 0.0, 0, False)
    life.tick(100)
    values = np.tile(life.measured, (HORIZON, 1))
    values[:, 0] += 3.0
    jump = life.controller.take_chunk(life.now, DT_S, values, life.now)
    assert_refusal(jump, Why.JUMP, problem="away from where it is")
