# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is quicker than NumPy for a few numbers gives what NumPy does."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpt_ros.vectors import all_finite, clip

numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(arrays(np.float64, 7, elements=numbers))
def test_a_vector_is_finite_if_each_of_its_numbers_is(values: np.ndarray) -> None:
    assert all_finite(values) == np.isfinite(values).all()


def test_a_sum_that_overflows_is_of_finite_numbers() -> None:
    assert all_finite(np.full(7, 1e308))


@given(arrays(np.float64, (3, 7), elements=numbers), arrays(np.float64, 7, elements=st.floats(-9, 9)))
def test_numbers_are_clipped_as_by_numpy(values: np.ndarray, lower: np.ndarray) -> None:
    np.testing.assert_array_equal(clip(values, lower, lower + 1.0), np.clip(values, lower, lower + 1.0))
