# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What controllers tell their motors of our stream: the shipped file in each release, late timers, lagging arms."""

from __future__ import annotations

import numpy as np
import pytest
from support.arm import ArmModel
from support.stream import START_NS, Delays, Plan, Stream, shipped_controller
from support.timer_traces import TRACES, calls_ns, lateness_ns

from hpt_ros.control import Limits, State
from hpt_ros.sim.controllers import HUMBLE, JAZZY, ROLLING

ONE = np.ones(1)
LIMITS = Limits(-1.7628 * ONE, 1.7628 * ONE, 2.175 * ONE, 7.5 * ONE)
STEPS = Plan("steps", lambda t: np.where((t // 1.5) % 2 == 0, 0.0, 0.25)[:, None])
SMOOTH = Plan("smooth", lambda t: 0.5 * (1.0 - np.cos(1.5 * t))[:, None])


def stream(controller, lag_s: float, trace: str, plan: Plan, rate_hz: float = 50.0, **changes) -> Stream:
    calls = calls_ns(lateness_ns(trace), round(1e9 / rate_hz), START_NS)
    return Stream(
        controller, ArmModel(lag_s=lag_s), LIMITS, rate_hz=rate_hz, plan=plan, calls=calls, **changes
    )


@pytest.mark.parametrize("trace", TRACES)
@pytest.mark.parametrize("release", [HUMBLE, JAZZY, ROLLING], ids=["humble", "jazzy", "rolling"])
def test_whatever_release_timer_and_arm_the_motors_are_told_nothing_beyond_the_limits(release, trace):
    run = stream(shipped_controller(release, ["joint"]), 0.1, trace, STEPS).run(5.0)
    motion = run.robot.motion()
    assert run.room.state is State.RUNNING
    assert motion.velocity[0] > 0.5
    # A thousandth for time in whole nanoseconds.
    assert motion.velocity[0] <= 1.001 * LIMITS.velocity[0]
    assert motion.acceleration[0] <= 1.001 * LIMITS.acceleration[0]
    assert motion.curve_acceleration[0] <= 1.001 * LIMITS.acceleration[0]


@pytest.mark.parametrize("rate_hz", [30.0, 100.0])
def test_so_it_is_at_other_rates_of_commands(rate_hz):
    run = stream(shipped_controller(JAZZY, ["joint"]), 0.04, "quiet", STEPS, rate_hz).run(4.0)
    assert run.robot.motion().acceleration[0] <= 1.001 * LIMITS.acceleration[0]


def test_from_the_measured_state_too_because_messages_repeat_what_was_sent():
    controller = shipped_controller(JAZZY, ["joint"], interpolate_from_desired_state=False)
    motion = stream(controller, 0.1, "loaded", STEPS).run(4.0).robot.motion()
    assert motion.acceleration[0] <= 1.001 * LIMITS.acceleration[0]


def test_when_messages_are_lost_expect_the_same_curve():
    run = stream(shipped_controller(JAZZY, ["joint"]), 0.04, "quiet", STEPS, delays=Delays(lost=0.05)).run(
        6.0
    )
    assert run.robot.motion().acceleration[0] <= 1.001 * LIMITS.acceleration[0]


def test_when_the_process_is_killed_in_motion_expect_the_arm_to_come_to_rest_by_itself_within_the_limits():
    """And to stay there: a timeout of the controller would let an arm that sags down to where it is measured."""
    calls = calls_ns(lateness_ns("quiet"), 20_000_000, START_NS)
    arm = ArmModel(lag_s=0.04, sag=-0.005)
    run = Stream(
        shipped_controller(JAZZY, ["joint"]), arm, LIMITS, rate_hz=50.0, plan=SMOOTH, calls=calls
    ).run(3.1)
    assert abs(np.diff(np.array(run.robot.told)[:, 0])[-1] / 0.002) > 0.3
    run.robot.advance(START_NS + 6_000_000_000)
    assert run.robot.controller.events == []
    motion = run.robot.motion(skip=500)  # it begins elsewhere than the controller, which holds a sagging arm
    assert motion.acceleration[0] <= 1.001 * LIMITS.acceleration[0]
    assert np.ptp(np.array(run.robot.told)[-1000:, 0]) < 1e-9


@pytest.mark.parametrize("trace", TRACES)
def test_a_healthy_robot_is_not_stopped(trace):
    """The hour of test/false_stops.py in short: late and lost messages, sag, noise, load."""
    arm = ArmModel(lag_s=0.04, dead_time_s=0.01, sag=-0.005, noise=0.0005, step=0.0002)
    run = Stream(
        shipped_controller(JAZZY, ["joint"]), arm, LIMITS, rate_hz=50.0, plan=SMOOTH,
        calls=calls_ns(lateness_ns(trace), 20_000_000, START_NS),
        delays=Delays(transport_s=0.002, camera_s=0.04, inference_s=0.06, lost=0.001),
    ).run(20.0)  # fmt: skip
    assert run.stops == []
    assert run.robot.controller.events == []
    assert run.robot.refused == []
