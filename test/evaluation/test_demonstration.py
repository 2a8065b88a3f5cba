# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Replay of a demonstration: actions as a dataset has them, chunks of them, and the arm by its names."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.refused import refused

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.evaluation.demonstration import DemonstratedActions, DemonstrationPolicy, ReplayRollout
from hpt_ros.evaluation.evaluate import Evaluator, Job
from hpt_ros.evaluation.expert import ExpertRollout, Target
from hpt_ros.evaluation.rollout import RolloutConfig, send
from hpt_ros.evaluation.runners import is_runner, make_runner
from hpt_ros.resources import config_file
from hpt_ros.runtime.policy_config import PolicyChoice
from hpt_ros.sim.tasks.feed_dog.environment import FeedDogEnvironment

SECOND = 1_000_000_000


def robot_of(name: str) -> Embodiment:
    return Embodiment.load(config_file(f"embodiments/{name}.yaml"))


@pytest.fixture(scope="module")
def environment():
    made = FeedDogEnvironment()
    yield made
    made.close()


@pytest.mark.parametrize("name", ["feed_dog", "so101", "aloha"])
def test_actions_at_ticks_are_those_of_the_commands(name):
    robot = robot_of(name)
    period_ns, actions = round(SECOND / robot.action.rate_hz), DemonstratedActions(robot)
    receiver: Any = SimpleNamespace(command=lambda topic, message: None)
    slope = np.arange(1, robot.action.dim + 1) * 0.01
    for now_ns in range(10 * SECOND, 12 * SECOND, period_ns):
        position: Any = slope * ((now_ns - 10 * SECOND) / SECOND)
        target = Target(now_ns, position, np.zeros_like(position), period_ns)
        assert send(target, receiver, robot, now_ns, actions) == 0
    rows = actions.rows(13 * SECOND)
    held = [robot.space.names.index(gripper) for gripper in robot.action.grippers]
    moving = np.setdiff1d(np.arange(robot.action.dim), held)
    wanted = np.arange(len(rows))[:, None] * slope / robot.tick_hz
    assert len(rows) in (20, 21)
    np.testing.assert_allclose(rows[:20, moving], wanted[:20, moving], atol=1e-9)


def test_no_command_is_no_demonstration():
    with refused(HptError, Code.EMPTY):
        DemonstratedActions(robot_of("so101")).rows(SECOND)


def test_chunks_begin_at_rest_follow_the_ticks_and_end_with_the_last_action():
    robot = robot_of("so101")
    actions = np.repeat(np.arange(30.0)[:, None], robot.action.dim, axis=1)
    policy = DemonstrationPolicy(robot, actions, rest_ns=SECOND // 2)
    for _ in range(2):
        for tick, first in ((0, 0), (5, 0), (6, 1), (25, 20), (40, 29)):
            seen: Any = SimpleNamespace(stamp_ns=7 * SECOND + tick * SECOND // 10)
            chunk = policy.predict(seen)
            assert chunk.shape == (robot.action.horizon, robot.action.dim)
            assert chunk[0, 0] == first
        np.testing.assert_array_equal(chunk, 29.0)
        policy.reset()


def test_a_replay_moves_as_its_demonstration_and_twice_the_same(environment):
    config = RolloutConfig(time_limit_s=3.0)
    replay = ReplayRollout(environment, config)
    first, other = replay.episode(3), replay.episode(4)
    again = ReplayRollout(environment, config).episode(3)
    assert (first.fault, first.holds, first.refused) == ("", 0, 0)
    shown = ExpertRollout(environment, config).episode(3)
    assert first.limits_used == pytest.approx(shown.limits_used, rel=0.2)
    assert first.peak_jerk == again.peak_jerk != other.peak_jerk


def test_a_demonstration_of_one_scene_is_replayed_in_others(environment):
    config = RolloutConfig(time_limit_s=2.0)
    job = Job("feed_dog", PolicyChoice(policy="hold"), "replay:3", config=config)
    evaluator = Evaluator(job)
    try:
        there = evaluator.episode(4, lambda runner, seed: runner.episode(seed))
    finally:
        evaluator.close()
    # The arm begins in the same pose in every scene, so the motion is that of scene 3.
    assert there.peak_jerk == pytest.approx(ReplayRollout(environment, config).episode(3).peak_jerk, rel=1e-6)


@pytest.mark.parametrize("text", ["expert", "replay", "replay:0", "replay:1000000"])
def test_names_of_runners(text):
    assert is_runner(text)


@pytest.mark.parametrize("text", ["hold", "feed_dog", "", "replays", "experts:3"])
def test_names_of_policies(text):
    assert not is_runner(text)


@pytest.mark.parametrize("text", ["expert:3", "replay:", "replay:x", "replay:-1", "replay:1.5", "replay:²"])
def test_a_scene_that_is_none_is_refused(text):
    with refused(HptError, Code.INVALID, value=text):
        is_runner(text)


def test_an_environment_without_an_expert_has_no_replay(environment):
    class Without:
        name, embodiment = "bare", environment.embodiment

    without: Any = Without()
    for text in ("expert", "replay"):
        with refused(HptError, Code.UNSUPPORTED):
            make_runner(text, without, RolloutConfig())
    with refused(HptError, Code.UNKNOWN, value="hold"):
        make_runner("hold", environment, RolloutConfig())
