# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Tracking, frozen pictures, the deadman's switch and hung inference over injected time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.arm import COBOT, Arm
from support.refused import assert_refusal

from hpt_ros.control import (
    Command,
    ControlConfig,
    Controller,
    DeadmanConfig,
    Limits,
    QueueConfig,
    State,
    StreamRate,
    TrackingConfig,
    WatchdogConfig,
)
from hpt_ros.control.frozen import FrozenImages
from hpt_ros.control.refusals import Why
from hpt_ros.control.tracking import Tracking

MS = 1_000_000
START = 1_000_000 * MS
PERIOD_S = 0.01
LIMITS = Limits(np.full(2, -2.0), np.full(2, 2.0), np.full(2, 2.0), np.full(2, 10.0))
SWITCH = DeadmanConfig(topic="/deadman")


class Rig:
    """A controller at 100 Hz, a policy that moves both joints at 0.5 rad/s, and a robot that follows as a real one."""

    def __init__(self, config: ControlConfig | None = None) -> None:
        streams = (StreamRate("camera", 10.0), StreamRate("joints", 100.0))
        self.controller = Controller(config or ControlConfig(), LIMITS, ("a", "b"), streams, rate_hz=100.0)
        self.now = START
        self.sent: list[Command] = []
        self.told: Command | None = None
        self.robot = np.zeros(2)
        self.follows = self.policy_on = True
        self.busy_s = 0.0
        self.held: bool | None = None
        self.picture, self.frozen = 0, False
        self.reasons: list[str] = []
        self.controller.activate()

    @property
    def robot(self) -> np.ndarray:
        """Where it is, (2,)."""
        return self.arm.position

    @robot.setter
    def robot(self, position: np.ndarray) -> None:
        self.arm, self.told = Arm(COBOT, position, self.now), None

    @property
    def state(self) -> State:
        return self.controller.state

    @property
    def counters(self) -> dict[str, int]:
        return self.controller.activation.counters

    def tick(self, count: int = 1) -> None:
        controller = self.controller
        for _ in range(count):
            self.now += 10 * MS
            goes = self.follows and self.told is not None
            self.arm.advance(
                self.now, self.told.curve.at(self.now).position if goes else self.robot - COBOT.sag
            )
            controller.note_message("joints", self.now, self.now)
            controller.note_pose(self.arm.measured(), self.now)
            if self.now % (100 * MS) == 0:
                controller.note_message("camera", self.now, self.now)
                self.picture += not self.frozen
                controller.note_frame("camera", np.array([self.picture]))
            if self.held is not None and self.now % (50 * MS) == 0:
                controller.note_deadman(self.held, self.now)
            controller.note_inference_running(self.busy_s)
            if self.policy_on and controller.wants_chunk(self.now):
                rows = self.robot + 0.5 * 0.1 * np.arange(16)[:, None]
                controller.take_chunk(self.now - 20 * MS, 0.1, rows, self.now)
            command = controller.step(self.now)
            if command is not None:
                self.sent.append(command)
                self.told = command

    def until(self, state: State, most: int = 400) -> None:
        for _ in range(most):
            if self.state is state:
                return
            self.tick()
        pytest.fail(f"still {self.state.name} after {most} periods, not {state.name}")

    def run(self) -> Rig:
        self.until(State.RUNNING)
        self.tick(60)
        assert self.state is State.RUNNING
        assert self.sent[-1].velocity[0] > 0.3
        return self

    def until_silent(self) -> None:
        sent = -1
        while len(self.sent) > sent:
            sent = len(self.sent)
            self.tick()
        assert not self.sent[-1].velocity.any()
        path = np.array([command.position for command in self.sent])
        velocity = np.diff(path, axis=0) / PERIOD_S
        assert (np.abs(velocity) <= LIMITS.velocity * (1 + 1e-6)).all()
        assert (np.abs(np.diff(velocity, axis=0)) / PERIOD_S <= LIMITS.acceleration * (1 + 1e-6)).all()


# --- tracking --------------------------------------------------------------------------------------------------------


def tracking(**values: float) -> Tracking:
    return Tracking(TrackingConfig(**values), ("a", "b"), np.zeros(2, dtype=bool))


def test_when_the_robot_is_blocked_expect_rest_within_limits_and_a_fault_that_names_the_joint():
    rig = Rig().run()
    rig.follows = False
    stuck = rig.now
    rig.until(State.FAULT)
    assert rig.counters["tracking_stops"] == 1
    # At 0.5 rad/s it is 0.2 rad behind after 0.4 s, seen with 0.1 s of permitted lag and 0.1 s of duration.
    assert 500 * MS < rig.now - stuck < 800 * MS
    assert_refusal(rig.controller.latched, Why.TRACKING, problem="is measured at")
    rig.until_silent()


def test_when_a_fault_of_tracking_is_cleared_expect_motion_from_the_measured_pose():
    rig = Rig().run()
    rig.follows = False
    rig.until(State.FAULT)
    rig.until_silent()
    assert rig.controller.clear_fault() is None
    rig.follows = True
    sent = len(rig.sent)
    pose, rig.told = rig.robot.copy(), None
    rig.until(State.RUNNING)
    np.testing.assert_allclose(rig.sent[sent].position, pose, atol=2e-3)
    rig.tick(100)
    assert rig.counters["tracking_stops"] == 1


def test_when_moved_by_hand_while_nothing_is_commanded_expect_no_fault():
    rig = Rig().run()
    rig.controller.disable()
    rig.until_silent()
    rig.robot = rig.robot - 0.9
    rig.tick(50)
    assert rig.state is State.WAITING
    assert rig.counters["tracking_stops"] == 0


@given(lag_ms=st.integers(0, 100), speed=st.floats(-2, 2))
def test_when_the_robot_lags_no_more_than_permitted_expect_no_error(lag_ms, speed):
    guard = tracking(lag_s=0.1)
    for step in range(100):
        now = START + step * 10 * MS
        guard.note_command(now + 10 * MS, np.array([speed, -speed]) * step * PERIOD_S)
        then = max(step - 1 - lag_ms / 10, 0)
        guard.note_pose(now, np.array([speed, -speed]) * then * PERIOD_S)
        assert guard.error <= 1e-9
    assert guard.problem is None


def test_when_the_robot_lags_more_than_permitted_expect_the_distance_to_the_window():
    guard = tracking(lag_s=0.1)
    for step in range(100):
        guard.note_command(START + step * 10 * MS, np.array([step * PERIOD_S, 0.0]))
    # 0.3 s behind: 0.2 s beyond the window's oldest command at 1 rad/s.
    guard.note_pose(START + 990 * MS, np.array([0.69, 0.0]))
    assert guard.error == pytest.approx(0.2)


def test_when_away_for_a_moment_only_expect_no_problem():
    guard = tracking(error=0.2, duration_s=0.1)
    guard.note_command(START, np.zeros(2))
    for step in range(1, 60):
        away = 0.5 if step % 10 else 0.0
        guard.note_pose(START + step * 10 * MS, np.array([0.0, away]))
    assert guard.problem is None
    for step in range(60, 75):
        guard.note_pose(START + step * 10 * MS, np.array([0.0, 0.5]))
    assert_refusal(
        guard.problem, Why.TRACKING, value=0.5, subject="b", problem="is measured at 0.500, 0.500 from"
    )


def test_when_a_measurement_is_repeated_or_old_expect_it_to_say_nothing():
    guard = tracking(duration_s=0.0)
    guard.note_command(START, np.zeros(2))
    guard.note_pose(START + 10 * MS, np.ones(2))
    guard.note_pose(START + 10 * MS, np.ones(2))
    guard.note_pose(START + 5 * MS, np.ones(2))
    assert guard.problem is None
    guard.note_pose(START + 11 * MS, np.ones(2))
    assert guard.problem


def test_when_a_gripper_holds_an_object_expect_no_error():
    config = ControlConfig(queue=QueueConfig(step_names=("b",)))
    guard = Tracking(config.tracking, ("a", "b"), np.array([False, True]))
    guard.note_command(START, np.zeros(2))
    guard.note_pose(START + 10 * MS, np.array([0.0, 5.0]))
    assert guard.error == 0.0


# --- frozen pictures -------------------------------------------------------------------------------------------------


def test_when_a_camera_freezes_while_moving_expect_rest_within_limits_and_a_fault():
    rig = Rig().run()
    rig.frozen = True
    frozen = rig.now
    rig.until(State.HOLDING)
    assert rig.now - frozen <= 700 * MS  # five repeats at 10 Hz, and the next
    assert (rig.counters["frozen_stops"], rig.counters["stale_stops"]) == (1, 1)
    assert_refusal(rig.controller.activation.reason, Why.FROZEN, subject="stream 'camera'")
    rig.until(State.FAULT)
    rig.until_silent()


def test_when_a_camera_froze_at_rest_expect_it_noticed_after_little_travel():
    rig = Rig()
    rig.frozen, rig.policy_on = True, False
    rig.tick(300)
    assert rig.state is State.WAITING
    assert rig.controller.activation.stale == {}
    rig.policy_on = True
    rig.until(State.HOLDING)
    assert rig.counters["frozen_stops"] == 1
    # A picture comes every 0.1 s, and the start is slow: little more than the permitted 0.05 rad.
    assert 0.05 < rig.robot[0] < 0.15


def test_when_a_frozen_camera_lives_again_expect_running_again():
    rig = Rig().run()
    rig.frozen = True
    rig.until(State.HOLDING)
    rig.frozen = False
    rig.until(State.RUNNING)
    assert rig.counters["faults"] == 0


def test_when_a_fault_of_a_still_picture_is_cleared_expect_motion_possible():
    rig = Rig().run()
    rig.frozen = True
    rig.until(State.FAULT)
    rig.until_silent()
    assert rig.controller.clear_fault() is None
    rig.until(State.RUNNING)


def test_when_nothing_moves_expect_the_same_picture_permitted_for_ever():
    guard = FrozenImages(WatchdogConfig())
    for _ in range(1000):
        guard.note_image("camera", np.zeros((2, 2, 3), np.uint8), np.zeros(2))
    assert guard.find_frozen() == {}


def test_when_frozen_repeats_is_zero_expect_never_frozen():
    guard = FrozenImages(WatchdogConfig(frozen_repeats=0))
    for step in range(100):
        guard.note_image("camera", np.zeros((2, 2, 3), np.uint8), np.full(2, 0.1 * step))
    assert guard.find_frozen() == {}


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(-1, 1)), max_size=60))
def test_frozen_is_more_repeats_and_more_travel_than_permitted(happenings):
    guard = FrozenImages(WatchdogConfig(frozen_repeats=2, frozen_travel=0.1))
    poses: list[float] = []
    last = None
    for pixel, pose in happenings:
        poses = [*poses, pose] if pixel == last else [pose]
        last = pixel
        guard.note_image("camera", np.array([pixel]), np.array([pose]))
        expected = len(poses) > 3 and max(abs(other - poses[0]) for other in poses) > 0.1
        assert bool(guard.find_frozen()) == expected


# --- deadman's switch ------------------------------------------------------------------------------------------------


def test_when_the_switch_was_never_held_expect_waiting_and_why():
    rig = Rig(ControlConfig(deadman=SWITCH))
    rig.tick(50)
    assert rig.sent == []
    found = rig.controller.activation.waiting_for
    assert_refusal(found, Why.RELEASED, match="^the enabling switch on /deadman to be held$")


@pytest.mark.parametrize("how", ["released", "lost"])
def test_when_the_switch_goes_expect_rest_within_limits_and_motion_only_when_held_again(how):
    rig = Rig(ControlConfig(deadman=SWITCH))
    rig.held = True
    rig.run()
    rig.held = False if how == "released" else None
    gone = rig.now
    rig.until(State.WAITING)
    # A message every 0.05 s; without any, the timeout counts from the last.
    assert rig.now - gone <= (60 if how == "released" else 210) * MS
    assert rig.counters["deadman_stops"] == 1
    rig.until_silent()
    rig.tick(200)
    assert rig.state is State.WAITING
    assert rig.counters["faults"] == 0
    rig.held = True
    rig.until(State.RUNNING)


def test_when_the_switch_is_released_while_holding_expect_no_fault():
    rig = Rig(ControlConfig(deadman=SWITCH))
    rig.held = True
    rig.run()
    rig.policy_on = False
    rig.until(State.HOLDING)
    rig.held = False
    rig.tick(200)
    assert rig.state is State.WAITING
    assert rig.counters["faults"] == 0


def test_when_activated_anew_expect_the_switch_to_be_held_anew():
    rig = Rig(ControlConfig(deadman=SWITCH))
    rig.held = True
    rig.run()
    rig.controller.deactivate()
    rig.held = None
    rig.controller.activate()
    rig.tick(15)
    assert_refusal(rig.controller.activation.waiting_for, Why.RELEASED)


# --- hung inference --------------------------------------------------------------------------------------------------


def test_when_inference_hangs_expect_one_count_and_a_fault_that_says_so():
    rig = Rig().run()
    rig.policy_on = False
    while rig.state is not State.FAULT:
        rig.busy_s += 0.01
        rig.tick()
    assert rig.counters["inferences_hung"] == 1
    assert rig.counters["exhausted_stops"] == 1
    assert_refusal(rig.controller.latched, Why.HELD)
    assert str(rig.controller.latched) == (
        "held for more than 1 s: the chunk is used up and no new one has come; the policy has not come back from an "
        "inference for more than 1 s"
    )
    rig.until_silent()


def test_when_the_first_inference_hangs_expect_waiting_and_why():
    rig = Rig()
    rig.policy_on, rig.busy_s = False, 1.5
    rig.tick(20)
    assert rig.state is State.WAITING
    assert_refusal(rig.controller.activation.waiting_for.value[1], Why.HUNG, value=1.0)


def test_when_a_slow_inference_comes_back_expect_it_forgotten_and_the_next_counted():
    rig = Rig().run()
    for busy_s in (1.5, 0.0, 1.5):
        rig.busy_s = busy_s
        rig.tick(3)
    assert rig.counters["inferences_hung"] == 2
    rig.busy_s = 0.0
    rig.tick()
    assert rig.controller.activation.inference.hung is None
