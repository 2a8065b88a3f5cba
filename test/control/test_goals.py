# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""When goals are sent: the last target always arrives, seldom more, and never where the fingers just are."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_ros.control.goals import RETRY_S, GoalPacer

MS = 1_000_000
OPEN, CLOSED = np.array([0.0]), np.array([0.8])


@given(
    st.lists(st.floats(0.0, 0.8), min_size=1, max_size=60),
    st.sampled_from([1.0, 5.0, 50.0, math.inf]),
    st.floats(0.0, 0.1),
)
def test_targets_become_few_goals_and_the_last_one_is_told(
    targets: list[float], rate_hz: float, resolution: float
) -> None:
    pacer = GoalPacer(resolution, rate_hz)
    began, sent = np.array([0.4]), []
    for index in range(len(targets) + 120):  # the last one stays
        target = np.array([targets[min(index, len(targets) - 1)]])
        now_ns = 20 * MS * index
        if pacer.due(target, began, now_ns):
            sent.append((now_ns, target[0]))
    goals = [began[0], *(value for _, value in sent)]
    assert abs(goals[-1] - targets[-1]) <= resolution
    assert (np.abs(np.diff(goals)) > resolution).all()
    assert (np.diff([at for at, _ in sent]) >= 1e9 / rate_hz * (1 - 1e-9)).all()


def test_where_it_stood_when_motion_began_is_never_told() -> None:
    pacer = GoalPacer(0.001, 5.0)
    assert not any(pacer.due(CLOSED, CLOSED, step * MS) for step in range(2000))
    assert pacer.due(OPEN, CLOSED, 2000 * MS)


@pytest.mark.parametrize("again", [GoalPacer.begin, GoalPacer.note_loss])
def test_after_a_pause_and_when_its_driver_is_back_the_last_target_is_told_once_more(
    again: Callable[[GoalPacer], None],
) -> None:
    pacer = GoalPacer(0.001, 5.0)
    again(pacer)  # it was commanded nothing
    assert not pacer.due(OPEN, OPEN, 0)
    assert pacer.due(CLOSED, OPEN, MS)
    again(pacer)
    assert [step for step in range(300) if pacer.due(CLOSED, OPEN, 10**9 + step * MS)] == [0]


def test_a_rejected_goal_is_told_again_after_a_while_and_a_moved_target_not_sooner() -> None:
    pacer = GoalPacer(0.001, 5.0)
    assert pacer.due(CLOSED, OPEN, 0)
    pacer.note_rejected()
    retry_ms = round(RETRY_S * 1000)
    assert [step for step in range(1500) if pacer.due(CLOSED, OPEN, step * MS)] == [retry_ms]


def test_when_the_clock_goes_back_expect_goals_to_go_on() -> None:
    pacer = GoalPacer(0.001, 5.0)
    assert pacer.due(CLOSED, OPEN, 10**12)
    assert pacer.due(OPEN, OPEN, 10**9)
