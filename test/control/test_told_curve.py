# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a robot is commanded over its life, as one curve: legal at every moment, whatever timer, robot and people do."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.arm import Arm, ArmModel
from support.joint_trajectories import to_joint_trajectory
from support.refused import saying

from hpt_ros.control import Command, ControlConfig, Controller, DeadmanConfig, Limits, State, StreamRate
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.control.curve import Curve
from hpt_ros.control.refusals import Why
from hpt_ros.sim.trajectory import JointTrajectory, interpolate

MS = 1_000_000
START = 1000 * NS_PER_S
LIMITS = Limits(np.array([-2.0, -2.0, 0.0]), np.array([2.0, 2.0, 0.8]), np.full(3, 2.0), np.full(3, 10.0))
NAMES = ("a", "b", "finger")
ARM = slice(0, 2)
ROUNDING = 1e-3  # of an acceleration from positions 2 ms apart: 4 * 2e-16 / 4e-6


class Life:
    """A controller, and a robot that lags behind its commands, sags, and holds an object between its fingers."""

    def __init__(self, lag_ms: int, sag: float, noise: float, jerk: float | None = None) -> None:
        limits = Limits(
            LIMITS.lower, LIMITS.upper, LIMITS.velocity, LIMITS.acceleration,
            None if jerk is None else np.full(3, jerk),
        )  # fmt: skip
        self.controller = Controller(
            ControlConfig(deadman=DeadmanConfig(topic="/d")), limits, NAMES,
            (StreamRate("joints", 100.0),), rate_hz=100.0, grippers=("finger",),
        )  # fmt: skip
        self.now = START
        # Half of what it lags is transport, half its own.
        model = ArmModel(lag_ms / 2e3, lag_ms / 2e3, sag=-sag, noise=noise, held={2: 0.5})
        self.arm = Arm(model, np.array([0.3, -0.2, 0.5]), START)
        self.sent: list[Command] = []
        self.path: list[np.ndarray] = []  # what it was commanded to do, every 2 ms
        self.held = True

    def tick(self, ms: int = 10) -> None:
        """A call of the timer, that long after the last."""
        if self.sent:
            curve = self.sent[-1].curve
            # A message arrives 2 ms after it was sent; until then the one before counts.
            times = range(self.now + 2 * MS, self.now + (ms + 2) * MS, 2 * MS)
            self.path.extend(curve.at(time_ns).position for time_ns in times)
        self.now += ms * MS
        self.arm.advance(self.now, self.path[-1] if self.path else self.arm.position - self.arm.model.sag)
        self.controller.note_deadman(self.held, self.now)
        self.controller.note_message("joints", self.now, self.now)
        self.controller.note_pose(self.arm.measured(), self.now)
        command = self.controller.step(self.now)
        if command is not None:
            self.sent.append(command)

    def chunk(self, slope: float) -> None:
        base = self.sent[-1].position if self.sent else np.array([0.3, -0.2, 0.8])
        rows = base + slope * 0.1 * np.arange(16)[:, None]
        rows[:, 2] = 0.8
        self.controller.take_chunk(self.now - self.now % (20 * MS), 0.1, rows, self.now)

    def run(self) -> Life:
        self.controller.activate()
        for _ in range(12):
            self.tick()
        self.chunk(1.0)
        for _ in range(60):
            self.tick()
        assert self.controller.state is State.RUNNING, self.controller.activation.waiting_for
        return self

    def check(self) -> None:
        path = np.array(self.path)
        assert (path >= LIMITS.lower).all()
        assert (path <= LIMITS.upper).all()
        velocity = np.diff(path, axis=0) / 0.002
        assert (np.abs(velocity) <= LIMITS.velocity * (1 + 1e-6)).all()
        acceleration = np.diff(velocity, axis=0) / 0.002
        assert (np.abs(acceleration) <= LIMITS.acceleration * (1 + 1e-6) + ROUNDING).all()


happenings = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "go on",
                "late",
                "early",
                "lost",
                "chunk",
                "slip",
                "stop",
                "task",
                "again",
                "jump",
                "nan",
                "silence",
            ]
        ),
        st.integers(1, 30),
        st.floats(-8, 8),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(
    happenings, st.sampled_from([0, 20, 50, 100]), st.sampled_from([0.0, 0.02]), st.sampled_from([0.0, 0.003])
)
@example([("slip", 6, 1.0)] * 5, 100, 0.02, 0.0)
@example([("late", 4, 1.0), ("chunk", 5, 2.0)] * 4, 50, 0.0, 0.0)
# Deactivated in motion, and moved on before the way to rest is over; then told from where it came to rest.
@example([("go on", 27, 4.0), ("again", 7, 0.0), ("again", 6, -4.0)], 20, 0.02, 0.0)
@example([("chunk", 19, 2.0), ("again", 19, 2.0), ("chunk", 30, 1.0)], 0, 0.02, 0.0)
def test_whatever_happens_in_its_life_expect_the_robot_told_one_legal_curve_and_a_grip_kept(
    events: list[tuple[str, int, float]], lag_ms: int, sag: float, noise: float
) -> None:
    life = Life(lag_ms, sag, noise).run()
    controller = life.controller
    for kind, count, slope in events:
        if kind == "late":
            life.tick(10 + 2 * count)
        elif kind == "early":
            life.tick(2)
        elif kind == "lost":
            sent = list(life.sent)
            life.tick()
            life.sent[:] = sent
        elif kind == "chunk":
            life.chunk(slope)
        elif kind == "slip":
            life.held = False
            for _ in range(count):
                life.tick()
            life.held = True
        elif kind == "stop":
            controller.stop()
            for _ in range(count):
                life.tick()
            controller.clear_fault()
        elif kind == "task":
            controller.disable()
            controller.enable()
        elif kind == "again":
            controller.deactivate()
            controller.activate()
        elif kind == "jump":
            controller.note_clock_jump(saying("the clock was set", Why.WENT_BACK))
        elif kind == "nan":
            controller.take_chunk(life.now, 0.1, np.full((4, 3), np.nan), life.now)
        elif kind == "silence":
            life.tick(100 * count)
        for _ in range(count):
            life.tick()
            if count % 7 == 0:
                life.chunk(slope / 4)
    life.check()
    fingers = np.array(life.path)[:, 2]
    closed = int(np.argmax(fingers >= 0.8)) if (fingers >= 0.8).any() else len(fingers)
    assert (fingers[closed:] == 0.8).all()  # though measured at 0.5


@pytest.mark.parametrize("lag_ms", [0, 30, 100])
def test_when_the_switch_slips_expect_motion_from_the_last_command_though_the_robot_lags(lag_ms: int) -> None:
    life = Life(lag_ms, 0.02, 0.0).run()
    last = life.sent[-1].curve.controls[-1]
    life.held = False
    for _ in range(3):
        life.tick()
    life.held = True
    life.chunk(0.5)
    for _ in range(60):
        life.tick()
    assert life.controller.state is State.RUNNING
    assert np.abs(life.sent[-1].position - last).max() > 0.0
    life.check()


def test_when_the_timer_is_late_by_no_more_than_the_margin_expect_nothing_changed_at_all() -> None:
    calm, late = Life(0, 0.0, 0.0).run(), Life(0, 0.0, 0.0).run()
    for _ in range(10):
        calm.tick(10)
        calm.tick(10)
        late.tick(20)
    assert late.controller.activation.counters["command_gaps"] == 0
    same = min(len(calm.path), len(late.path))
    np.testing.assert_allclose(np.array(calm.path)[:same, ARM], np.array(late.path)[:same, ARM], atol=1e-12)


def test_when_the_process_is_killed_expect_the_last_message_to_brake_within_limits() -> None:
    life = Life(0, 0.0, 0.0).run()
    assert np.abs(life.sent[-1].velocity[ARM]).max() > 0.9
    sent = life.sent[-1]
    times = range(sent.now_ns, sent.curve.end_ns + 200 * MS, MS)
    path = np.array([sent.curve.at(time_ns).position for time_ns in times])
    acceleration = np.diff(path, n=2, axis=0) / 1e-6
    assert (np.abs(acceleration) <= 10.0 * (1 + 1e-6) + 1e-2).all()
    assert (path[-1] == path[-100]).all()


@given(
    st.lists(st.lists(st.floats(-3, 3), min_size=2, max_size=2), min_size=4, max_size=12),
    st.booleans(),
)
def test_a_controllers_cubics_and_quintics_through_the_knots_are_the_curve(
    controls: list[list[float]], quintic: bool
) -> None:
    curve = Curve(START, 10 * MS, np.array(controls))
    command = Command(START, curve.controls[0], np.zeros(2), curve, START)
    message = JointTrajectory.of(to_joint_trajectory(command, ["a", "b"], START))
    points = message.points
    for before, after in itertools.pairwise(points):
        span_ns = after.time_from_start_ns - before.time_from_start_ns
        states = [before.state, after.state]
        if not quintic:
            states = [type(state)(state.positions, state.velocities) for state in states]
        for part in (0.0, 0.3, 0.77):
            elapsed_s = round(part * span_ns) / NS_PER_S
            here = interpolate(states[0], states[1], elapsed_s, span_ns / NS_PER_S)
            there = curve.at(message.stamp_ns + before.time_from_start_ns + round(part * span_ns))
            np.testing.assert_allclose(here.positions, there.position, atol=1e-9)


def test_when_jerk_is_limited_expect_it_kept_with_all_other_limits() -> None:
    life = Life(0, 0.0, 0.0, jerk=100.0).run()
    life.chunk(-1.0)
    for _ in range(60):
        life.tick()
    life.controller.stop()
    for _ in range(80):
        life.tick()
    life.check()
    jerk = np.diff(np.array(life.path), n=3, axis=0) / 0.002**3
    assert 50.0 < np.abs(jerk[:, ARM]).max() <= 100.0 * (1 + 1e-3)
