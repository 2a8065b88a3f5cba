# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A robot's own speed scaling: it is commanded the same way as much slower, and waits while it is 0."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.joint_trajectories import to_joint_trajectory
from support.refused import assert_refusal
from support.slider import FULL, LIMITS, TOPIC, A, Slider, V
from support.stream import START_NS, TICK_S

from hpt_ros.control import ControlConfig, Controller, State, StreamRate
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.control.config import SpeedScalingConfig
from hpt_ros.control.pace import Pace
from hpt_ros.control.refusals import Why
from hpt_ros.sim.controllers import JAZZY, ROLLING
from hpt_ros.sim.trajectory import JointTrajectory


@pytest.mark.parametrize("release", [JAZZY, ROLLING])
@pytest.mark.parametrize("scaling", [1.0, 0.7, 0.5, 0.3, 0.1])
def test_when_the_slider_is_below_full_expect_the_same_way_as_much_slower(
    scaling: float, release: Any
) -> None:
    life = Slider(scaling, release=release).run(8.0)
    assert life.stops == []
    assert life.room.state is State.RUNNING, life.room.activation.reason
    speed = np.abs(life.robot.arm.position[0] - life.seen[len(life.seen) // 2][1][0]) / 4.0
    assert 0.6 * scaling * FULL < speed < 1.25 * scaling * FULL
    motion = life.robot.motion(skip=500)
    assert (motion.velocity <= V).all()
    # The way is the same: one joint goes half as far as the other.
    np.testing.assert_allclose(life.robot.arm.position[1], -0.5 * life.robot.arm.position[0], atol=0.02)


@pytest.mark.parametrize("scaling", [0.5, 0.3, 0.1])
def test_when_nobody_says_that_the_slider_is_below_full_expect_a_fault(scaling: float) -> None:
    """At 0.7 this arm still goes at 0.84 rad/s, which is enough."""
    life = Slider(scaling, known=False).run(8.0)
    assert life.room.state is State.FAULT
    assert_refusal(life.stops[0][1], Why.TRACKING)


@pytest.mark.parametrize("scaling", [0.3, 0.2, 0.1, 0.05])
def test_when_messages_take_equally_long_expect_the_motors_told_no_steps_however_low_the_slider(
    scaling: float,
) -> None:
    """A controller looks far ahead on a message with shortened times, but never beyond what the next one repeats."""
    life = Slider(scaling, late_every=0)
    motion = life.run(5.0).robot.motion(skip=500)
    assert life.stops == []
    assert motion.acceleration.max() <= 2.0 * A


@pytest.mark.parametrize("scaling", [0.7, 0.5, 0.3, 0.2, 0.1, 0.05])
def test_when_a_message_comes_a_cycle_later_expect_a_step_of_little_more_than_a_cycle_at_twice_full_speed(
    scaling: float,
) -> None:
    """Nothing in a message can tell the controller when it will look at it; docs/safety.md has the figures."""
    life = Slider(scaling, late_every=50).run(8.0)
    assert life.stops == []
    assert life.robot.motion(skip=500).velocity.max() <= 2.5 * FULL


@pytest.mark.parametrize("scaling", [1.0, 0.5, 0.1, 0.05])
def test_when_an_output_is_sent_ahead_expect_its_latency_in_the_robots_time(scaling: float) -> None:
    latency_s = 0.2
    room = Controller(
        ControlConfig(speed_scaling=SpeedScalingConfig(topic=TOPIC)), LIMITS, ("early", "plain"),
        (StreamRate("joints", 100.0),), rate_hz=100.0, ahead_s=np.array([latency_s, 0.0]),
    )  # fmt: skip
    room.activate()
    room.note_speed_scaling(100.0 * scaling)
    pose, now_ns, gaps = np.zeros(2), START_NS, []
    way = FULL * TICK_S * np.arange(100)[:, None] * np.ones(2)
    room.note_message("joints", now_ns, now_ns)
    for number in range(round(250 / scaling)):  # until the fade at the beginning is over
        now_ns += 10_000_000
        room.note_message("joints", now_ns, now_ns)
        room.note_pose(pose, now_ns)
        if number == 0:
            room.take_chunk(now_ns, TICK_S, way, now_ns)
        if (command := room.step(now_ns)) is not None:
            pose = command.position
            gaps.append(pose[0] - pose[1])
    assert room.state is State.RUNNING, room.activation.reason
    np.testing.assert_allclose(gaps[-100:], latency_s * scaling * FULL, rtol=0.02)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.floats(0.05, 1.0), st.floats(0.1, 1.5)), min_size=1, max_size=6))
def test_whatever_somebody_does_to_the_slider_expect_limits_held_and_no_stop(
    moves: list[tuple[float, float]],
) -> None:
    life, until_s = Slider(1.0), 1.0
    life.run(until_s)
    for scaling, seconds in moves:
        life.set(scaling)
        until_s += seconds
        life.run(until_s)
    assert life.stops == []
    assert life.room.state is State.RUNNING, life.room.activation.reason
    assert life.room.activation.counters["command_gaps"] == 0
    assert life.robot.refused == []
    check(life)


@pytest.mark.parametrize("scaling", [0.5, 0.1])
def test_when_a_slow_policy_plans_far_ahead_expect_it_to_run_at_the_scaling(scaling: float) -> None:
    life = Slider(scaling, inference_s=0.45).run(8.0)
    assert life.stops == []
    assert life.room.state is State.RUNNING
    assert life.robot.arm.position[0] > 0.6 * scaling * FULL * 7.0


def test_when_the_slider_is_moved_expect_no_stop_and_commands_within_the_limits() -> None:
    life = Slider(1.0)
    for second, scaling in enumerate([1.0, 0.5, 0.9, 0.2, 0.6, 1.0], 2):
        life.set(scaling)
        life.run(2.0 * second)
    assert life.stops == []
    assert life.room.state is State.RUNNING
    check(life)


def test_when_the_scaling_is_zero_expect_rest_waiting_with_the_reason_and_motion_when_it_is_raised() -> None:
    life = Slider(1.0).run(3.0)
    life.set(0.0)
    life.run(6.0)
    assert life.room.state is State.WAITING
    subject = "speed scaling on /speed_scaling_state_broadcaster/speed_scaling"
    assert_refusal(
        life.room.activation.waiting_for, Why.SCALING_ZERO, value=0.0, subject=subject, problem="which is 0%"
    )
    assert life.room.activation.counters["scaling_stops"] == 1
    assert life.room.at_rest
    stood = life.robot.arm.position.copy()
    life.set(0.5)
    life.run(10.0)
    assert life.room.state is State.RUNNING, life.room.activation.waiting_for
    assert life.robot.arm.position[0] > stood[0] + 0.5
    check(life)


def test_when_the_robot_was_moved_by_hand_while_its_speed_was_zero_expect_motion_from_where_it_is() -> None:
    """UniversalRobots/Universal_Robots_ROS2_Driver#1084: after jogging it went back to where it was commanded last."""
    life = Slider(1.0).run(3.0)
    life.set(0.0)
    life.run(6.0)
    moved = life.robot.arm.position - 0.6
    life.robot.arm.position = moved.copy()
    life.robot.controller.activate(moved, np.zeros(2))  # its controller was stopped meanwhile
    count = len(life.sent)
    life.run(7.0)
    life.set(1.0)
    life.run(8.0)
    assert life.room.state is State.RUNNING, life.room.activation.waiting_for
    assert np.abs(life.sent[count].position - moved).max() < 0.01
    assert life.stops == [life.stops[0]]


def test_when_the_scaling_is_a_ratio_where_per_cent_are_expected_expect_waiting_with_that_hint() -> None:
    life = Slider(0.01).run(2.0)
    assert life.sent == []
    remedy = "if 1 is its full speed, set speed_scaling.full to it"
    assert_refusal(
        life.room.activation.waiting_for, Why.SCALING_ZERO, value=0.01, problem="which is 1%", remedy=remedy
    )


def test_when_trajectories_are_scaled_expect_times_from_now_as_much_shorter() -> None:
    command = Slider(1.0).run(2.0).sent[-1]
    plain = JointTrajectory.of(to_joint_trajectory(command, ["a", "b"], command.now_ns))
    scaled = JointTrajectory.of(to_joint_trajectory(replace(command, pace=0.5), ["a", "b"], command.now_ns))
    assert len(plain.points) == len(scaled.points)
    for one, other in zip(plain.points, scaled.points, strict=True):
        from_now = plain.stamp_ns + one.time_from_start_ns - command.now_ns
        assert abs(scaled.stamp_ns + other.time_from_start_ns - command.now_ns - 0.5 * from_now) <= 2
        np.testing.assert_array_equal(one.state.positions, other.state.positions)
        assert one.state.velocities is not None
        assert other.state.velocities is not None
        np.testing.assert_allclose(other.state.velocities, 2.0 * one.state.velocities)


def test_when_the_scaling_was_never_heard_expect_waiting() -> None:
    pace = Pace(SpeedScalingConfig(topic="/s"))
    assert_refusal(pace.stopped, Why.SCALING_UNSEEN, problem="which was never heard")
    pace.note_scaling(float("nan"))
    assert_refusal(pace.stopped, Why.SCALING_UNSEEN, problem="which was never heard")
    pace.note_scaling(30.0)
    assert pace.stopped is None
    assert pace.wanted == pytest.approx(0.3)


def check(life: Slider) -> None:
    """All that was commanded, on its curve."""
    path = []
    for before, after in zip(life.sent, life.sent[1:], strict=False):
        if after.now_ns - before.now_ns <= 10_000_000:
            times = range(before.now_ns + 2_000_000, after.now_ns + 2_000_000, 2_000_000)
            path.append([before.curve.at(time_ns).position for time_ns in times])
    velocity = np.diff(np.array(path), axis=1) / 0.002
    assert np.abs(velocity).max() <= V * (1 + 1e-6)
    assert np.abs(np.diff(velocity, axis=1)).max() / 0.002 <= A * (1 + 1e-6) + 1e-2


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(1, 200), st.floats(0.0, 120.0), st.floats(0.5, 50.0)), min_size=1, max_size=30
    )
)
def test_whatever_the_slider_does_expect_plan_time_to_go_on_and_to_be_remembered(steps) -> None:
    pace = Pace(SpeedScalingConfig(topic="/s"))
    now_ns, told = START_NS, []
    for step_ms, value, fastest in steps:
        pace.note_scaling(value)
        for _ in range(step_ms):
            rate = pace.rate
            now_ns += 10_000_000
            pace.advance(now_ns, fastest)
            assert abs(pace.rate - rate) <= fastest * 0.01 + 1e-12
            told.append((now_ns, pace.plan_ns(now_ns)))
    at_ns, plan_ns = np.array(told).T
    passed = np.diff(plan_ns)
    assert (passed >= 0).all()
    assert (passed <= 10_000_001).all()
    recent = at_ns > now_ns - 9 * NS_PER_S
    assert [pace.plan_ns(int(at)) for at in at_ns[recent]] == plan_ns[recent].tolist()
