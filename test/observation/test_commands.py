# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.embodiments import embodiment, joints, limit, trajectory
from support.refused import assert_refusal

from hpt_ros.observation import CommandTrack
from hpt_ros.observation.time_series import NEVER_SEEN, Absence

MS = 1_000_000
ARM = embodiment("arm", [joints("ab")], trajectory([limit("a"), limit("b")], rate_hz=100.0, horizon=2))


def track(robot):
    return CommandTrack(robot)


def vector(number):
    return np.array([number, -number], np.float64)


def test_value_is_linear_between_commands(robot):
    commands = track(robot)
    commands.push(90 * MS, 91 * MS, vector(1))
    commands.push(130 * MS, 131 * MS, vector(5))
    np.testing.assert_allclose(commands.value_at(100 * MS), [2, -2])


def test_value_at_a_command_is_that_command(robot):
    commands = track(robot)
    commands.push(100 * MS, 0, vector(0.1))
    commands.push(110 * MS, 0, vector(9))
    np.testing.assert_array_equal(commands.value_at(100 * MS), vector(0.1))


def test_a_tick_is_settled_when_a_later_command_is_there_or_overdue(robot):
    commands = track(robot)
    assert not commands.is_settled(100 * MS, 200 * MS)
    assert commands.is_settled(100 * MS, 200 * MS + 1)  # tolerance 0.1 s is over
    commands.push(99 * MS, 99 * MS, vector(1))
    assert not commands.is_settled(100 * MS, 120 * MS)
    commands.push(100 * MS, 120 * MS, vector(1))
    assert commands.is_settled(100 * MS, 120 * MS)


def test_when_commands_stop_expect_the_last_held_within_the_tolerance(robot):
    commands = track(robot)
    commands.push(0, 0, vector(3))
    np.testing.assert_array_equal(commands.value_at(100 * MS), vector(3))
    assert_refusal(
        commands.value_at(200 * MS), Absence.TOO_OLD, value=0.2, match=r"is 0.200 s old \(tolerance 0.1 s\)"
    )


def test_when_there_is_no_command_expect_the_reason(robot):
    commands = track(robot)
    assert commands.value_at(0) is NEVER_SEEN
    commands.push(5 * MS, 0, vector(1))
    assert_refusal(commands.value_at(0), Absence.NOT_YET, value=0.005, problem="is 0.005 s after the tick")
    commands.clear()
    assert commands.value_at(5 * MS) is NEVER_SEEN


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=40), st.floats(-5, 5), st.integers(5, 40))
def test_a_ramp_comes_back_exactly(offsets, slope, step_ms):
    """Interpolation of a straight line is that line, wherever its samples lie."""
    commands = track(ARM)
    for index in range(len(offsets) + 8):
        time_ns = index * step_ms * MS
        commands.push(time_ns, time_ns, vector(slope * time_ns * 1e-9))
        tick_ns = time_ns - 13 * MS
        if tick_ns >= 0 and commands.is_settled(tick_ns, time_ns):
            np.testing.assert_allclose(commands.value_at(tick_ns), vector(slope * tick_ns * 1e-9), atol=1e-9)
