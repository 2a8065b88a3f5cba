# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Trajectories between their points, as ros2_controllers interpolates them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.one_controller import JOINTS, MS, NOW, active, point, run, trajectory

from hpt_ros.sim.jtc_config import JtcConfig
from hpt_ros.sim.trajectory import (
    JointState,
    SampledTrajectory,
    TrajectoryPoint,
    interpolate,
)


def parts(state: JointState) -> list[np.ndarray]:
    """Positions, velocities and accelerations of a state that has them all."""
    found = [x for x in (state.positions, state.velocities, state.accelerations) if x is not None]
    assert len(found) == 3
    return found


value = st.floats(-3.0, 3.0)


@given(st.lists(value, min_size=6, max_size=6), st.floats(0.01, 2.0), st.booleans())
def test_polynomials_meet_both_ends(numbers, duration, quintic):
    a = JointState(*(np.array([n]) for n in numbers[:3]))
    b = JointState(*(np.array([n]) for n in numbers[3:]))
    ends = [parts(a), parts(b)]
    if not quintic:
        a, b = JointState(a.positions, a.velocities), JointState(b.positions, b.velocities)
    for (position, velocity, acceleration), at in zip(ends, (0.0, duration), strict=True):
        got = parts(interpolate(a, b, at, duration))
        np.testing.assert_allclose(got[0], position, atol=1e-9)
        np.testing.assert_allclose(got[1], velocity, atol=1e-6 / duration)
        if quintic:
            np.testing.assert_allclose(got[2], acceleration, atol=1e-5 / duration**2)


@given(st.lists(value, min_size=6, max_size=6), st.floats(0.1, 2.0), st.floats(0.1, 0.9))
def test_velocity_and_acceleration_are_the_derivatives_of_position(numbers, duration, fraction):
    a = JointState(*(np.array([n]) for n in numbers[:3]))
    b = JointState(*(np.array([n]) for n in numbers[3:]))
    t, h = fraction * duration, 1e-4 * duration
    early, middle, late = (parts(interpolate(a, b, at, duration)) for at in (t - h, t, t + h))
    for lower, upper in ((0, 1), (1, 2)):
        slope = (late[lower] - early[lower]) / (2 * h)
        np.testing.assert_allclose(slope, middle[upper], rtol=1e-3, atol=1e-2 / duration**2)


def test_without_velocities_it_is_straight_and_past_the_end_it_holds():
    sampled = SampledTrajectory(trajectory(point(100, [1.0, 2.0]), point(200, [1.0, 0.0])))
    sampled.enter(NOW, JointState(np.zeros(2), np.ones(2)))
    assert sampled.sample(NOW - 1) is None
    for ms, position, number in (
        (0, [0, 0], 0),
        (50, [0.5, 1], 0),
        (100, [1, 2], 1),
        (150, [1, 1], 1),
        (300, [1, 0], 2),
    ):
        got = sampled.sample(NOW + ms * MS)
        assert got is not None
        state, following = got
        np.testing.assert_allclose(state.positions, position)
        assert following == number


@given(
    st.lists(st.lists(value, min_size=6, max_size=6), min_size=2, max_size=2),
    st.lists(st.sampled_from([0, 1, 2, 2, 2, 3, 5, 40]), min_size=1, max_size=40),
    st.booleans(),
)
def test_when_states_are_worked_out_ahead_expect_the_same_to_the_last_bit(numbers, steps, quintic):
    """Cycles may be as long as announced, and longer and shorter: late ones, and a slider that is moved."""
    states = [
        JointState(*(np.array(row[first : first + 2]) for first in range(0, 6 if quintic else 4, 2)))
        for row in numbers
    ]
    points = [TrajectoryPoint(ms * MS, state) for ms, state in zip((20, 200), states, strict=True)]
    alone, ahead = (SampledTrajectory(trajectory(*points), period_ns=period) for period in (0, 2 * MS))
    time_ns = NOW
    for sampled in (alone, ahead):
        sampled.enter(NOW, JointState(np.zeros(2), np.zeros(2)))
    for step in steps:
        time_ns += step * MS
        (one, number), (other, same) = (sampled.sample(time_ns) or (None, 0) for sampled in (alone, ahead))
        assert one is not None
        assert other is not None
        assert number == same
        for wanted, got in zip(parts(one), parts(other), strict=True):
            np.testing.assert_array_equal(wanted, got)


def test_without_splines_the_next_point_is_given():
    sampled = SampledTrajectory(trajectory(point(100, [1.0, 2.0]), point(200, [3.0, 4.0])), splines=False)
    sampled.enter(NOW, JointState(np.zeros(2)))
    for ms, position in ((50, [0, 0]), (100, [3, 4]), (199, [3, 4]), (201, [3, 4])):
        got = sampled.sample(NOW + ms * MS)
        assert got is not None
        np.testing.assert_array_equal(got[0].positions, position)


def test_a_continuous_joint_is_entered_from_its_nearest_turn():
    config = JtcConfig(JOINTS, continuous=frozenset({"a"}))
    controller = active(config, position=(3.1, 3.1))
    controller.receive(trajectory(point(100, [-3.1, -3.1])), NOW)
    told = run(controller, 110, measured=(3.1, 3.1))
    assert np.abs(np.diff(told[1:, 0])).max() < 0.01  # the short way, 0.08 rad
    assert np.ptp(told[1:, 1]) > 5.0  # this one has limits and goes all the way
