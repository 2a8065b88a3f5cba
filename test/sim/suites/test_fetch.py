# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Fetch behind topics."""

from __future__ import annotations

import contextlib
import sys

import numpy as np
import pytest
from support import suites

from hpt_ros.evaluation.demonstration import ReplayRollout
from hpt_ros.extras import MissingExtraError
from hpt_ros.mujoco_engine import mujoco
from hpt_ros.sim.environment import make_environment
from hpt_ros.sim.messages import Message, stamped
from hpt_ros.sim.suites.fetch.environment import FetchEnvironment
from hpt_ros.sim.suites.hand import GRIPPER, HAND

pytest.importorskip("gymnasium_robotics", reason="the extra suites is not installed")


@pytest.fixture(scope="module")
def environment():
    made = FetchEnvironment(task="pick-place")
    yield made
    made.close()


@pytest.mark.parametrize("check", suites.CHECKS)
def test_an_environment_keeps(environment, check):
    check(environment)


@pytest.mark.parametrize("task", ["reach", "push", "pick-place"])
def test_its_expert_solves(task):
    with contextlib.closing(make_environment(f"fetch/{task}")) as made:
        suites.check_expert(made, 1000)


def test_commands_are_where_the_gripper_goes(environment):
    environment.reset(2)
    x, y, z = target = environment.grip_m + np.array([-0.05, 0.06, 0.04])
    pose = Message(position=Message(x=x, y=y, z=z))
    environment.command(HAND, stamped(environment.now_ns + environment._step_ns, "world", pose=pose))
    environment.command(GRIPPER, Message(data=[0.03]))
    environment.advance(environment.now_ns + 1_600_000_000)
    np.testing.assert_allclose(environment.grip_m, target, atol=0.005)
    assert environment._finger_m() == pytest.approx(0.03, abs=0.005)


def test_passing_the_goal_is_no_success_and_staying_is():
    made = FetchEnvironment(task="reach")
    try:
        made.reset(0)
        np.testing.assert_allclose(made.data.site("target0").xpos, made.goal_m, atol=1e-9)
        made._fetch.goal = made.grip_m
        made.advance(made.now_ns + 12 * made._step_ns)
        assert not made.outcome().success
        made.advance(made.now_ns + made._step_ns)
        assert made.outcome().success
    finally:
        made.close()


def test_without_the_package_one_sentence_names_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    with pytest.raises(
        MissingExtraError, match="the environment 'fetch/push' needs.*make setup EXTRAS=suites"
    ):
        FetchEnvironment(task="push")


def test_images_that_nobody_sees_are_not_drawn():
    made = FetchEnvironment(task="reach")
    made.select(["hand_pose", "joint_states"])
    made.reset(0)
    samples = made.advance(made.now_ns + 200_000_000)
    assert {item.topic for item in samples} == {"hand_pose", "joint_states"}
    assert made._cameras is None


def test_a_replayed_demonstration_reaches_its_goal_and_few_actions_come_late(environment):
    episode = ReplayRollout(environment).episode(1000)
    assert episode.success
    assert (episode.fault, episode.holds, episode.refused) == ("", 0, 0)
    # 70 ms until the chunk is there, so it is taken 80 ms after its tick, and 80 ms of commands are fixed already.
    late = episode.counters["late_actions_dropped"] / episode.counters["chunks"]
    assert 4.0 <= late < 4.5


def test_no_image_shows_what_is_commanded(environment):
    def images(offset_m: float) -> list[np.ndarray]:
        environment.reset(7)
        environment.data.mocap_pos[0] = environment.grip_m + offset_m
        mujoco.mj_kinematics(environment.model, environment.data)
        return [environment._image(stream).copy() for stream in environment.embodiment.image_streams]

    for here, elsewhere in zip(images(0.0), images(0.1), strict=True):
        np.testing.assert_array_equal(here, elsewhere)
