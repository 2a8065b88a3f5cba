# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The controller over injected time: every transition, and what is commanded on the way."""

from __future__ import annotations

import numpy as np
import pytest
from control_rig import DT_S, MS, PERIOD_S, START, Rig, S
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.refused import assert_refusal, refused

from hpt_ros.control import (
    ControlConfig,
    QueueConfig,
    SafetyConfig,
    State,
)
from hpt_ros.control.refusals import Why
from hpt_ros.errors import Code, HptError


def test_when_not_active_expect_no_command():
    rig = Rig()
    assert rig.tick(5) is None
    assert rig.state() is State.INACTIVE


def test_when_everything_is_there_expect_running_from_the_measured_pose():
    rig = Rig().run()
    for command in rig.sent:  # its controller is given time to come there
        np.testing.assert_allclose(command.position, rig.pose, atol=1e-3)
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
    assert_refusal(rig.controller.activation.waiting_for, Why.UNSEEN, subject=f"stream {missing!r}")


def test_when_speed_is_scaled_down_expect_the_same_chunks_taken_and_a_tenth_of_the_speed():
    """How far away a target may be is about the policy, which was trained at full speed."""
    scaled = SafetyConfig(velocity_scale=0.1, acceleration_scale=0.25)
    rig = Rig(ControlConfig(safety=scaled))
    rig.controller.activate()
    rig.tick(10)
    rows = rig.pose + 0.2 + 0.9 * DT_S * np.arange(16)[:, None]  # within 0.15 s at 2 rad/s, not at 0.2 rad/s
    assert rig.controller.take_chunk(rig.now - 20 * MS, DT_S, rows, rig.now) is None
    rig.tick(30)
    assert rig.state() is State.RUNNING, rig.controller.activation.waiting_for
    rows = rows + 0.3 * 0.9  # the policy goes on as it was trained; the robot is far behind
    assert rig.controller.take_chunk(rig.now - 20 * MS, DT_S, rows, rig.now) is None
    rig.tick(50)
    speed = np.abs(np.diff([command.position for command in rig.sent], axis=0)) / PERIOD_S
    assert 0.1 < speed.max() <= 0.2 * (1 + 1e-6)


def test_when_first_target_is_far_from_the_pose_expect_waiting_and_why():
    rig = Rig()
    rig.controller.activate()
    rig.tick(10)
    rig.controller.take_chunk(rig.now, DT_S, np.tile([0.5, -0.1], (16, 1)), rig.now)
    assert rig.tick(5) is None
    assert rig.state() is State.WAITING
    far = rig.controller.activation.waiting_for
    assert_refusal(far, Why.FAR, subject="first target for b", problem="is -0.100, 0.400 from its pose")
    rig.controller.take_chunk(rig.now, DT_S, np.tile([0.5, -0.3], (16, 1)), rig.now)
    rig.start()


def test_when_measured_outside_limits_expect_waiting_and_why():
    rig = Rig()
    rig.pose = np.array([2.02, 0.0])
    rig.controller.activate()
    rig.tick(10)
    rig.chunk()
    assert rig.tick() is None
    expected = r"a is measured at 2\.0[12]\d\d, 0\.0[12]\d\d outside its limits \[-2, 2\]"
    assert_refusal(rig.controller.activation.waiting_for, Why.OUTSIDE, match=expected)


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
    assert_refusal(rig.controller.activation.reason, Why.STALE, subject=f"stream {stream!r}")
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
    assert_refusal(rig.controller.activation.reason, Why.HELD, problem="for more than 1 s: stream 'joints'")
    rig.joints_on = True
    rig.tick(30)
    assert_refusal(rig.chunk(), Why.NOT_WANTED)
    sent = len(rig.sent)
    assert rig.tick(30) is None
    assert len(rig.sent) == sent
    assert rig.state() is State.FAULT
    assert rig.controller.clear_fault() is None
    assert rig.state() is State.WAITING
    rig.pose = np.array([-0.4, 0.3])  # moved by hand meanwhile
    rig.tick()
    rig.chunk()
    assert rig.tick() is None
    moving = rig.controller.activation.waiting_for
    assert_refusal(
        moving, Why.MOVING, match="^the robot to come to rest: a is measured moving by [0-9.]+ per second$"
    )
    rig.tick(7)
    rig.chunk()
    rig.tick(2)
    rig.start()
    np.testing.assert_allclose(rig.sent[-1].position, rig.pose, atol=1e-3)


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
    assert rig.sent[-1].time_ns == rig.now + 60 * MS


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
@example([("turn", 1, 2.0), ("chunk", 17, 4.0), ("chunk", 14, 0.0)])  # motion begins while the robot creeps
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
            rig.controller.take_chunk(rig.now, DT_S, np.full((4, 2), np.nan), rig.now)
        previous = rig.controller.filter.velocity.copy()
        for _ in range(count):
            if rig.tick() is not None and rig.state() is not State.RUNNING:
                assert (np.abs(rig.controller.filter.velocity) <= np.abs(previous) + 1e-12).all()
            previous = rig.controller.filter.velocity.copy()
    rig.check_limits()
