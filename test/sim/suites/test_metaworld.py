# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Meta-World behind topics is Meta-World: its expert through commands does what it does in the benchmark itself."""

from __future__ import annotations

import contextlib
import sys
import warnings

import numpy as np
import pytest
from support import suites

from hpt_ros.errors import HptError
from hpt_ros.evaluation.expert import ExpertRollout
from hpt_ros.extras import MissingExtraError
from hpt_ros.sim.environment import ENVIRONMENTS, make_environment
from hpt_ros.sim.messages import Message, stamped
from hpt_ros.sim.suites.hand import GRIPPER, HAND
from hpt_ros.sim.suites.metaworld.environment import MetaWorldEnvironment, make_sawyer
from hpt_ros.sim.suites.metaworld.tasks import HPT4, HPT20, INSTRUCTIONS

env_dict = pytest.importorskip("metaworld.env_dict", reason="the extra suites is not installed")


@pytest.fixture(scope="module")
def environment():
    made = make_environment("metaworld/push")
    yield made
    made.close()


@pytest.mark.parametrize("check", suites.CHECKS)
def test_an_environment_keeps(environment, check):
    check(environment)


@pytest.mark.parametrize("task", ["reach", "pick-place", "door-open"])
def test_its_expert_solves(task):
    with contextlib.closing(make_environment(f"metaworld/{task}")) as made:
        suites.check_expert(made, 1000)


def test_the_expert_through_commands_moves_everything_as_in_the_benchmark_itself(environment):
    from metaworld.policies import ENV_POLICY_MAP

    steps = 80
    environment.reset(7)
    expert, period_ns = environment.expert(), environment._step_ns
    robot = environment.embodiment
    rollout = ExpertRollout(environment)
    for _ in range(steps):
        action = expert.action(environment.now_ns + period_ns)
        x, y, z = action[:3]
        pose = Message(position=Message(x=x, y=y, z=z))
        environment.command(HAND, stamped(environment.now_ns + period_ns, "world", pose=pose))
        environment.command(GRIPPER, Message(data=[action[6]]))
        environment.advance(environment.now_ns + period_ns)
    assert rollout.robot is robot
    native, policy = make_sawyer("push", "a test"), ENV_POLICY_MAP["push-v3"]()
    native.seed(7)
    observation, _ = native.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(steps):
            action = np.clip(policy.get_action(observation), -1.0, 1.0)
            observation, *_ = native.step(action)
    np.testing.assert_allclose(environment.observation, observation, atol=1e-6)
    assert np.abs(observation[:3] - observation[4:7]).max() < 0.1  # at the puck


def test_a_command_is_reached_at_its_stamp(environment):
    environment.reset(1)
    start = environment.data.mocap_pos[0].copy()
    x, y, z = start + np.array([0.02, 0.0, 0.0])
    later_ns = environment.now_ns + 4 * environment._step_ns
    pose = Message(position=Message(x=x, y=y, z=z))
    environment.command(HAND, stamped(later_ns, "world", pose=pose))
    for part in (1, 2, 3, 4, 4):
        environment.advance(environment.now_ns + environment._step_ns)
        moved = environment.data.mocap_pos[0] - start
        np.testing.assert_allclose(moved, [0.005 * part, 0.0, 0.0], atol=1e-9)
    bad = Message(position=Message(x=float("nan"), y=y, z=z))
    with pytest.raises(HptError, match="finite numbers"):
        environment.command(HAND, stamped(later_ns, "world", pose=bad))


def test_tasks_are_those_of_the_package():
    assert {f"{task}-v3" for task in INSTRUCTIONS} == set(env_dict.ENV_CLS_MAP)
    assert {f"metaworld/{task}" for task in INSTRUCTIONS} <= set(ENVIRONMENTS)
    assert len(set(INSTRUCTIONS.values())) == len(INSTRUCTIONS) == 50
    assert set(HPT4) | set(HPT20) <= set(INSTRUCTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("task", INSTRUCTIONS)
def test_every_task_is_the_same_twice(task):
    made = make_environment(f"metaworld/{task}")
    try:
        suites.check_seeds(made)
        suites.check_hold(made)
    finally:
        made.close()


def test_without_the_package_one_sentence_names_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "metaworld.env_dict", None)
    with pytest.raises(
        MissingExtraError, match="the environment 'metaworld/push' needs.*make setup EXTRAS=suites"
    ):
        MetaWorldEnvironment(task="push")


def test_who_disturbs_it_is_refused():
    with pytest.raises(HptError, match=r"cannot be disturbed by 0\.01 rad"):
        make_environment("metaworld/push", disturbance_rad=0.01)
