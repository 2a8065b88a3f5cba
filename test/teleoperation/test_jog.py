# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Wishes to commands of any robot, within its limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_ros.embodiment import Embodiment
from hpt_ros.sim.tasks.feed_dog.task import START_RAD
from hpt_ros.sim.tasks.feed_dog.teleoperator import SCOOP
from hpt_ros.teleoperation.devices import Wish
from hpt_ros.teleoperation.jog import SPEEDS, Jog, joint_rates

START_NS = 10**9


def jacobian(joints):
    return SCOOP.pose_and_jacobian(joints)[1]


def feed_dog() -> Jog:
    jog = Jog(Embodiment.load("feed_dog"), jacobian)
    jog.begin(START_NS, START_RAD)
    return jog


def wishes(count: int = 12):
    unit = st.floats(-1.0, 1.0)
    wish = st.builds(
        Wish, st.tuples(*[unit] * 6), st.sampled_from([0.0, 0.0, -1.0, 1.0]), st.sampled_from([0, 0, 1, -1])
    )
    return st.lists(st.tuples(wish, st.integers(1, 40), st.integers(0, len(SPEEDS) - 1)), max_size=count)


def drive(jog: Jog, wanted, now_ns: int = START_NS) -> tuple[np.ndarray, int]:
    positions = []
    for wish, periods, speed in wanted:
        jog.choice.speed = speed
        for _ in range(periods):
            now_ns += jog.period_ns
            positions.append(jog.step(now_ns, wish).position)
    return np.array(positions), now_ns


@settings(max_examples=25)
@given(wishes())
def test_whatever_a_person_wishes_the_arm_stays_within_its_limits_and_comes_to_rest(wanted) -> None:
    jog = feed_dog()
    limits, dt_s = jog.robot.space.limits, jog.period_ns / 1e9
    path, now_ns = drive(jog, [*wanted, (Wish(), 80, 0)])
    assert (path >= limits.lower - 1e-9).all()
    assert (path <= limits.upper + 1e-9).all()
    velocity = np.diff(path, axis=0) / dt_s
    assert (np.abs(velocity) <= limits.velocity * 1.001).all()
    assert (np.abs(np.diff(velocity, axis=0)) / dt_s <= limits.acceleration * 1.001).all()
    assert np.ptp(path[-5:], axis=0).max() == 0.0
    command = jog.step(now_ns + jog.period_ns, Wish(tuple([1.0] * 6)))
    ahead = command.curve.at(command.curve.end_ns)
    np.testing.assert_allclose(ahead.velocity, 0.0, atol=1e-9)  # nobody is needed for it to stop


@pytest.mark.parametrize(("axis", "direction"), [(0, 1.0), (1, -1.0), (2, 1.0)])
def test_the_tool_goes_where_it_is_told_and_nowhere_else(axis: int, direction: float) -> None:
    jog = feed_dog()
    twist = np.zeros(6)
    twist[axis] = direction
    path, _ = drive(jog, [(Wish(tuple(twist)), 25, 1), (Wish(), 25, 1)])
    first, last = SCOOP.pose(START_RAD), SCOOP.pose(path[-1])
    moved = last[:3, 3] - first[:3, 3]
    assert moved[axis] * direction > 0.02
    assert np.abs(np.delete(moved, axis)).max() < 0.1 * abs(moved[axis])
    np.testing.assert_allclose(last[:3, :3], first[:3, :3], atol=0.02)


def test_a_chosen_joint_moves_alone_and_slower_with_less_speed() -> None:
    reached = []
    for speed in (0, 2):
        jog = feed_dog()
        jog.choice.joint = 3
        path, _ = drive(jog, [(Wish(joint=1.0), 20, speed)])
        moved = path[-1] - START_RAD
        assert np.abs(np.delete(moved, 3)).max() == 0.0
        reached.append(moved[3])
    assert 0.0 < 2.0 * reached[0] < reached[1]


@given(
    st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6),
    st.lists(st.floats(-2.5, 2.5), min_size=7, max_size=7),
)
def test_joint_rates_keep_the_limits_in_every_pose(twist, joints) -> None:
    limits = np.full(7, 0.5)
    rates = joint_rates(jacobian(np.array(joints)), np.array(twist), limits)
    assert np.isfinite(rates).all()
    assert (np.abs(rates) <= limits * (1 + 1e-12)).all()


def test_a_base_drives_and_stops() -> None:
    robot = Embodiment.load("diff_drive")
    jog = Jog(robot)
    jog.begin(START_NS, np.zeros(len(robot.space.names)))
    path, _ = drive(jog, [(Wish((1.0, 1.0, 0.0, 0.0, 0.0, -1.0)), 100, 3), (Wish(), 100, 3)])
    lower, upper = robot.space.limits.lower, robot.space.limits.upper
    assert jog.moves_tool
    np.testing.assert_allclose(path.max(axis=0), [upper[0], 0.0])
    np.testing.assert_allclose(path.min(axis=0), [0.0, lower[1]])
    assert not path[-1].any()


def test_a_pose_is_shifted_and_turned() -> None:
    robot = Embodiment.load("ur5e_servo")
    jog = Jog(robot)
    (turn,) = robot.space.turns
    place = turn - 3
    start = (robot.space.limits.lower + robot.space.limits.upper) / 2.0
    start[turn : turn + 4] = 0.0, 0.0, 0.0, 1.0
    jog.begin(START_NS, start)
    path, _ = drive(jog, [(Wish((0.0, 1.0, 0.0, 0.0, 0.0, 1.0)), 30, 1), (Wish(), 50, 1)])
    assert path[-1][place + 1] > start[place + 1] + 0.01
    assert path[-1][turn + 2] > 0.01  # about z
    np.testing.assert_allclose(np.linalg.norm(path[:, turn : turn + 4], axis=1), 1.0)
    np.testing.assert_allclose(path[-1][turn : turn + 2], 0.0, atol=1e-12)
    moved = np.delete(path[-1] - start, [place + 1, *range(turn, turn + 4)])
    np.testing.assert_allclose(moved, 0.0, atol=1e-12)


def gripper_robot() -> Embodiment:
    text = Embodiment.load("feed_dog").to_yaml()
    return Embodiment.loads(text.replace("action:\n", "action:\n  grippers: [panda_joint7]\n", 1))


def test_a_gripper_goes_to_its_end_after_one_press_and_is_no_joint_of_the_arm() -> None:
    robot = gripper_robot()
    jog = Jog(robot)
    jog.begin(START_NS, START_RAD)
    assert not jog.moves_tool  # no Jacobian is known
    assert len(jog.joint_names()) == 6
    lower, upper = robot.space.limits.lower[6], robot.space.limits.upper[6]
    for gripper, end in ((1, upper), (-1, lower)):
        path, _ = drive(jog, [(Wish(gripper=gripper), 3, 0), (Wish(), 200, 0)], START_NS + gripper * 0)
        jog.begin(START_NS, path[-1])
        assert path[-1][6] == pytest.approx(end)
        np.testing.assert_allclose(path[-1][:6], START_RAD[:6])
