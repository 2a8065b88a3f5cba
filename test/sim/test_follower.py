"""The arm's controller: interpolation, refusals, counters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_ros.errors import HptError
from hpt_ros.sim.follower import Point, TrajectoryFollower
from hpt_ros.sim.panda import JOINT_NAMES, LOWER_RAD, UPPER_RAD
from hpt_ros.sim.task import START_RAD


@pytest.fixture
def follower() -> TrajectoryFollower:
    return TrajectoryFollower(START_RAD)


def test_before_any_command_it_holds(follower):
    np.testing.assert_array_equal(follower.target(123.0), START_RAD)


def test_it_goes_straight_to_the_point_and_holds_it(follower):
    goal = START_RAD + 0.1
    follower.command(10.0, JOINT_NAMES, [Point(10.2, goal)])
    np.testing.assert_allclose(follower.target(10.0), START_RAD)
    np.testing.assert_allclose(follower.target(10.05), START_RAD + 0.025)
    np.testing.assert_allclose(follower.target(10.2), goal)
    np.testing.assert_allclose(follower.target(99.0), goal)


def test_a_new_command_starts_from_the_present_target(follower):
    follower.command(10.0, JOINT_NAMES, [Point(10.2, START_RAD + 0.1)])
    follower.command(10.1, JOINT_NAMES, [Point(10.3, START_RAD)])
    np.testing.assert_allclose(follower.target(10.1), START_RAD + 0.05)
    np.testing.assert_allclose(follower.target(10.2), START_RAD + 0.025)


def test_it_passes_through_several_points_at_their_times(follower):
    points = [Point(10.1, START_RAD + 0.1), Point(10.3, START_RAD - 0.1)]
    follower.command(10.0, JOINT_NAMES, points)
    np.testing.assert_allclose(follower.target(10.1), START_RAD + 0.1)
    np.testing.assert_allclose(follower.target(10.2), START_RAD, atol=1e-12)
    np.testing.assert_allclose(follower.target(10.3), START_RAD - 0.1)


@given(st.permutations(range(7)))
def test_the_order_of_the_names_does_not_matter(order):
    follower = TrajectoryFollower(START_RAD)
    goal = START_RAD + np.arange(7) * 0.01
    follower.command(
        0.0, [JOINT_NAMES[index] for index in order], [Point(1.0, [goal[index] for index in order])]
    )
    np.testing.assert_allclose(follower.target(1.0), goal)


def test_when_the_point_is_already_due_expect_it_taken_at_once_and_counted(follower):
    follower.command(10.0, JOINT_NAMES, [Point(9.9, START_RAD + 0.1)])
    np.testing.assert_allclose(follower.target(10.0), START_RAD + 0.1)
    assert follower.counters.late == 1


def test_when_a_point_is_outside_the_limits_expect_it_cut_and_counted(follower):
    follower.command(0.0, JOINT_NAMES, [Point(100.0, np.full(7, 9.0))])
    np.testing.assert_array_equal(follower.target(100.0), UPPER_RAD)
    follower.command(200.0, JOINT_NAMES, [Point(300.0, np.full(7, -9.0))])
    np.testing.assert_array_equal(follower.target(300.0), LOWER_RAD)
    assert follower.counters.position_limit == 2


def test_when_a_command_is_too_fast_expect_it_counted(follower):
    follower.command(0.0, JOINT_NAMES, [Point(0.1, START_RAD + 0.2)])
    assert follower.counters.velocity_limit == 0
    follower.command(1.0, JOINT_NAMES, [Point(1.1, START_RAD - 0.2)])
    assert follower.counters.velocity_limit == 1
    assert follower.counters.accepted == 2


def test_when_a_command_keeps_the_limits_expect_nothing_counted(follower):
    follower.command(0.0, JOINT_NAMES, [Point(1.0, START_RAD + 0.2)])
    counters = follower.counters
    assert (counters.late, counters.refused, counters.position_limit, counters.velocity_limit) == (0, 0, 0, 0)


GOOD = [Point(1.0, START_RAD + 0.1)]


@pytest.mark.parametrize(
    ("names", "points", "match"),
    [
        (
            ("panda_jont1", *JOINT_NAMES[1:]),
            GOOD,
            "names the joint 'panda_jont1', .* did you mean 'panda_joint1'",
        ),
        (JOINT_NAMES[:6], GOOD, "names 6 joints"),
        ((*JOINT_NAMES[:6], JOINT_NAMES[0]), GOOD, "each of the arm's 7 joints was expected once"),
        ((), GOOD, "names 0 joints"),
        (JOINT_NAMES, [], "has no points"),
        (JOINT_NAMES, [Point(1.0, START_RAD[:6])], "point 0 .* has 6 positions for 7 joints"),
        (JOINT_NAMES, [Point(1.0, [*START_RAD[:6], float("nan")])], "wants panda_joint7 at nan"),
        (JOINT_NAMES, [Point(1.0, [float("inf"), *START_RAD[1:]])], "wants panda_joint1 at inf"),
        (JOINT_NAMES, [Point(1.0, START_RAD), Point(1.0, START_RAD)], "do not increase"),
    ],
)
def test_when_a_command_is_malformed_expect_it_refused_and_the_old_one_kept(follower, names, points, match):
    follower.command(0.0, JOINT_NAMES, [Point(0.5, START_RAD + 0.05)])
    with pytest.raises(HptError, match=match):
        follower.command(0.1, names, points)
    np.testing.assert_allclose(follower.target(9.0), START_RAD + 0.05)
    assert follower.counters.refused == 1
    assert follower.counters.accepted == 1
