# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Orientations: no sequence of targets turns faster than allowed; what is within the limits is not touched."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpt_ros.control import Limits, WorkspaceConfig
from hpt_ros.control.limiter import CommandLimiter
from hpt_ros.control.orientation_limits import (
    OrientationFilter,
    align,
    distances,
    omega_of,
    rate_of,
    rotate,
    rotation_vector,
)

VELOCITY, ACCELERATION = 0.6, 3.0  # UMI's rad/s on real robots
TOLERANCE = 1e-6  # relative; what docs/safety.md promises

quaternions = arrays(np.float64, (4,), elements=st.floats(-1, 1)).filter(lambda q: np.linalg.norm(q) > 0.2)
vectors = arrays(np.float64, (3,), elements=st.floats(-5, 5))
periods = st.sampled_from([0.002, 0.01, 0.05])


def unit(quaternion: np.ndarray) -> np.ndarray:
    return np.asarray(quaternion / np.linalg.norm(quaternion))


def made(dt_s: float) -> OrientationFilter:
    return OrientationFilter(VELOCITY, ACCELERATION, dt_s, 0.5)


def omegas(path: list[np.ndarray], dt_s: float) -> np.ndarray:
    return np.array([rotation_vector(b, a) / dt_s for a, b in itertools.pairwise(path)])


def check_legal(path: list[np.ndarray], dt_s: float) -> None:
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), 1.0, atol=1e-11)
    omega = np.vstack([np.zeros(3), omegas(path, dt_s)])
    rounding = 1e-14 / dt_s**2
    assert np.linalg.norm(omega, axis=1).max() <= VELOCITY * (1 + TOLERANCE)
    assert (
        np.linalg.norm(np.diff(omega, axis=0), axis=1).max() / dt_s
        <= ACCELERATION * (1 + TOLERANCE) + rounding
    )


@settings(max_examples=200)
@given(
    st.lists(st.tuples(quaternions, vectors), min_size=1, max_size=20),
    quaternions,
    periods,
    st.integers(0, 20),
)
def test_no_sequence_of_targets_turns_faster_than_allowed(rows, start, dt_s, brakes) -> None:
    filter_ = made(dt_s)
    filter_.reset(unit(start))
    sent = [unit(start)]
    for target, moving in rows:
        for _ in range(8):
            sent.append(filter_.apply(target, moving).quaternion)
        for _ in range(brakes):
            sent.append(filter_.brake().quaternion)
    while not filter_.at_rest:
        sent.append(filter_.brake().quaternion)
    check_legal([*sent, filter_.brake().quaternion], dt_s)
    assert filter_.brake().quaternion.tobytes() == sent[-1].tobytes()


@settings(max_examples=100)
@given(st.lists(quaternions, min_size=1, max_size=10), quaternions, periods, st.booleans())
def test_when_a_sequence_is_within_the_limits_expect_every_bit_unchanged(rows, start, dt_s, flip) -> None:
    """What the filter lets out is legal by the test above; fed in again, of either sign, it comes out the same."""
    first, second = made(dt_s), made(dt_s)
    first.reset(unit(start))
    second.reset(unit(start))
    for row in rows:
        for _ in range(8):
            legal = first.apply(row, np.zeros(3)).quaternion
            again = second.apply(-legal if flip else legal, np.zeros(3))
            assert not again.too_fast
            assert not again.too_sudden
            assert again.quaternion.tobytes() == legal.tobytes()


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, -1, 0), (0.6, 0, 0.8)])
def test_when_the_target_is_far_expect_a_straight_turn_at_the_limit_that_comes_to_rest_there(axis) -> None:
    dt_s, start = 0.01, unit(np.array([0.3, -0.2, 0.9, 0.1]))
    target = rotate(start, 2.0 * np.array(axis, dtype=float))
    filter_ = made(dt_s)
    filter_.reset(start)
    path = [filter_.apply(target, np.zeros(3)).quaternion for _ in range(600)]
    omega = omegas([start, *path], dt_s)
    speed = np.linalg.norm(omega, axis=1)
    assert speed.max() == pytest.approx(VELOCITY)
    away = omega[speed > 1e-3] / speed[speed > 1e-3, None] - np.array(axis, dtype=float)
    assert np.abs(away[: len(away) // 2]).max() < 1e-6
    assert np.linalg.norm(rotation_vector(path[-1], target)) < 1e-9


def test_when_a_target_goes_round_for_ever_expect_it_followed_through_every_sign() -> None:
    dt_s, omega = 0.01, np.array([0.1, -0.3, 0.4])
    filter_ = made(dt_s)
    target = unit(np.array([0.1, 0.2, -0.3, 0.4]))
    filter_.reset(target)
    for _ in range(4000):  # more than three turns
        target = rotate(target, omega * dt_s)
        target = -target if target[0] > 0 else target
        sent = filter_.apply(target, omega)
    assert np.linalg.norm(rotation_vector(sent.quaternion, target)) < 1e-9
    np.testing.assert_allclose(sent.omega, omega, atol=1e-9)


@given(quaternions, vectors)
def test_rates_and_turns_are_inverse(quaternion, vector) -> None:
    q = unit(quaternion)
    np.testing.assert_allclose(omega_of(3.0 * q, 3.0 * rate_of(q, vector) + 0.7 * q), vector, atol=1e-9)
    short = vector * (3.0 / max(float(np.linalg.norm(vector)), 3.0))
    np.testing.assert_allclose(rotation_vector(rotate(q, short), q), short, atol=1e-9)


@given(arrays(np.float64, (6, 4), elements=st.floats(-1, 1)), quaternions)
def test_aligned_changes_signs_alone_and_leaves_no_turn_the_long_way(rows, start) -> None:
    values = np.hstack([np.arange(6.0)[:, None], rows])
    found = align(values, (1,), np.concatenate([[0.0], start]))
    np.testing.assert_array_equal(np.abs(found), np.abs(values))
    chain = np.vstack([start, found[:, 1:]])
    assert ((chain[1:] * chain[:-1]).sum(axis=1) >= 0.0).all()


def test_distances_of_orientations_are_angles() -> None:
    start = np.array([1.0, 0.0, 0.0, 0.0, 1.0])
    end = np.concatenate([[0.75], -rotate(start[1:], np.array([0.0, 0.3, 0.4]))])
    np.testing.assert_allclose(distances(end, start, (1,)), [0.25, 0.5, 0.5, 0.5, 0.5])


POSE = Limits(
    np.array([-0.5, -0.5, 0.1, -1, -1, -1, -1, 0.0]),
    np.array([0.5, 0.5, 0.6, 1, 1, 1, 1, 1.0]),
    np.array([0.25] * 3 + [VELOCITY] * 4 + [2.0]),
    np.array([1.0] * 3 + [ACCELERATION] * 4 + [10.0]),
)
numbers = st.one_of(st.floats(-2, 2), st.sampled_from([float("nan"), float("inf"), 0.0]))


@settings(max_examples=150)
@given(st.lists(arrays(np.float64, (8,), elements=numbers), min_size=1, max_size=15), periods)
def test_no_sequence_of_poses_leaves_the_limits_of_position_and_orientation(rows, dt_s) -> None:
    limiter = CommandLimiter(POSE, dt_s, np.arange(8) == 7, turns=(3,), workspace=WorkspaceConfig())
    start = np.array([0.0, 0.0, 0.3, 0, 0, 0, 1.0, 0.5])
    limiter.reset(start)
    sent, moved = [start], [np.zeros(8)]
    for row in rows:
        for _ in range(8):
            output = limiter.apply(row, row[::-1])
            if output is None:
                assert limiter.refusal(row)
                continue
            sent.append(output.position)
            moved.append(limiter.velocity)
    while not limiter.at_rest:
        sent.append(limiter.brake().position)
        moved.append(limiter.velocity)
    path, plain = np.array(sent), [0, 1, 2, 7]
    check_legal([*path[:, 3:7], path[-1, 3:7]], dt_s)
    assert (path[:, plain] >= POSE.lower[plain]).all()
    assert (path[:, plain] <= POSE.upper[plain]).all()
    velocity = np.diff(path[:, plain], axis=0) / dt_s
    assert (np.abs(velocity) <= POSE.velocity[plain] * (1 + TOLERANCE)).all()
    acceleration = np.diff(np.vstack([np.zeros(4), velocity, np.zeros(4)]), axis=0) / dt_s
    rounding = 1e-14 / dt_s**2
    assert (np.abs(acceleration) <= POSE.acceleration[plain] * (1 + TOLERANCE) + rounding).all()
    # What a twist would say is what the poses do, and in the end it is zero.
    np.testing.assert_allclose(np.array(moved)[1:, plain], velocity, atol=1e-9)
    assert not moved[-1].any()
    for before, after, rate in zip(path, path[1:], moved[1:], strict=False):
        np.testing.assert_allclose(
            omega_of(after[3:7], rate[3:7]), rotation_vector(after[3:7], before[3:7]) / dt_s, atol=1e-9
        )
