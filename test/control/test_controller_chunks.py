# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The controller over injected time: which chunks it takes, and what becomes of those that it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from control_rig import DT_S, MS, PERIOD_S, Rig
from support.refused import assert_refusal, saying

from hpt_ros.control import (
    ControlConfig,
    Kinematics,
    QueueConfig,
    SafetyConfig,
    State,
    WorkspaceConfig,
)
from hpt_ros.control.refusals import Why


def test_when_chunk_is_used_up_expect_braking_within_limits_then_hold():
    rig = Rig().run(slope=1.0)
    rig.tick(160)
    assert rig.state() is State.HOLDING
    assert rig.counters["exhausted_stops"] == 1
    assert_refusal(rig.controller.activation.reason, Why.USED_UP)
    assert rig.controller.filter.at_rest
    rig.check_limits()


def test_when_inferences_fail_until_the_chunk_is_used_up_expect_the_last_failure_in_every_reason():
    rig = Rig(ControlConfig(safety=SafetyConfig(max_refused=100))).run()
    rig.controller.note_inference_error(saying("node '/gpu' was silent", Why.INFERENCE))
    while rig.state() is State.RUNNING:
        rig.tick()
    words = "the chunk is used up and no new one has come; the last failure of the policy: "
    assert str(rig.controller.activation.reason) == f"{words}node '/gpu' was silent"
    rig.controller.note_inference_error(saying("node '/gpu' was silent again", Why.INFERENCE))
    rig.tick()
    assert_refusal(rig.controller.activation.waiting_for.value[1], Why.INFERENCE, problem="was silent again")
    rig.tick(110)
    assert str(rig.controller.latched) == f"held for more than 1 s: {words}node '/gpu' was silent again"


def test_when_a_good_chunk_came_after_a_failure_expect_it_forgotten():
    rig = Rig().run()
    rig.controller.note_inference_error(saying("out of cheese", Why.INFERENCE))
    assert rig.chunk() is None
    while rig.state() is State.RUNNING:
        rig.tick()
    assert_refusal(
        rig.controller.activation.reason, Why.USED_UP, match="^the chunk is used up and no new one has come$"
    )


def test_when_half_is_used_expect_a_request_and_the_new_chunk_taken_over_without_a_jump():
    rig = Rig().run(slope=0.5)
    asked = 0
    while not rig.controller.wants_chunk(rig.now):
        rig.tick()
        asked += 1
    assert 55 < asked < 85
    rig.base = rig.sent[-1].position + 0.02
    rig.chunk(slope=0.3)
    before = rig.counters["clamped_velocity"] + rig.counters["clamped_acceleration"]
    assert not rig.controller.wants_chunk(rig.now)
    rig.tick(50)
    assert rig.counters["clamped_velocity"] + rig.counters["clamped_acceleration"] == before
    firsts = [command.chunk for command in rig.sent if command.chunk is not None]
    assert len(firsts) == 2
    assert firsts[0] is not firsts[1]
    rig.check_limits()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_when_chunks_are_not_finite_expect_nothing_sent_and_a_fault_after_ten(value):
    rig = Rig()
    rig.controller.activate()
    rig.tick(10)
    for count in range(1, 11):
        rows = np.zeros((16, 2))
        rows[3, 1] = value
        found = rig.controller.take_chunk(rig.now, DT_S, rows, rig.now)
        assert_refusal(found, Why.NOT_FINITE, problem="action 3, dimension 1")
        rig.tick(5)
        assert rig.state() is (State.FAULT if count == 10 else State.WAITING)
    assert rig.sent == []
    assert rig.counters["nonfinite_refused"] == 10
    assert_refusal(rig.controller.activation.reason, Why.IN_A_ROW, subject="10")


@pytest.mark.parametrize("shape", [(16, 3), (16,), (0, 2), (2, 16, 2)])
def test_when_chunk_has_the_wrong_size_expect_refused_and_the_old_one_kept(shape):
    rig = Rig().run()
    found = rig.controller.take_chunk(rig.now, DT_S, np.zeros(shape), rig.now)
    assert_refusal(found, Why.WRONG_SIZE, value=shape, expected="(horizon, 2)")
    assert rig.tick() is not None
    assert rig.state() is State.RUNNING
    assert rig.counters["wrong_size_refused"] == 1


def test_when_a_chunk_leads_out_of_the_workspace_expect_rest_inside_said_and_counted_once():
    config = ControlConfig(workspace=WorkspaceConfig(links=("tip",), upper_m=(1.0, 1.0, 1.0)))
    tip = Kinematics(("tip",), lambda q: np.array([[q[0], q[1], 0.5]]))
    rig = Rig(config, kinematics=tip).run()
    for _ in range(30):
        rig.chunk(slope=1.0)
        rig.tick(10)
        rig.base = rig.sent[-1].position.copy()
    assert rig.state() is State.RUNNING
    assert_refusal(rig.controller.activation.blocked, Why.WORKSPACE, subject="tip")
    assert rig.counters["workspace_stops"] == 1
    assert 0.9 < rig.sent[-1].position[0] <= 1.0
    rig.chunk(slope=-1.0)
    rig.tick(30)
    assert rig.controller.activation.blocked is None
    rig.check_limits()


@pytest.mark.parametrize("where", ["start", "middle"])
def test_when_a_chunk_jumps_expect_it_refused_and_the_old_one_kept(where):
    rig = Rig().run()
    rows = rig.pose + np.zeros((16, 2))
    rows[0 if where == "start" else 8 :, 1] += 1.5  # 2 rad/s cover 1.0 in 0.5 s, and 0.2 in a tick on top
    reason = rig.controller.take_chunk(rig.now - 20 * MS, DT_S, rows, rig.now)
    expected = "has b 1.5.. away from where it is" if where == "start" else "moves b by 1.500 from one action"
    assert_refusal(reason, Why.JUMP, match=expected)
    assert rig.counters["jumps_refused"] == 1
    rig.tick(20)
    assert rig.state() is State.RUNNING
    rig.check_limits()


def test_when_a_chunk_jumps_only_in_what_is_past_or_may_jump_expect_it_taken():
    config = ControlConfig(queue=QueueConfig(step_names=("b",)))
    rig = Rig(config).run()
    rows = rig.pose + np.zeros((16, 2))
    rows[8:, 1] += 1.5  # a gripper
    assert rig.controller.take_chunk(rig.now - 20 * MS, DT_S, rows, rig.now) is None
    late = rig.pose + np.zeros((16, 2))
    late[0, 0] += 5.0
    assert rig.controller.take_chunk(rig.now - 15 * MS, DT_S, late, rig.now + 150 * MS) is None


def test_when_jumps_are_permitted_expect_them_limited_instead():
    rig = Rig(ControlConfig(safety=SafetyConfig(jump_reach_s=0.0))).run()
    rows = rig.pose + np.zeros((16, 2))
    rows[8:, 1] += 1.5
    assert rig.controller.take_chunk(rig.now - 20 * MS, DT_S, rows, rig.now) is None
    rig.tick(100)
    rig.check_limits()


def slow_policy(rig: Rig, seconds: float, late_ms: int = 500) -> None:
    """Chunks of 0.7 s that come half a second after their observation, one after the other."""
    due = rig.now
    for _ in range(round(100 * seconds)):
        if rig.state() is State.FAULT:
            return
        rig.tick()
        if rig.now >= due:
            rig.chunk(slope=0.0, horizon=8, age_ms=late_ms)
            due = rig.now + late_ms * MS


def test_when_the_policy_is_slower_than_its_chunks_expect_a_fault_with_both_durations_after_a_few():
    rig = Rig().run()
    slow_policy(rig, seconds=30.0)
    assert rig.state() is State.FAULT
    assert rig.counters["exhausted_stops"] == 5
    assert_refusal(rig.controller.latched, Why.SLOW)
    assert str(rig.controller.latched).startswith(
        "5 chunks in a row were used up before the next one came: they come 0.500 s after their observation and "
        "cover 0.7 s; make the policy faster, or train with a longer horizon"
    )
    rig.rest()
    rig.check_limits()
    assert rig.controller.clear_fault() is None
    slow_policy(rig, seconds=1.0)
    assert rig.state() is not State.FAULT
    assert rig.counters["exhausted_stops"] > 5


def test_when_chunks_come_in_time_between_expect_no_fault_however_often_one_is_used_up():
    rig = Rig().run()
    for _ in range(12):
        assert rig.chunk(slope=0.0, horizon=8) is None
        rig.tick()
        assert rig.chunk(slope=0.0, horizon=8) is None  # in time
        rig.tick(90)
        assert rig.state() is State.HOLDING
    assert rig.counters["exhausted_stops"] == 12


def test_when_a_good_chunk_comes_between_bad_ones_expect_no_fault():
    rig = Rig().run()
    for _ in range(3):
        for _ in range(9):
            rig.controller.note_inference_error(saying("it raised", Why.INFERENCE))
        rig.tick(2)
        rig.chunk()
    assert rig.state() is State.RUNNING
    assert rig.counters["inference_errors"] == 27


def test_when_chunk_is_wholly_late_expect_refused_and_counted():
    rig = Rig().run()
    assert_refusal(
        rig.chunk(age_ms=1600), Why.LATE, value=16, problem="came after the time of its last action"
    )
    assert rig.counters["chunks_refused_late"] == 1
    assert rig.counters["late_actions_dropped"] == 16 + 2  # all, and the first chunk's two


def test_when_chunk_is_from_the_future_expect_refused():
    rig = Rig().run()
    assert_refusal(rig.chunk(age_ms=-500), Why.FUTURE, value=0.5, problem="0.500 s in the future")
    assert rig.counters["chunks_refused_future"] == 1


@pytest.mark.parametrize("horizon", [4, 16])
def test_when_its_controller_may_hold_the_robot_elsewhere_expect_the_newest_chunk_to_begin_motion(horizon):
    """It is given up to half a second to come to where motion begins, longer than a short chunk lasts."""
    rig = Rig().run()
    rig.tick(20)
    rig.controller.stop()
    rig.rest()
    rig.pose = np.array([-1.4, 1.3])  # a simulation was reset
    rig.tick(20)
    assert rig.controller.clear_fault() is None
    rig.tick(11)
    sent, dropped = len(rig.sent), rig.counters["late_actions_dropped"]
    while rig.state() is State.WAITING:
        assert rig.controller.wants_chunk(rig.now)
        assert rig.chunk(horizon=horizon) is None
        rig.tick()
    arrived = [command for command in rig.sent[sent:] if command.chunk is None]
    assert len(arrived) > 40
    assert all((command.position == arrived[0].position).all() for command in arrived)
    before, newest = rig.now, rig.controller.newest_chunk
    while rig.sent[-1].chunk is None:
        rig.tick()
    assert rig.sent[-1].chunk is newest
    assert rig.now - before <= 20 * MS
    assert rig.counters["late_actions_dropped"] - dropped <= 2
    for name in ("chunks_refused_late", "exhausted_stops", "command_gaps"):
        assert rig.counters[name] == 0
    while rig.state() is State.RUNNING:
        assert rig.controller.margin_s <= rig.controller.lead_s + 2 * PERIOD_S
        rig.tick()
