# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Angles as numbers: the short way round, and turns counted on."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpt_ros.angles import TURN, shortest, unwrap

angles = st.floats(-1000.0, 1000.0)


@given(arrays(np.float64, 5, elements=angles))
def test_when_an_angle_is_shortened_expect_the_same_direction_within_half_a_turn(values) -> None:
    short = shortest(values)
    assert (np.abs(short) <= np.pi + 1e-9).all()
    np.testing.assert_allclose(np.exp(1j * short), np.exp(1j * values), atol=1e-9)
    np.testing.assert_array_equal(shortest(short[np.abs(short) < 3.0]), short[np.abs(short) < 3.0])


@given(
    arrays(np.float64, (3, 8, 2), elements=st.floats(-3.0, 3.0)),
    arrays(np.float64, (3, 2), elements=angles),
    arrays(np.int64, (3, 8, 2), elements=st.integers(-5, 5)),
)
def test_when_turns_are_lost_expect_them_counted_on(steps, start, turns) -> None:
    path = start[:, None] + np.cumsum(steps, axis=1)
    np.testing.assert_allclose(unwrap(path + TURN * turns, start), path, atol=1e-9)
    np.testing.assert_array_equal(unwrap(path, start), path)
