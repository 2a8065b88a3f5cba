# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The controller over injected time: every transition, and what is commanded on the way."""

from __future__ import annotations

import re

import numpy as np
import pytest
from control_rig import DT_S, MS, PERIOD_S, START, Rig, S
from hypothesis import given, settings
from hypothesis import strategies as st
from support.refused import refused

from hpt_ros.control import (
    ControlConfig,
    Kinematics,
    QueueConfig,
    SafetyConfig,
    State,
    WorkspaceConfig,
)
from hpt_ros.errors import Code, HptError


def test_when_not_active_expect_no_command():
    rig = Rig()
    assert rig.tick(5) is None
    assert rig.state() is State.INACTIVE


def test_when_everything_is_there_expect_running_from_the_measured_pose():
    rig = Rig().run()
    assert len(rig.sent) == 1
    np.testing.assert_allclose(rig.sent[0].position, rig.pose, atol=1e-3)
    rig.tick(80)
    assert rig.state() is State.RUNNING
    rig.check_limits()
    expected = rig.pose[0] + 0.2 * (rig.sent[-1].time_ns - (START + 80 * MS)) / S
    assert rig.sent[-1].position[0] == pytest.approx(expected, abs=1e-6)
    assert rig.sent[-1].velocity[0] == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize("missing", ["camera", "joints"])
def test_when_a_stream_was_never_seen_expect_waiting_and_why(missing):
    rig = Rig()
    setattr(rig, f"{missing}_on", False)
    rig.controller.activate()
    rig.tick(10)
    rig.chunk()
    assert rig.tick(5) is None
    assert rig.state() is State.WAITING
    assert f"stream {missing!r} was never seen" in rig.controller.session.waiting_for


def test_when_speed_is_scaled_down_expect_the_same_chunks_taken_and_a_tenth_of_the_speed():
    """How far away a target may be is about the policy, which was trained at full speed."""
    scaled = SafetyConfig(velocity_scale=0.1, acceleration_scale=0.25)
    rig = Rig(ControlConfig(safety=scaled))
    rig.controller.activate()
    rig.tick(10)
    rows = rig.pose + 0.2 + 0.9 * DT_S * np.arange(16)[:, None]  # within 0.15 s at 2 rad/s, not at 0.2 rad/s
    assert rig.controller.chunk(rig.now - 20 * MS, DT_S, rows, rig.now) == ""
    rig.tick(30)
    assert rig.state() is State.RUNNING, rig.controller.session.waiting_for
    rows = rows + 0.3 * 0.9  # the policy goes on as it was trained; the robot is far behind
    assert rig.controller.chunk(rig.now - 20 * MS, DT_S, rows, rig.now) == ""
    rig.tick(50)
    speed = np.abs(np.diff([command.position for command in rig.sent], axis=0)) / PERIOD_S
    assert 0.1 < speed.max() <= 0.2 * (1 + 1e-6)


def test_when_first_target_is_far_from_the_pose_expect_waiting_and_why():
    rig = Rig()
    rig.controller.activate()
    rig.tick(10)
    rig.controller.chunk(rig.now, DT_S, np.tile([0.5, -0.1], (16, 1)), rig.now)
    assert rig.tick(5) is None
    assert rig.state() is State.WAITING
    assert "first target for b is -0.100, 0.400 from its pose" in rig.controller.session.waiting_for
    rig.controller.chunk(rig.now, DT_S, np.tile([0.5, -0.3], (16, 1)), rig.now)
    assert rig.tick() is not None
    assert rig.state() is State.RUNNING


def test_when_measured_outside_limits_expect_waiting_and_why():
    rig = Rig()
    rig.pose = np.array([2.02, 0.0])
    rig.controller.activate()
    rig.tick(10)
    rig.chunk()
    assert rig.tick() is None
    expected = r"a is measured at 2\.0[12]\d\d, 0\.0[12]\d\d outside its limits \[-2, 2\]"
    assert re.search(expected, rig.controller.session.waiting_for)


def test_when_measured_barely_outside_limits_expect_start_at_the_limit():
    rig = Rig()
    rig.pose = np.array([2.005, 0.0])
    rig.run(slope=-0.1)
    assert rig.sent[0].position[0] <= 2.0


@pytest.mark.parametrize(("stream", "timeout_ms"), [("camera", 300), ("joints", 200)])
def test_when_a_stream_dies_expect_braking_at_its_timeout_then_hold_within_limits(stream, timeout_ms):
    rig = Rig().run(slope=1.0)
    rig.tick(60)
    last_message = rig.now - (rig.now % (100 * MS) if stream == "camera" else 0)
    setattr(rig, f"{stream}_on", False)
    speed = rig.sent[-1].velocity[0]
    assert speed > 0.9
    while rig.state() is State.RUNNING:
        rig.tick()
    assert rig.state() is State.HOLDING
    assert timeout_ms * MS < rig.now - last_message <= (timeout_ms + 10) * MS
    stopped = rig.now
    rig.rest()
    # 1 rad/s at 10 rad/s^2 is a tenth of a second; before it comes what is fixed: the lead, and a curve's few periods.
    assert rig.now - stopped <= 100 * MS + rig.controller.plan.lead_ns + 30 * MS
    held = rig.sent[-1].position
    rig.tick(20)
    assert rig.sent[-1].position.tobytes() == held.tobytes()
    assert not rig.sent[-1].velocity.any()
    assert rig.counters["stale_stops"] == 1
    assert stream in rig.controller.session.reason
    rig.check_limits()


def test_when_stream_comes_back_soon_expect_running_again_smoothly_but_only_with_a_new_chunk():
    rig = Rig().run(slope=0.5)
    rig.tick(60)
    rig.joints_on = False
    rig.tick(40)
    assert rig.state() is State.HOLDING
    rig.joints_on = True
    rig.tick(5)
    assert rig.state() is State.HOLDING
    rig.base = rig.sent[-1].position.copy()
    rig.chunk(slope=0.5)
    rig.tick()
    assert rig.state() is State.RUNNING
    rig.tick(30)
    rig.check_limits()


def test_when_held_too_long_expect_latched_fault_until_cleared():
    rig = Rig().run()
    rig.joints_on = False
    rig.tick(200)
    assert rig.state() is State.FAULT
    assert "held for more than 1 s: stream 'joints'" in rig.controller.session.reason
    rig.joints_on = True
    rig.tick(30)
    assert "not executed" in rig.chunk()
    sent = len(rig.sent)
    assert rig.tick(30) is None
    assert len(rig.sent) == sent
    assert rig.state() is State.FAULT
    assert rig.controller.clear_fault() == ""
    assert rig.state() is State.WAITING
    rig.pose = np.array([-0.4, 0.3])  # moved by hand meanwhile
    rig.tick()
    rig.chunk()
    assert rig.tick() is None
    assert "the robot to come to rest: a is measured moving" in rig.controller.session.waiting_for
    rig.tick(7)
    rig.chunk()
    rig.tick(3)
    assert rig.state() is State.RUNNING
    np.testing.assert_allclose(rig.sent[-1].position, rig.pose, atol=1e-3)


def test_when_chunk_is_used_up_expect_braking_within_limits_then_hold():
    rig = Rig().run(slope=1.0)
    rig.tick(160)
    assert rig.state() is State.HOLDING
    assert rig.counters["exhausted_stops"] == 1
    assert "used up" in rig.controller.session.reason
    assert rig.controller.filter.at_rest
    rig.check_limits()


def test_when_inferences_fail_until_the_chunk_is_used_up_expect_the_last_failure_in_every_reason():
    rig = Rig(ControlConfig(safety=SafetyConfig(max_refused=100))).run()
    rig.controller.inference_error("node '/gpu' was silent")
    while rig.state() is State.RUNNING:
        rig.tick()
    words = "the chunk is used up and no new one has come; the last failure of the policy: "
    assert rig.controller.session.reason == f"{words}node '/gpu' was silent"
    rig.controller.inference_error("node '/gpu' was silent again")
    rig.tick()
    assert rig.controller.session.waiting_for.endswith("'/gpu' was silent again")
    rig.tick(110)
    assert rig.controller.latched == f"held for more than 1 s: {words}node '/gpu' was silent again"


def test_when_a_good_chunk_came_after_a_failure_expect_it_forgotten():
    rig = Rig().run()
    rig.controller.inference_error("out of cheese")
    assert rig.chunk() == ""
    while rig.state() is State.RUNNING:
        rig.tick()
    assert rig.controller.session.reason == "the chunk is used up and no new one has come"


def test_when_half_is_used_expect_a_request_and_the_new_chunk_taken_over_without_a_jump():
    rig = Rig().run(slope=0.5)
    asked = 0
    while not rig.controller.wants_chunk(rig.now):
        rig.tick()
        asked += 1
    assert 60 < asked < 85
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
        assert "action 3, dimension 1" in rig.controller.chunk(rig.now, DT_S, rows, rig.now)
        rig.tick(5)
        assert rig.state() is (State.FAULT if count == 10 else State.WAITING)
    assert rig.sent == []
    assert rig.counters["nonfinite_refused"] == 10
    assert "10 failures of the policy in a row" in rig.controller.session.reason


@pytest.mark.parametrize("shape", [(16, 3), (16,), (0, 2), (2, 16, 2)])
def test_when_chunk_has_the_wrong_size_expect_refused_and_the_old_one_kept(shape):
    rig = Rig().run()
    assert "but (horizon, 2) was expected" in rig.controller.chunk(rig.now, DT_S, np.zeros(shape), rig.now)
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
    assert "tip would leave the workspace" in rig.controller.session.blocked
    assert rig.counters["workspace_stops"] == 1
    assert 0.9 < rig.sent[-1].position[0] <= 1.0
    rig.chunk(slope=-1.0)
    rig.tick(30)
    assert rig.controller.session.blocked == ""
    rig.check_limits()


@pytest.mark.parametrize("where", ["start", "middle"])
def test_when_a_chunk_jumps_expect_it_refused_and_the_old_one_kept(where):
    rig = Rig().run()
    rows = rig.pose + np.zeros((16, 2))
    rows[0 if where == "start" else 8 :, 1] += 1.5  # 2 rad/s cover 1.0 in 0.5 s, and 0.2 in a tick on top
    reason = rig.controller.chunk(rig.now - 20 * MS, DT_S, rows, rig.now)
    expected = "has b 1.5.. away from where it is" if where == "start" else "moves b by 1.500 from one action"
    assert re.search(expected, reason), reason
    assert rig.counters["jumps_refused"] == 1
    rig.tick(20)
    assert rig.state() is State.RUNNING
    rig.check_limits()


def test_when_a_chunk_jumps_only_in_what_is_past_or_may_jump_expect_it_taken():
    config = ControlConfig(queue=QueueConfig(step_names=("b",)))
    rig = Rig(config).run()
    rows = rig.pose + np.zeros((16, 2))
    rows[8:, 1] += 1.5  # a gripper
    assert rig.controller.chunk(rig.now - 20 * MS, DT_S, rows, rig.now) == ""
    late = rig.pose + np.zeros((16, 2))
    late[0, 0] += 5.0
    assert rig.controller.chunk(rig.now - 15 * MS, DT_S, late, rig.now + 150 * MS) == ""


def test_when_jumps_are_permitted_expect_them_limited_instead():
    rig = Rig(ControlConfig(safety=SafetyConfig(jump_reach_s=0.0))).run()
    rows = rig.pose + np.zeros((16, 2))
    rows[8:, 1] += 1.5
    assert rig.controller.chunk(rig.now - 20 * MS, DT_S, rows, rig.now) == ""
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
    assert rig.controller.latched.startswith(
        "5 chunks in a row were used up before the next one came: they come 0.500 s after their observation and "
        "cover 0.7 s; make the policy faster, or train with a longer horizon"
    )
    rig.rest()
    rig.check_limits()
    assert rig.controller.clear_fault() == ""
    slow_policy(rig, seconds=1.0)
    assert rig.state() is not State.FAULT
    assert rig.counters["exhausted_stops"] > 5


def test_when_chunks_come_in_time_between_expect_no_fault_however_often_one_is_used_up():
    rig = Rig().run()
    for _ in range(12):
        assert rig.chunk(slope=0.0, horizon=8) == ""
        rig.tick()
        assert rig.chunk(slope=0.0, horizon=8) == ""  # in time
        rig.tick(90)
        assert rig.state() is State.HOLDING
    assert rig.counters["exhausted_stops"] == 12


def test_when_a_good_chunk_comes_between_bad_ones_expect_no_fault():
    rig = Rig().run()
    for _ in range(3):
        for _ in range(9):
            rig.controller.inference_error("it raised")
        rig.tick(2)
        rig.chunk()
    assert rig.state() is State.RUNNING
    assert rig.counters["inference_errors"] == 27


@pytest.mark.parametrize("prepare", ["waiting", "running", "holding"])
def test_when_stopped_by_an_operator_expect_rest_within_limits_then_silence_until_cleared(prepare):
    rig = Rig()
    if prepare == "waiting":
        rig.controller.activate()
        rig.tick(10)
    else:
        rig.run(slope=1.0)
        rig.tick(60)
        if prepare == "holding":
            rig.joints_on = False
            rig.tick(30)
            assert rig.state() is State.HOLDING
            rig.joints_on = True
    assert rig.controller.stop("red button")
    assert rig.state() is State.FAULT
    if prepare == "running":
        assert "still braking" in rig.controller.clear_fault()
    rig.tick(40)
    sent = len(rig.sent)
    rig.tick(40)
    assert len(rig.sent) == sent
    if rig.sent:
        assert not rig.sent[-1].velocity.any()
    rig.check_limits() if len(rig.sent) > 2 else None
    assert rig.controller.session.reason == "red button"
    assert not rig.controller.stop()
    assert rig.controller.clear_fault() == ""


def test_when_deactivated_with_a_fault_expect_it_latched_until_cleared():
    rig = Rig().run()
    rig.controller.stop("red button")
    rig.controller.deactivate()
    assert rig.state() is State.INACTIVE
    rig.controller.activate()
    assert rig.state() is State.FAULT
    assert rig.controller.session.reason == "red button"
    rig.tick(10)
    assert "not executed" in rig.chunk()
    rig.controller.deactivate()
    assert rig.controller.clear_fault() == ""
    rig.controller.activate()
    assert rig.state() is State.WAITING


def test_when_stopped_while_inactive_expect_fault_on_activation():
    rig = Rig()
    assert rig.controller.stop()
    rig.controller.activate()
    assert rig.state() is State.FAULT
    assert rig.tick(10) is None


def test_when_nothing_to_clear_expect_said_so():
    assert "no fault to clear in state INACTIVE" in Rig().controller.clear_fault()


def test_when_deactivated_expect_silence_and_nothing_replayed_on_activation():
    rig = Rig().run(slope=1.0)
    rig.tick(20)
    rig.controller.deactivate()
    sent = len(rig.sent)
    assert rig.tick(10) is None
    assert rig.counters["commands_sent"] == sent
    rig.controller.activate()
    assert rig.state() is State.WAITING
    assert rig.tick(30) is None
    assert len(rig.sent) == sent
    assert rig.controller.session.waiting_for == "the policy's first chunk"
    assert rig.counters["commands_sent"] == 0


def test_when_reactivated_expect_streams_unseen_until_new_messages():
    rig = Rig().run()
    rig.controller.deactivate()
    rig.controller.activate()
    rig.controller.step(rig.now)
    assert set(rig.controller.session.stale) == {"camera", "joints"}


def test_when_task_ends_expect_rest_then_silence_and_going_on_only_when_enabled():
    rig = Rig().run(slope=0.5)
    rig.tick(40)
    rig.controller.disable()
    assert rig.state() is State.WAITING
    rig.tick(30)
    sent = len(rig.sent)
    assert "not executed" in rig.chunk()
    rig.tick(10)
    assert len(rig.sent) == sent
    rig.check_limits()
    rig.controller.enable()
    assert rig.chunk() == ""
    rig.tick()
    assert rig.state() is State.RUNNING


def test_when_next_task_begins_while_still_braking_expect_rest_first():
    rig = Rig().run(slope=1.0)
    rig.tick(60)
    rig.controller.disable()
    rig.tick(2)
    rig.controller.enable()
    rig.base = rig.sent[-1].position.copy()
    rig.chunk(slope=-1.0)
    rig.tick()
    assert rig.state() is State.WAITING
    assert rig.controller.session.waiting_for == "the robot to come to rest"
    rig.tick(20)
    assert rig.state() is State.RUNNING
    at_rest = [index for index, command in enumerate(rig.sent) if not command.velocity.any()]
    assert at_rest
    rig.sent = rig.sent[: at_rest[0] + 1]  # what follows begins at the measured pose
    rig.check_limits()


def test_when_ros_time_goes_back_expect_braking_hold_and_nothing_old_used():
    rig = Rig().run(slope=0.5)
    rig.tick(60)
    rig.now -= 100 * S
    rig.tick()
    assert rig.state() is State.HOLDING
    assert rig.counters["clock_jumps"] == 1
    assert rig.sent[-1].time_ns < START
    rig.tick(20)
    assert rig.controller.filter.at_rest
    rig.check_limits()


def test_when_ros_time_jumps_expect_braking_hold_and_motion_again_with_fresh_streams_and_a_new_chunk():
    rig = Rig().run(slope=0.5)
    rig.tick(60)
    rig.controller.clock_jumped("ROS time jumped forward by 5 s")
    rig.tick()
    assert rig.state() is State.HOLDING
    assert rig.controller.session.reason == "ROS time jumped forward by 5 s"
    assert rig.counters["clock_jumps"] == 1
    rig.tick(20)
    assert rig.controller.filter.at_rest
    # Control time goes on: the braking commands lie on the grid of those before.
    assert np.unique(np.diff([command.time_ns for command in rig.sent])) == [10 * MS]
    assert rig.counters["command_gaps"] == 0
    assert rig.chunk() == ""
    rig.tick(60)
    assert rig.state() is State.RUNNING
    rig.check_limits()


def test_when_timer_jitters_expect_one_curve_with_points_a_period_apart():
    rig = Rig().run(slope=0.5)
    rig.tick(8)
    for ms in [8, 13, 9, 11, 12, 7, 10, 14, 6, 10] * 3:
        rig.tick(1, ms)
    curves = [command.curve for command in rig.sent]
    assert {curve.first_ns % (10 * MS) for curve in curves} == {curves[-1].first_ns % (10 * MS)}
    assert rig.counters["command_gaps"] == 0
    rig.check_limits()


def test_when_timer_was_away_expect_the_robot_found_braking_and_going_on_within_limits():
    rig = Rig().run(slope=1.0)
    rig.tick(50)
    rig.tick(1, 80)
    assert rig.counters["command_gaps"] == 1
    assert rig.sent[-1].time_ns == rig.now + 10 * MS
    rig.tick(40)
    rig.check_limits()


def test_when_timer_comes_twice_expect_second_call_silent():
    rig = Rig().run()
    rig.tick(1, 0)
    assert rig.tick(1, 0) is None


def test_when_output_has_latency_expect_commands_that_much_ahead():
    rig = Rig(latency_s=0.05).run()
    assert rig.sent[0].time_ns == rig.now + 60 * MS


def test_when_chunk_is_wholly_late_expect_refused_and_counted():
    rig = Rig().run()
    assert "came after the time of its last action" in rig.chunk(age_ms=1600)
    assert rig.counters["chunks_refused_late"] == 1
    assert rig.counters["late_actions_dropped"] == 16 + 2  # all, and the first chunk's two


def test_when_chunk_is_from_the_future_expect_refused():
    rig = Rig().run()
    assert "0.500 s in the future" in rig.chunk(age_ms=-500)
    assert rig.counters["chunks_refused_future"] == 1


def test_when_limits_are_scaled_expect_slower():
    config = ControlConfig(safety=SafetyConfig(velocity_scale=0.25))
    rig = Rig(config).run(slope=1.0)
    rig.tick(60)
    speeds = np.diff([command.position[0] for command in rig.sent]) / PERIOD_S
    assert speeds.max() == pytest.approx(0.5, rel=1e-6)
    assert rig.counters["clamped_velocity"] > 0


def test_when_step_name_is_unknown_expect_error_with_a_hint():
    with refused(HptError, Code.UNKNOWN, subject="queue.step_names", value="gripper"):
        Rig(ControlConfig(queue=QueueConfig(step_names=("gripper",))))


happenings = st.lists(
    st.tuples(
        st.sampled_from(
            ["tick", "chunk", "camera", "joints", "stop", "clear", "task", "jump", "late", "bad", "turn"]
        ),
        st.integers(1, 40),
        st.floats(-8, 8),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(happenings)
def test_whatever_happens_expect_commands_within_limits_and_motion_only_when_running_or_braking(events):
    rig = Rig()
    rig.controller.activate()
    rig.tick(10)
    for kind, count, slope in events:
        if kind == "chunk":
            rig.base = rig.sent[-1].position.copy() if rig.sent else rig.pose
            rig.chunk(slope)
        elif kind in ("camera", "joints"):
            setattr(rig, f"{kind}_on", not getattr(rig, f"{kind}_on"))
        elif kind == "stop":
            rig.controller.stop()
        elif kind == "clear":
            rig.controller.clear_fault()
        elif kind == "task":
            rig.controller.disable()
            rig.controller.enable()
        elif kind == "jump":
            rig.now -= count * S
        elif kind == "late":
            rig.tick(1, 10 * count)
        elif kind == "turn":
            rig.turned = np.full(2, slope / 8)  # beyond what tracking permits, or within
        elif kind == "bad":
            rig.controller.chunk(rig.now, DT_S, np.full((4, 2), np.nan), rig.now)
        previous = rig.controller.filter.velocity.copy()
        for _ in range(count):
            if rig.tick() is not None and rig.state() is not State.RUNNING:
                assert (np.abs(rig.controller.filter.velocity) <= np.abs(previous) + 1e-12).all()
            previous = rig.controller.filter.velocity.copy()
    rig.check_limits()
