# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_ros.embodiment.windows import action_window, observation_window


def test_when_the_past_is_short_expect_the_first_tick_repeated() -> None:
    assert observation_window(1, 4).tolist() == [0, 0, 0, 1]
    assert observation_window(12, 3, first=11).tolist() == [11, 11, 12]
    assert observation_window(20, 3, first=11).tolist() == [18, 19, 20]


def test_when_the_future_is_short_expect_the_last_tick_repeated_and_marked() -> None:
    ticks, is_pad = action_window(8, 4, last=9)
    assert ticks.tolist() == [8, 9, 9, 9]
    assert is_pad.tolist() == [False, False, True, True]


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(1, 20))
def test_windows_stay_inside_the_episode_and_name_the_present(
    first: int, past: int, future: int, horizon: int
) -> None:
    tick, last = first + past, first + past + future
    seen = observation_window(tick, horizon, first)
    assert seen[-1] == tick
    assert seen.min() >= first
    assert set(np.diff(seen)) <= {0, 1}
    acted, is_pad = action_window(tick, horizon, last)
    assert acted[0] == tick
    assert acted.max() <= last
    assert is_pad.tolist() == [tick + step > last for step in range(horizon)]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5), st.integers(1, 6))
def test_when_given_arrays_expect_the_rows_of_single_calls(
    pairs: list[tuple[int, int]], horizon: int
) -> None:
    first = np.array([pair[0] for pair in pairs])
    tick = first + [pair[1] for pair in pairs]
    rows = [observation_window(int(t), horizon, int(f)) for t, f in zip(tick, first, strict=True)]
    assert np.array_equal(observation_window(tick, horizon, first), rows)


@pytest.mark.parametrize(("tick", "horizon", "first"), [(3, 0, 0), (3, 2, 4)])
def test_when_a_window_makes_no_sense_expect_an_error(tick: int, horizon: int, first: int) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        observation_window(tick, horizon, first)


def test_when_a_chunk_begins_after_the_end_expect_an_error() -> None:
    with pytest.raises(ValueError, match="at most 4"):
        action_window(5, 2, last=4)
