# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Intervals and tests of successes, against published figures and by their own promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_ros.errors import HptError
from hpt_ros.evaluation.statistics import (
    anytime_e_value,
    compare_arms,
    draw_means,
    interval_of,
    mcnemar_p,
    success_interval,
)


def test_the_interval_is_wilsons():
    # Brown, Cai, DasGupta, "Interval estimation for a binomial proportion" (2001), formula (4), by hand for 10 of 10.
    z2 = 1.959963984540054**2
    found = success_interval(10, 10)
    assert found.estimate == 1.0
    assert found.lower == pytest.approx(10 / (10 + z2), abs=1e-12)
    assert found.upper == pytest.approx(1.0, abs=1e-12)


@given(st.integers(1, 300), st.data())
def test_the_interval_holds_its_estimate_and_narrows_with_episodes(episodes, data):
    successes = data.draw(st.integers(0, episodes))
    found, more = success_interval(successes, episodes), success_interval(4 * successes, 4 * episodes)
    assert 0.0 <= found.lower <= found.estimate + 1e-12
    assert found.estimate <= found.upper + 1e-12 <= 1.0 + 1e-9
    assert more.upper - more.lower < found.upper - found.lower


@pytest.mark.parametrize(("successes", "episodes"), [(0, 0), (-1, 3), (4, 3)])
def test_impossible_counts_are_refused(successes, episodes):
    with pytest.raises(HptError):
        success_interval(successes, episodes)


def test_mcnemar_is_the_exact_binomial_test():
    # 1 of 8 discordant pairs: 2 * (C(8, 0) + C(8, 1)) / 2^8.
    assert mcnemar_p(1, 7) == pytest.approx(2 * 9 / 256)
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(7, 1) == mcnemar_p(1, 7)


def test_the_evidence_is_one_without_pairs_and_a_martingale():
    assert anytime_e_value(0, 0) == pytest.approx(1.0)
    for a in range(12):
        for b in range(12):
            after = 0.5 * (anytime_e_value(a + 1, b) + anytime_e_value(a, b + 1))
            assert after == pytest.approx(anytime_e_value(a, b), rel=1e-9)


def test_looking_at_every_pair_claims_a_difference_seldom_where_there_is_none():
    rng = np.random.default_rng(0)
    claimed = 0
    for _ in range(2000):
        wins = np.cumsum(rng.random(200) < 0.5)
        pairs = np.arange(1, 201)
        claimed += any(anytime_e_value(int(a), int(n - a)) >= 20.0 for a, n in zip(wins, pairs, strict=True))
    assert claimed / 2000 <= 0.05


def test_evidence_is_finite_however_clear_it_is():
    assert math.isfinite(anytime_e_value(0, 100_000))


def test_a_difference_is_paired():
    # The second arm solves what the first one does, and 20 scenes more: nothing of the scenes' own spread is left.
    a = np.array([[1.0] * 40 + [0.0] * 60])
    b = np.array([[1.0] * 60 + [0.0] * 40])
    found = compare_arms(a, b)
    assert (found.both, found.only_a, found.only_b, found.neither) == (40, 0, 20, 40)
    assert found.difference.estimate == pytest.approx(0.2)
    assert 0.11 < found.difference.lower < 0.14
    assert 0.26 < found.difference.upper < 0.29
    assert found.p_value < 1e-5
    assert found.e_value > 20.0


def test_training_seeds_widen_the_interval():
    rng = np.random.default_rng(1)
    scenes = rng.random(200)
    one = (scenes < 0.5)[None].astype(float)
    apart = np.stack([scenes < 0.3, scenes < 0.5, scenes < 0.7]).astype(float)
    same = np.repeat(one, 3, axis=0)
    base = np.zeros_like(one)
    narrow, wide = compare_arms(base, same).difference, compare_arms(base, apart).difference
    assert wide.upper - wide.lower > 1.5 * (narrow.upper - narrow.lower)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_a_bootstrap_is_the_same_for_the_same_seed(seed):
    arm = (np.random.default_rng(3).random((2, 30)) < 0.4).astype(float)
    first, second = (interval_of(float(arm.mean()), draw_means([(arm,)], seed)[0]) for _ in range(2))
    assert first == second
    assert first.lower <= first.upper


def test_a_bootstrap_covers_the_truth_about_as_often_as_it_promises():
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(100):
        arm = (rng.random((1, 60)) < 0.6).astype(float)
        found = interval_of(float(arm.mean()), draw_means([(arm,)], trial)[0])
        covered += found.lower <= 0.6 <= found.upper
    assert 0.88 <= covered / 100 <= 0.99


def test_arms_of_other_scenes_are_refused():
    with pytest.raises(HptError):
        compare_arms(np.zeros((1, 3)), np.zeros((1, 4)))
