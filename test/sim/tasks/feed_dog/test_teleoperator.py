# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The scripted teleoperator: limits, smoothness, variation, and a path that can be cloned."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.sim.movement import LIMIT_RATIO, NO_SPREAD, minimum_jerk
from hpt_ros.sim.panda import ACCELERATION_RAD_S2, LOWER_RAD, UPPER_RAD, VELOCITY_RAD_S
from hpt_ros.sim.table_task import START_JITTER_RAD
from hpt_ros.sim.tasks.feed_dog.task import BOWL_X_M, BOWL_Y_M, START_RAD
from hpt_ros.sim.tasks.feed_dog.teleoperator import (
    SCOOP,
    ScriptedTeleoperator,
)

DT_S = 0.02
MIDDLE = np.array([0.55, 0.05])


def sampled(teleop: ScriptedTeleoperator) -> np.ndarray:
    return np.array([teleop.target(time_s) for time_s in np.arange(0.0, teleop.duration_s, DT_S)])


@settings(max_examples=15)
@given(
    x_m=st.floats(*BOWL_X_M),
    y_m=st.floats(*BOWL_Y_M),
    seed=st.integers(0, 10_000),
    jitter=st.lists(st.floats(-START_JITTER_RAD, START_JITTER_RAD), min_size=7, max_size=7),
)
def test_a_demonstration_keeps_to_its_share_of_the_limits(x_m, y_m, seed, jitter):
    teleop = ScriptedTeleoperator(np.array([x_m, y_m]), START_RAD + np.array(jitter), seed=seed)
    targets = sampled(teleop)
    assert (targets >= LOWER_RAD).all()
    assert (targets <= UPPER_RAD).all()
    velocity = np.diff(targets, axis=0) / DT_S
    assert (np.abs(velocity) <= LIMIT_RATIO * VELOCITY_RAD_S + 1e-9).all()
    acceleration = np.diff(velocity, axis=0) / DT_S
    assert (np.abs(acceleration) <= LIMIT_RATIO * ACCELERATION_RAD_S2 + 1e-6).all()
    assert 6.0 < teleop.duration_s < 10.0


@pytest.mark.parametrize("x_m", BOWL_X_M)
@pytest.mark.parametrize("y_m", BOWL_Y_M)
def test_it_pours_over_the_bowl_with_the_scoop_nose_down(x_m, y_m):
    teleop = ScriptedTeleoperator(np.array([x_m, y_m]), START_RAD, spread=NO_SPREAD)
    pose = SCOOP.pose(teleop.target(teleop.duration_s))
    assert np.hypot(*(pose[:2, 3] - (x_m, y_m))) < 0.04
    assert np.rad2deg(-np.arcsin(pose[2, 0])) > 40


def test_it_starts_at_the_arms_pose_and_holds_at_the_end():
    start_rad = START_RAD + 0.02
    teleop = ScriptedTeleoperator(MIDDLE, start_rad)
    np.testing.assert_allclose(teleop.target(0.0), start_rad, atol=1e-9)
    np.testing.assert_allclose(teleop.target(-5.0), start_rad, atol=1e-9)
    np.testing.assert_array_equal(teleop.target(teleop.duration_s), teleop.target(teleop.duration_s + 9.0))
    assert not teleop.is_done(teleop.duration_s - 0.01)
    assert teleop.is_done(teleop.duration_s)


def test_when_the_seed_differs_expect_another_demonstration_and_the_same_for_the_same_seed():
    first, again, other = (ScriptedTeleoperator(MIDDLE, START_RAD, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.target(3.0), again.target(3.0))
    assert np.abs(first.target(3.0) - other.target(3.0)).max() > 1e-3


def test_when_the_bowl_moves_a_little_expect_the_joints_to_move_a_little():
    """One elbow branch over the whole region: the pour's joint angles are a continuous function of the bowl's place."""
    xs, ys = np.linspace(*BOWL_X_M, 4), np.linspace(*BOWL_Y_M, 4)
    plans = [[ScriptedTeleoperator(np.array([x, y]), START_RAD, spread=NO_SPREAD) for y in ys] for x in xs]
    pours = np.array([[plan.target(plan.duration_s) for plan in row] for row in plans])
    assert np.abs(np.diff(pours, axis=0)).max() < 0.5  # bowl steps of 7 cm
    assert np.abs(np.diff(pours, axis=1)).max() < 0.5  # and of 10 cm


def test_no_pose_is_visited_twice_and_nothing_waits_before_the_pour_is_over():
    teleop = ScriptedTeleoperator(MIDDLE, START_RAD, spread=NO_SPREAD)
    targets = sampled(teleop)
    end = int((teleop.duration_s - 1.2) / DT_S)
    moving = targets[int(0.3 / DT_S) : end]  # but for the first and the last creep
    speed = np.abs(np.diff(moving, axis=0)).max(axis=1) / DT_S
    assert speed.min() > 0.05  # rad/s, of the quickest joint
    apart = np.abs(moving[:, None] - moving[None]).max(axis=2)
    index = np.arange(len(moving))
    later = np.abs(index[:, None] - index[None]) > 1.0 / DT_S
    assert apart[later].min() > 0.05  # rad: poses a second apart differ clearly


@pytest.mark.parametrize("bowl", [(1.5, 0.0), (0.05, 0.0)])
def test_when_the_bowl_is_out_of_reach_expect_an_error_that_says_so(bowl):
    with refused(HptError, Code.UNSUPPORTED, subject="the arm", problem="cannot put its tool at"):
        ScriptedTeleoperator(np.array(bowl), START_RAD)


def test_minimum_jerk_runs_from_0_to_1_with_no_speed_at_the_ends():
    fraction = np.linspace(-0.5, 1.5, 2001)
    progress = minimum_jerk(fraction)
    assert progress[0] == 0.0
    assert progress[-1] == 1.0
    speed = np.gradient(progress, fraction)
    assert speed.min() > -1e-12
    assert speed.max() == pytest.approx(1.875, abs=1e-3)
    np.testing.assert_allclose(speed[np.isclose(fraction, 0.0) | np.isclose(fraction, 1.0)], 0.0, atol=1e-4)
