# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.model.normaliser import LimitsNormaliser, Normaliser, Statistics

VALUES = st.floats(-100.0, 100.0, width=32)
SAMPLES = hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.just(3)), elements=VALUES)


@given(SAMPLES)
def test_when_data_is_normalised_expect_it_in_limits_and_back(samples):
    normaliser = LimitsNormaliser(3)
    normaliser.set_statistics(Statistics.of(samples), where="test")
    x = torch.as_tensor(samples)
    normalised = normaliser.normalise(x)
    # float32 carries about 7 digits of offset = scale * min, which is large where the range is small beside the value
    slack = 1e-6 * (1.0 + normaliser.offset.abs().max().item())
    assert normalised.min() >= -1.0 - slack
    assert normalised.max() <= 1.0 + slack
    tolerance = 1e-6 * (1.0 + ((normaliser.offset.abs() + 1.0) / normaliser.scale).max().item())
    torch.testing.assert_close(normaliser.unnormalise(normalised), x, rtol=0, atol=tolerance)


def test_when_a_range_spans_expect_min_and_max_on_the_limits():
    normaliser = LimitsNormaliser(2)
    normaliser.set_statistics(Statistics.of([[2.0, -4.0], [6.0, 4.0]]), where="test")
    assert normaliser.normalise(torch.tensor([2.0, -4.0])).tolist() == [-1.0, -1.0]
    assert normaliser.normalise(torch.tensor([6.0, 4.0])).tolist() == [1.0, 1.0]


def test_when_a_dimension_is_constant_expect_it_centred_with_scale_one():
    normaliser = LimitsNormaliser(1)
    normaliser.set_statistics(Statistics.of([[0.5], [0.50005]]), where="test")
    assert normaliser.scale.item() == 1.0
    assert normaliser.normalise(torch.tensor([0.5])).item() == 0.0
    assert normaliser.normalise(torch.tensor([0.7])).item() == pytest.approx(0.2)


def test_when_statistics_are_recomputed_expect_the_published_scale_and_offset(reference):
    case = reference("tiny_mlp")
    stored = torch.load(case.weights, weights_only=True)
    prefix = "normalizer.arm.params_dict.state."
    figures = [stored[f"{prefix}input_stats.{name}"].numpy() for name in ("min", "max", "mean", "std")]
    normaliser = LimitsNormaliser(7)
    normaliser.set_statistics(Statistics(*figures), where="test")
    torch.testing.assert_close(normaliser.scale, stored[f"{prefix}scale"], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(normaliser.offset, stored[f"{prefix}offset"], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("statistics", "message"),
    [
        (Statistics.of(np.zeros((2, 4))), r"statistics of 'state', min, shape is \(4,\), expected \(3,\)"),
        (Statistics.of(np.full((2, 3), np.nan)), r"min holds a value that is no finite number"),
        (
            Statistics(
                *(np.asarray(row, np.float32) for row in ([0, 2, 0], [1, 1, 1], [0, 0, 0], [0, 0, 0]))
            ),
            r"min 2 above max 1 in dimension 1",
        ),
    ],
)
def test_when_statistics_are_wrong_expect_a_sentence(statistics, message):
    with pytest.raises(HptError, match=message):
        Normaliser({"state": 3}).set_statistics({"state": statistics})


def test_when_a_feature_is_missing_expect_a_sentence():
    with refused(
        HptError,
        Code.INVALID,
        subject="statistics",
        problem="given for ['state']",
        expected="['action', 'state']",
    ):
        Normaliser({"state": 3, "action": 2}).set_statistics({"state": Statistics.of(np.zeros((1, 3)))})


def test_when_samples_are_empty_expect_a_sentence():
    with refused(
        HptError, Code.WRONG_SHAPE, subject="statistics", value=(0, 3), problem="shape (N, D), N > 0, but got"
    ):
        Statistics.of(np.zeros((0, 3)))


def test_when_a_mapping_lacks_a_figure_expect_its_name():
    with refused(HptError, Code.MISSING, subject="stats of 'action'", problem="lacks mean, std"):
        Statistics.from_mapping({"min": [0.0], "max": [1.0]}, where="stats of 'action'")
