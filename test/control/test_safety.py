# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""No sequence of targets gets a command beyond a limit; what is within the limits is not touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.refused import assert_refusal, refused

from hpt_ros.control import Limits, SafetyFilter
from hpt_ros.control.refusals import Why
from hpt_ros.control.safety import target_refusal
from hpt_ros.errors import Code, HptError

# Three joints of the Franka Panda and a slow short axis.
LIMITS = Limits(
    np.array([-2.8973, -1.7628, -0.0175, 0.0]),
    np.array([2.8973, 1.7628, 3.7525, 0.04]),
    np.array([2.175, 2.175, 2.61, 0.05]),
    np.array([15.0, 7.5, 20.0, 0.2]),
)
DIM = LIMITS.dim
TOLERANCE = 1e-6  # relative; what docs/safety.md promises

numbers = st.one_of(
    st.floats(-4, 4),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e300, -1e300, 2.8973, -1.7628, 0.0]),
)
targets = st.lists(st.lists(numbers, min_size=DIM, max_size=DIM), min_size=1, max_size=60)
periods = st.sampled_from([0.001, 0.002, 0.01, 0.05, 0.1])
braking = st.integers(0, 3)


def unchanged(output):
    """Whether the target passed bit for bit."""
    return not (
        output.position_clamped or output.velocity_clamped or output.acceleration_clamped or output.slowed
    )


def starts(filter_: SafetyFilter, part: float) -> np.ndarray:
    position = LIMITS.lower + part * (LIMITS.upper - LIMITS.lower)
    filter_.reset(position)
    return position


def check_legal(positions: list[np.ndarray], dt_s: float) -> None:
    path = np.array(positions)
    assert (path >= LIMITS.lower).all()
    assert (path <= LIMITS.upper).all()
    velocity = np.diff(path, axis=0) / dt_s
    assert (np.abs(velocity) <= LIMITS.velocity * (1 + TOLERANCE)).all()
    acceleration = np.diff(np.vstack([np.zeros(DIM), velocity]), axis=0) / dt_s
    # Second differences of numbers of this size round to about eps * |q| / dt^2.
    rounding = 8 * np.finfo(float).eps * np.abs(path).max() / dt_s**2
    assert (np.abs(acceleration) <= LIMITS.acceleration * (1 + TOLERANCE) + rounding).all()


@settings(max_examples=300)
@given(targets, periods, st.floats(0, 1), st.booleans(), st.lists(braking, max_size=60), st.booleans())
def test_no_sequence_of_targets_gives_a_command_beyond_a_limit(rows, dt_s, part, repeat, brakes, apart):
    filter_ = SafetyFilter(LIMITS, dt_s, np.array([False, False, False, apart]))
    sent = [starts(filter_, part)]
    for index, row in enumerate(rows):
        for _ in range(12 if repeat else 1):
            output = filter_.apply(np.array(row), np.array(row[::-1]))
            if output is None:
                assert not np.isfinite(row).all()
            else:
                sent.append(output.position)
                assert (np.abs(output.velocity) <= LIMITS.velocity * (1 + TOLERANCE)).all()
        for _ in range(brakes[index] if index < len(brakes) else 0):
            sent.append(filter_.brake().position)
    while not filter_.at_rest:
        sent.append(filter_.brake().position)
    check_legal([*sent, sent[-1]], dt_s)


@settings(max_examples=200)
@given(targets, periods, st.floats(0, 1), st.booleans())
def test_when_a_sequence_is_within_the_limits_expect_every_bit_unchanged(rows, dt_s, part, repeat):
    """What the filter lets out is within the limits by the test above; fed in again, it must come out the same."""
    first, second = SafetyFilter(LIMITS, dt_s), SafetyFilter(LIMITS, dt_s)
    starts(first, part)
    starts(second, part)
    legal = [first.apply(np.array(row)) for row in rows for _ in range(12 if repeat else 1)]
    while not first.at_rest:
        legal.append(first.brake())
    for output in legal:
        if output is not None:
            again = second.apply(output.position)
            assert again is not None
            assert unchanged(again)
            assert again.position.tobytes() == output.position.tobytes()


@pytest.mark.parametrize("dt_s", [0.001, 0.01, 0.1])
def test_when_a_sine_uses_the_whole_range_within_the_limits_expect_every_bit_unchanged(dt_s):
    """Independent of the filter: x(t) = centre - reach cos(w t) with w such that neither limit is passed."""
    centre, reach = (LIMITS.lower + LIMITS.upper) / 2, (LIMITS.upper - LIMITS.lower) / 2
    w = 0.999 * np.minimum(LIMITS.velocity / reach, np.sqrt(LIMITS.acceleration / reach)).min()
    filter_ = SafetyFilter(LIMITS, dt_s)
    filter_.reset(LIMITS.lower)
    start = np.clip(centre - reach * np.cos(0.0), LIMITS.lower, LIMITS.upper)
    np.testing.assert_allclose(start, LIMITS.lower, atol=1e-12)
    for step in range(1, int(3.0 / dt_s)):
        target = np.clip(centre - reach * np.cos(w * step * dt_s), LIMITS.lower, LIMITS.upper)
        output = filter_.apply(target)
        assert output is not None
        assert unchanged(output)
        assert output.position.tobytes() == target.tobytes()


def test_when_braking_hardest_right_up_to_the_limit_expect_every_bit_unchanged():
    """v^2 / 2A would be too strict here by v dt / 2: the exact rule is not."""
    limits = Limits(np.array([-10.0]), np.array([0.0]), np.array([2.0]), np.array([5.0]))
    dt_s = 0.01
    speeds = 0.05 * np.concatenate([np.arange(1, 41), np.full(20, 40), np.arange(39, -1, -1)])
    way = np.cumsum(speeds * dt_s)
    path = way - way[-1]
    filter_ = SafetyFilter(limits, dt_s)
    filter_.reset(-way[-1:])
    for position in [*path, 0.0]:
        output = filter_.apply(np.array([position]))
        assert output is not None
        assert unchanged(output)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_when_target_is_not_finite_expect_nothing_to_send_and_nothing_changed(bad):
    filter_ = SafetyFilter(LIMITS, 0.01)
    start = starts(filter_, 0.5)
    assert filter_.apply(np.array([0.0, bad, 0.0, 0.0])) is None
    assert filter_.position is not None
    assert filter_.position.tobytes() == start.tobytes()
    found = target_refusal(np.array([0.0, bad, 0.0, 0.0]), DIM)
    assert_refusal(found, Why.NOT_FINITE, value=1, match="^a target is not finite in its dimension 1$")


def test_when_target_has_wrong_size_expect_nothing_to_send():
    filter_ = SafetyFilter(LIMITS, 0.01)
    starts(filter_, 0.5)
    assert filter_.apply(np.zeros(DIM + 1)) is None
    assert_refusal(
        target_refusal(np.zeros((DIM, 1)), DIM), Why.WRONG_SIZE, value=(DIM, 1), expected=f"({DIM},)"
    )


def test_when_target_is_far_expect_a_straight_line_and_hardly_any_overshoot():
    limits = Limits(np.full(3, -3.0), np.full(3, 3.0), np.array([2.0, 2.0, 2.0]), np.array([15.0, 7.5, 20.0]))
    filter_ = SafetyFilter(limits, 0.01)
    filter_.reset(np.zeros(3))
    target = np.array([1.0, -0.6, 0.3])
    tiny = 4 * limits.acceleration * 0.01**2
    for _ in range(400):
        output = filter_.apply(target)
        assert output is not None
        part = output.position[0] / target[0]
        assert (np.abs(output.position - part * target) <= tiny).all()
        assert (np.abs(output.position) <= np.abs(target) + tiny).all()
    np.testing.assert_array_equal(output.position, target)
    assert filter_.at_rest


def test_when_target_moves_ahead_expect_caught_up_without_lag():
    filter_ = SafetyFilter(LIMITS, 0.01)
    start = np.array([0.0, 0.0, 1.0, 0.02])
    filter_.reset(start)
    speed = np.array([1.0, -0.8, 0.5, 0.0])
    for step in range(1, 150):
        target = start + 0.1 * np.sign(speed) + speed * step * 0.01
        output = filter_.apply(target, speed)
    assert output is not None
    assert unchanged(output)
    np.testing.assert_array_equal(output.position, target)


def test_when_gripper_jumps_expect_the_arm_not_slowed():
    filter_ = SafetyFilter(LIMITS, 0.01, np.array([False, False, False, True]))
    start = np.array([0.0, 0.0, 1.0, 0.0])
    filter_.reset(start)
    target = start + np.array([0.0004, 0.0004, 0.0004, 0.04])
    output = filter_.apply(target)
    assert output is not None
    np.testing.assert_array_equal(output.position[:3], target[:3])
    assert 0.0 < output.position[3] < 0.04


def test_when_gripper_jumps_while_the_arm_is_limited_expect_the_arm_as_without_it():
    apart = np.array([False, False, False, True])
    with_jump, without = SafetyFilter(LIMITS, 0.01, apart), SafetyFilter(LIMITS, 0.01, apart)
    start = np.array([0.0, 0.0, 1.0, 0.0])
    with_jump.reset(start)
    without.reset(start)
    for _ in range(30):
        jumping = with_jump.apply(start + np.array([0.5, -0.3, 0.2, 0.04]))
        still = without.apply(start + np.array([0.5, -0.3, 0.2, 0.0]))
        assert jumping is not None
        assert still is not None
        np.testing.assert_array_equal(jumping.position[:3], still.position[:3])
    assert jumping.position[3] > 0.0


@pytest.mark.parametrize(
    ("jump", "clamp"),
    [(0.03, "velocity_clamped"), (0.005, "acceleration_clamped"), (5.0, "position_clamped")],
)
def test_when_a_limit_acts_expect_it_named(jump, clamp):
    filter_ = SafetyFilter(LIMITS, 0.01)
    filter_.reset(np.array([0.0, 0.0, 1.0, 0.02]))
    output = filter_.apply(np.array([jump, 0.0, 1.0, 0.02]))
    assert output is not None
    assert getattr(output, clamp)
    assert not unchanged(output)


def test_when_driven_at_a_limit_expect_slowed_in_time_to_stop():
    limits = Limits(np.array([-1.0]), np.array([1.0]), np.array([2.0]), np.array([4.0]))
    filter_ = SafetyFilter(limits, 0.01)
    filter_.reset(np.array([-1.0]))
    slowed = 0
    path = [np.array([-1.0])]
    for step in range(1, 400):
        # Legal by velocity and acceleration, and by position up to the very wall.
        target = path[-1] + np.minimum(2.0, filter_.velocity + 0.04) * 0.01
        output = filter_.apply(np.minimum(target, 1.0))
        assert output is not None
        slowed += output.slowed
        path.append(output.position)
        assert step > 0
    assert slowed > 10
    assert path[-1][0] == pytest.approx(1.0, abs=1e-6)


def test_when_at_rest_expect_brake_to_repeat_the_last_command_exactly():
    filter_ = SafetyFilter(LIMITS, 0.01)
    start = starts(filter_, 0.3)
    for _ in range(3):
        assert filter_.brake().position.tobytes() == start.tobytes()
    assert filter_.at_rest


def test_when_limits_contradict_expect_error():
    with refused(HptError, Code.OUT_OF_RANGE, subject="limits", problem="lower < upper"):
        Limits(np.array([1.0]), np.array([0.0]), np.array([1.0]), np.array([1.0]))
    with refused(
        HptError,
        Code.NOT_FINITE,
        subject="limits",
        value=[1.0, 2.0],
        expected="one finite number per dimension",
    ):
        Limits(np.array([0.0]), np.array([1.0]), np.array([1.0, 2.0]), np.array([1.0]))


@given(st.floats(-1.5, 1.5), st.sampled_from([0.001, 0.01, 0.02, 0.05]), st.sampled_from([1.0, -1.0]))
def test_when_one_period_of_braking_is_enough_expect_no_rounding_left_in_the_last_velocity(start, dt_s, sign):
    panda = Limits(np.full(2, -2.8973), np.full(2, 2.8973), np.full(2, 2.175), np.array([15.0, 7.5]))
    filter_ = SafetyFilter(panda, dt_s)
    filter_.reset(np.full(2, start))
    filter_.apply(start + sign * panda.acceleration * dt_s * dt_s)
    assert filter_.velocity.any()
    assert not filter_.brake().velocity.any()
    assert filter_.at_rest
