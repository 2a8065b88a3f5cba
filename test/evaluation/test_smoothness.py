# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Smoothness of motions whose smoothness is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpt_ros.evaluation.smoothness import peak_jerk, spectral_arc_length

PERIOD_S = 0.01


def minimum_jerk_speed(duration_s: float) -> np.ndarray:
    u = np.arange(0.0, duration_s, PERIOD_S) / duration_s
    return 30.0 * u**2 * (1.0 - u) ** 2 / duration_s


def test_one_minimum_jerk_movement_has_the_published_length():
    # Balasubramanian et al. 2015, figure 3: about -1.4 for a minimum-jerk movement, whatever its duration.
    speeds = [minimum_jerk_speed(duration_s)[:, None] for duration_s in (0.8, 1.0, 2.0)]
    found = [spectral_arc_length(speed, PERIOD_S) for speed in speeds]
    assert found == pytest.approx([-1.41] * 3, abs=0.03)


def test_the_more_movements_the_less_smooth_and_size_does_not_matter():
    one = minimum_jerk_speed(1.0)[:, None]
    two, four = np.tile(one, (2, 1)), np.tile(one, (4, 1))
    lengths = [spectral_arc_length(speed, PERIOD_S) for speed in (one, two, four)]
    assert lengths[0] > lengths[1] > lengths[2]
    assert spectral_arc_length(7.0 * two, PERIOD_S) == pytest.approx(lengths[1])


def test_what_stands_has_none():
    assert math.isnan(spectral_arc_length(np.zeros((100, 3)), PERIOD_S))
    assert math.isnan(spectral_arc_length(np.zeros((0, 3)), PERIOD_S))


def test_the_jerk_of_a_cubic_is_its_third_derivative():
    t = np.arange(0.0, 1.0, PERIOD_S)
    positions = np.stack([2.0 * t**3, -0.5 * t**3], axis=1)
    assert peak_jerk(positions, PERIOD_S) == pytest.approx(12.0, rel=1e-6)
    assert peak_jerk(positions[:3], PERIOD_S) == 0.0
