# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What quality measures of images, motion and grippers, by itself."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_ros.dataset.quality.checks import robust_z
from hpt_ros.dataset.quality.findings import OUTLIER_Z
from hpt_ros.dataset.quality.measure import (
    CHANGED_RATIO,
    measure_images,
)
from hpt_ros.dataset.quality.motion import log_dimensionless_jerk, most_switches
from hpt_ros.report.images import thumbnail


def test_pictures_are_measured_by_their_grey_levels():
    frames = np.full((3, 10, 10, 3), 50, np.uint8)
    frames[2, :5] = 90
    images = measure_images(frames)
    np.testing.assert_allclose(images.brightness, [50.0, 50.0, 70.0])
    np.testing.assert_allclose(images.change, [np.nan, 0.0, 0.5])
    np.testing.assert_allclose(images.part(1, 3).change, [np.nan, 0.5])
    np.testing.assert_allclose(images.change, [np.nan, 0.0, 0.5])  # the whole is as it was


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=30), st.floats(0.1, 10.0))
def test_robust_z_has_no_unit(values, scale):
    z = robust_z(np.array(values))
    assert np.isfinite(z).all()
    if np.median(np.abs(np.array(values) - np.median(values))) > 1e-3:
        np.testing.assert_allclose(robust_z(np.array(values) * scale), z, rtol=1e-6, atol=1e-9)


def test_one_far_value_among_many_is_an_outlier_and_the_rest_are_not():
    values = np.append(np.random.default_rng(1).normal(10.0, 1.0, 50), 30.0)
    assert np.flatnonzero(np.abs(robust_z(values)) > OUTLIER_Z).tolist() == [50]


def test_a_thumbnail_is_small_whatever_the_picture():
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    assert len(thumbnail(noise)) < 10_000
    assert thumbnail(np.zeros((8, 8, 3), np.uint8))[:2] == b"\xff\xd8"


def test_motion_too_slow_to_see_from_tick_to_tick_adds_up():
    frames = np.full((30, 60, 80, 3), 80, np.uint8)
    for tick, frame in enumerate(frames):
        frame[30, : 2 * tick] = 200  # two pixels of 4800 a tick: 0.04 %
    change = measure_images(frames).change
    runs = np.diff(np.flatnonzero(np.concatenate([[True], change[1:] >= CHANGED_RATIO, [True]])))
    assert runs.max() <= 6


def minimum_jerk(ticks):
    """A reach of minimum jerk (Flash and Hogan 1985), from 0 to 1."""
    t = np.linspace(0.0, 1.0, ticks)
    return (10 * t**3 - 15 * t**4 + 6 * t**5)[:, None]


def test_a_reach_of_minimum_jerk_has_the_smoothness_of_the_books_whatever_its_size_and_speed():
    # T^3 / v_peak^2 * 720 / T^5 with v_peak = 1.875 / T.
    expected = -np.log(720 / 1.875**2)
    for size, dt_s in ((1.0, 0.001), (30.0, 0.001), (0.1, 0.02)):
        assert log_dimensionless_jerk(size * minimum_jerk(2001), dt_s) == pytest.approx(expected, abs=0.01)
    shaking = minimum_jerk(200) + 0.01 * np.sin(np.arange(200) * 2.0)[:, None]
    assert log_dimensionless_jerk(shaking, 0.01) < expected - 3
    assert log_dimensionless_jerk(np.ones((50, 2)), 0.1) is None
    assert log_dimensionless_jerk(minimum_jerk(5), 0.1) is None


@given(st.lists(st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]), max_size=60))
def test_a_gripper_is_switched_only_from_end_to_end(values):
    commands = np.array(values)
    ends = [value for value in values if value in (0.0, 1.0)]
    changes = sum(a != b for a, b in itertools.pairwise(ends))
    assert most_switches(commands, 10.0) <= 1  # a tick of 10 s
    assert most_switches(commands, 1e-6) == changes
