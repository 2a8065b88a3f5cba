# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The simulated arm's controller: it runs the shipped controllers file, counts messages, refuses them in sentences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.sim.follower import TrajectoryFollower
from hpt_ros.sim.panda import JOINT_NAMES, LOWER_RAD, UPPER_RAD
from hpt_ros.sim.tasks.feed_dog.task import START_RAD
from hpt_ros.sim.trajectory import JointState, JointTrajectory, TrajectoryPoint

S = 1_000_000_000
CYCLE_NS = 2_500_000


def message(*points, stamp_s: float = 0.0, names=JOINT_NAMES) -> JointTrajectory:
    """Points are (seconds, positions) or (seconds, positions, velocities)."""
    return JointTrajectory(
        round(stamp_s * S),
        tuple(names),
        tuple(TrajectoryPoint(round(at * S), JointState(*map(np.asarray, state))) for at, *state in points),
    )


class Robot:
    """Follows its target at once; time moves when told."""

    def __init__(self) -> None:
        self.follower = TrajectoryFollower(START_RAD, 1.0 / 0.0025)
        self.now_ns, self.pose = 10 * S, START_RAD.copy()
        self.told: list[np.ndarray] = []

    def until(self, seconds: float) -> np.ndarray:
        while self.now_ns < round(seconds * S):
            self.now_ns += CYCLE_NS
            self.pose = self.follower.target(self.now_ns, self.pose, np.zeros(7))
            self.told.append(self.pose)
        return self.pose

    def take(self, *points, stamp_s: float | None = None, names=JOINT_NAMES) -> None:
        self.follower.command(
            self.now_ns,
            message(*points, stamp_s=self.now_ns / S if stamp_s is None else stamp_s, names=names),
        )


@pytest.fixture
def robot() -> Robot:
    return Robot()


def test_before_any_command_it_holds(robot):
    np.testing.assert_array_equal(robot.until(11.0), START_RAD)


def test_it_goes_to_the_point_and_holds_it(robot):
    goal = START_RAD + 0.1
    robot.take((0.2, goal))
    np.testing.assert_allclose(robot.until(10.1), START_RAD + 0.05, atol=0.002)
    np.testing.assert_allclose(robot.until(10.2), goal)
    np.testing.assert_allclose(robot.until(10.3), goal)


def test_it_passes_through_several_points_with_their_velocities(robot):
    rest, fast = np.zeros(7), np.full(7, 0.5)
    robot.take((0.2, START_RAD + 0.05, fast), (0.4, START_RAD + 0.15, fast), (0.6, START_RAD + 0.2, rest))
    for at, away in ((10.2, 0.05), (10.4, 0.15), (10.6, 0.2), (10.7, 0.2)):
        np.testing.assert_allclose(robot.until(at), START_RAD + away, atol=0.002)
    acceleration = np.diff(np.array(robot.told[1:]), n=2, axis=0) / 0.0025**2
    assert np.abs(acceleration).max() < 10.0  # a curve, no corners


def test_messages_that_repeat_what_was_sent_are_followed_without_a_step(robot):
    speed = 0.5
    for number in range(50):
        robot.until(10.0 + 0.02 * number)
        points = [
            (0.02 * index, START_RAD + speed * 0.02 * (number - 2 + index), np.full(7, speed * (index < 5)))
            for index in range(6)
        ]
        robot.take(*points, stamp_s=10.0 + 0.02 * (number - 2))
    acceleration = np.diff(np.array(robot.told[20:]), n=2, axis=0) / 0.0025**2
    assert np.abs(acceleration).max() < 1e-6
    assert robot.follower.counters.accepted == 50
    assert robot.follower.counters.velocity_limit == 0


@given(st.permutations(range(7)))
def test_the_order_of_the_names_does_not_matter(order):
    robot = Robot()
    goal = START_RAD + np.arange(7) * 0.01
    robot.take((0.1, goal[list(order)]), names=[JOINT_NAMES[index] for index in order])
    np.testing.assert_allclose(robot.until(10.15), goal)


def test_when_all_points_are_past_expect_a_refusal_and_the_old_command_kept(robot):
    robot.take((0.1, START_RAD + 0.05))
    robot.until(10.2)
    with refused(
        HptError, Code.INVALID, subject="the arm's controller", problem="refused a joint trajectory"
    ):
        robot.take((0.1, START_RAD - 0.3), stamp_s=10.0)
    np.testing.assert_allclose(robot.until(10.25), START_RAD + 0.05)
    assert (robot.follower.counters.late, robot.follower.counters.refused) == (1, 0)


def test_when_a_point_is_outside_the_limits_expect_it_cut_and_counted(robot):
    for goal, limit in ((9.0, UPPER_RAD), (-9.0, LOWER_RAD)):
        robot.take((100.0, np.full(7, goal)))
        reached = robot.until(robot.now_ns / S + 100.0)
        np.testing.assert_allclose(reached, limit)
    assert robot.follower.counters.position_limit == 2


def test_when_a_command_is_too_fast_expect_it_counted(robot):
    robot.take((0.1, START_RAD + 0.2))
    assert robot.follower.counters.velocity_limit == 0
    robot.until(11.0)
    robot.take((0.1, START_RAD - 0.2))
    assert robot.follower.counters.velocity_limit == 1
    assert robot.follower.counters.accepted == 2


def test_when_the_arm_is_held_back_expect_the_controller_to_give_up_and_a_reason(robot):
    robot.take((1.0, START_RAD + 0.9))
    for cycle in range(400):
        robot.follower.target(10 * S + cycle * CYCLE_NS, START_RAD, np.zeros(7))
    assert robot.follower.pop_reason() == "path tolerance"
    assert robot.follower.pop_reason() == ""
    assert robot.follower.counters.given_up == 1


GOOD = (1.0, START_RAD + 0.1)


@pytest.mark.parametrize(
    ("names", "points", "match"),
    [
        (
            ("panda_jont1", *JOINT_NAMES[1:]),
            [GOOD],
            "names the joint 'panda_jont1', .* did you mean 'panda_joint1'",
        ),
        (JOINT_NAMES[:6], [GOOD], "names 6 joints"),
        ((*JOINT_NAMES[:6], JOINT_NAMES[0]), [GOOD], "each of the arm's 7 joints once"),
        ((), [GOOD], "names 0 joints"),
        (JOINT_NAMES, [], "has no points"),
        (JOINT_NAMES, [(1.0, START_RAD[:6])], "point 0 .* has 6 positions for 7 joints"),
        (JOINT_NAMES, [(1.0, START_RAD, START_RAD[:6])], "point 0 .* has 6 velocities for 7 joints"),
        (JOINT_NAMES, [(1.0, [*START_RAD[:6], float("nan")])], "wants panda_joint7 at nan"),
        (JOINT_NAMES, [(1.0, [float("inf"), *START_RAD[1:]])], "wants panda_joint1 at inf"),
        (JOINT_NAMES, [(1.0, START_RAD, [float("nan")] * 7)], r"wants panda_joint1 at nan \(velocities\)"),
        (JOINT_NAMES, [(1.0, START_RAD), (1.0, START_RAD)], "do not increase"),
    ],
)
def test_when_a_command_is_malformed_expect_it_refused_and_the_old_one_kept(robot, names, points, match):
    robot.take((0.1, START_RAD + 0.05))
    with pytest.raises(HptError, match=match):
        robot.take(*points, names=names)
    np.testing.assert_allclose(robot.until(10.2), START_RAD + 0.05)
    assert robot.follower.counters.refused == 1
    assert robot.follower.counters.accepted == 1
