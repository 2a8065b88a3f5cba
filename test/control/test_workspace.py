# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The workspace: no command, and no way to rest from one, leaves it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.refused import assert_refusal

from hpt_ros.control import Kinematics, Limits, SafetyFilter, WorkspaceConfig
from hpt_ros.control.refusals import Why
from hpt_ros.control.workspace import make_fence
from hpt_ros.errors import HptError

DT_S = 0.01
LIMITS = Limits(np.full(2, -3.0), np.full(2, 3.0), np.full(2, 2.0), np.full(2, 10.0))
CONFIG = WorkspaceConfig(links=("hand",), lower_m=(-2.0, -2.0, -1.0), upper_m=(0.7, 2.0, 1.0))


def arm(position):
    """A planar arm of two links of 0.5 m, in x and z; both links' ends."""
    elbow = 0.5 * np.array([np.cos(position[0]), 0.0, np.sin(position[0])])
    angle = position[0] + position[1]
    return np.stack([elbow, elbow + 0.5 * np.array([np.cos(angle), 0.0, np.sin(angle)])])


ARM = Kinematics(("elbow", "hand"), arm)
INSIDE = np.array([1.5, 1.0])


def fenced(config=CONFIG, start=INSIDE):
    filter_ = SafetyFilter(LIMITS, DT_S)
    filter_.reset(start)
    return make_fence(config, ARM, filter_), filter_


targets = st.lists(hnp.arrays(np.float64, 2, elements=st.floats(-3, 3)), min_size=1, max_size=6)


@settings(max_examples=60)
@given(targets)
def test_no_sequence_of_targets_takes_the_hand_out_of_the_box_or_a_link_below_the_floor(path):
    config = dataclasses.replace(CONFIG, floor_m=-0.2)
    fence, filter_ = fenced(config)
    for target in path:
        for _ in range(40):
            output = fence.apply(target, np.zeros(2))
            assert output is not None
            elbow, hand = arm(output.position)
            assert hand[0] <= 0.7 + 1e-6
            assert min(elbow[2], hand[2]) >= -0.2 - 1e-6
    while not filter_.at_rest:  # whenever it is braked, e.g. by an operator
        assert arm(filter_.brake().position)[1][0] <= 0.7 + 1e-6


def test_when_the_way_leads_out_expect_rest_before_the_edge_and_the_link_named():
    fence, filter_ = fenced()
    outward = np.zeros(2)  # stretched along x: the hand at 1 m
    reached = [arm(fence.apply(outward, np.zeros(2)).position)[1][0] for _ in range(400)]
    assert filter_.at_rest
    assert 0.6 < reached[-1] <= 0.7 + 1e-6
    assert_refusal(fence.blocked, Why.WORKSPACE, subject="hand", problem="would leave the workspace by 0.0")


def test_when_targets_stay_inside_expect_the_same_as_without_a_fence():
    fence, _ = fenced()
    plain = SafetyFilter(LIMITS, DT_S)
    plain.reset(INSIDE)
    for step in range(100):
        target = INSIDE + 0.2 * np.sin(0.05 * step)
        ours, theirs = fence.apply(target, np.zeros(2)), plain.apply(target, np.zeros(2))
        assert (ours.position == theirs.position).all()
        assert not fence.blocked


def test_when_the_robot_is_outside_expect_it_may_come_back_but_not_go_further():
    fence, filter_ = fenced(start=np.array([0.1, 0.0]))
    begin = arm(filter_.position)[1][0]
    for _ in range(50):
        fence.apply(np.zeros(2), np.zeros(2))
    assert arm(filter_.position)[1][0] <= begin + 1e-6
    for _ in range(300):
        fence.apply(INSIDE, np.zeros(2))
    assert arm(filter_.position)[1][0] < 0.7


@pytest.mark.parametrize(
    ("config", "kinematics", "words"),
    [
        (
            dataclasses.replace(CONFIG, links=("hnad",)),
            ARM,
            r"workspace.links has 'hnad'.*elbow, hand.*'hand'",
        ),
        (dataclasses.replace(CONFIG, lower_m=(0.0, 0.0)), ARM, r"corners \[0.0, 0.0\].*three numbers each"),
        (dataclasses.replace(CONFIG, lower_m=(1.0, 0.0, 0.0)), ARM, "the first below the second"),
        (CONFIG, None, "set the parameter robot_description"),
        (WorkspaceConfig(floor_m=0.0), None, "set the parameter robot_description"),
    ],
)
def test_when_the_workspace_is_wrong_expect_a_sentence(config, kinematics, words):
    with pytest.raises(HptError, match=words):
        make_fence(config, kinematics, SafetyFilter(LIMITS, DT_S))
