# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Episodes in lock step: success, the same twice, and what a robot would be refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.planned_policy import load_planned

from hpt_ros.control import ControlConfig
from hpt_ros.control.config import SafetyConfig
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import HptError
from hpt_ros.evaluation.evaluate import Evaluator, Job, evaluate
from hpt_ros.evaluation.rollout import EpisodeResult, Rollout, RolloutConfig, require_fit
from hpt_ros.observation import SETTLE_S
from hpt_ros.policies.factory import load_baseline
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.resources import config_file
from hpt_ros.runtime.policy_config import PolicyChoice
from hpt_ros.sim.tasks.feed_dog.environment import FeedDogEnvironment
from hpt_ros.sim.transport import Transport

SHORT = RolloutConfig(time_limit_s=2.0)


@pytest.fixture(scope="module")
def environment():
    made = FeedDogEnvironment()
    yield made
    made.close()


def facts(episode: EpisodeResult) -> EpisodeResult:
    """All of it that time on the wall does not change."""
    return dataclasses.replace(episode, inference_s=0.0)


def test_a_plan_feeds_the_dog_within_the_limits(environment):
    episode = Rollout(load_planned(environment), environment).episode(3)
    assert episode.success
    assert episode.progress == 1.0
    assert (episode.fault, episode.holds, episode.refused) == ("", 0, 0)
    assert 0.2 < episode.limits_used < 1.0
    assert -6.0 < episode.arc_length < -1.3


def test_doing_nothing_feeds_no_dog_and_moves_nothing(environment):
    episode = Rollout(load_baseline("hold", environment.embodiment), environment, SHORT).episode(3)
    assert not episode.success
    assert episode.duration_s == 2.0
    assert episode.limits_used < 0.01
    assert np.isnan(episode.arc_length)
    assert episode.counters["commands_sent"] > 50


def test_an_episode_is_the_same_whatever_came_before(environment):
    rollout = Rollout(load_planned(environment), environment, SHORT)
    first = rollout.episode(7)
    rollout.episode(8)
    again = rollout.episode(7)
    other = FeedDogEnvironment()
    try:
        elsewhere = Rollout(load_planned(other), other, SHORT).episode(7)
    finally:
        other.close()
    assert facts(first) == facts(again) == facts(elsewhere)
    assert first.peak_jerk > 0.0


def test_processes_give_what_one_process_gives():
    job = Job("feed_dog", PolicyChoice(policy="random"), config=RolloutConfig(time_limit_s=1.0))
    seeds = (1, 2, 3)
    alone = {episode.seed: facts(episode) for episode in evaluate(job, seeds, 1)}
    beside = {episode.seed: facts(episode) for episode in evaluate(job, seeds, 2)}
    assert set(alone) == set(seeds)
    assert alone == beside
    assert len({episode.peak_jerk for episode in alone.values()}) == 3


def test_a_slow_inference_costs_time_and_a_hung_one_moves_nothing(environment):
    def run(inference_s: float) -> EpisodeResult:
        config = RolloutConfig(inference_s=inference_s, time_limit_s=4.0)
        return Rollout(load_planned(environment), environment, config).episode(0)

    quick, slow, hung = run(0.02), run(0.3), run(10.0)
    assert quick.counters["late_actions_dropped"] < slow.counters["late_actions_dropped"]
    assert quick.fault == slow.fault == ""
    assert hung.limits_used == 0.0
    assert (quick.silent, hung.silent) == (False, True)
    assert "; nothing was commanded: waiting for the policy's first chunk" in hung.detail


def test_lost_images_stop_the_arm_and_a_late_one_does_not():
    def run(transport: Transport) -> EpisodeResult:
        made = FeedDogEnvironment(images=transport)
        try:
            return Rollout(load_planned(made), made, RolloutConfig(time_limit_s=4.0)).episode(0)
        finally:
            made.close()

    late, dead = run(Transport(delay_s=0.05, jitter_s=0.005, lost=0.05)), run(Transport(lost=1.0))
    assert late.fault == ""
    assert late.limits_used > 0.1
    assert dead.limits_used == 0.0


def test_limits_are_the_controllers(environment):
    gentle = ControlConfig(safety=SafetyConfig(velocity_scale=0.1))
    config = RolloutConfig(control=gentle, time_limit_s=3.0)
    episode = Rollout(load_planned(environment), environment, config).episode(0)
    assert 0.0 < episode.limits_used <= 0.1 + 1e-9


def test_a_policy_of_another_robot_is_refused(environment):
    other = Embodiment.load(config_file("embodiments/ur5e_robotiq.yaml"))
    loaded = LoadedPolicy(load_baseline("hold", environment.embodiment).policy, other, "", 1)
    with pytest.raises(HptError, match="choose an environment of that robot"):
        require_fit(loaded, environment)


def test_a_policy_that_fails_is_no_success_and_says_why(environment):
    class Failing:
        def predict(self, observation):
            raise ValueError("out of cheese")

        def reset(self):
            pass

    robot = environment.embodiment
    episode = Rollout(
        LoadedPolicy(Failing(), robot, "", 1), environment, RolloutConfig(time_limit_s=4.0)
    ).episode(0)
    assert not episode.success
    assert episode.counters["inference_errors"] > 0
    assert "out of cheese" in episode.fault


@pytest.mark.parametrize(
    "wrong", [{"inference_s": -0.1}, {"inference_s": float("nan")}, {"time_limit_s": 0.0}]
)
def test_times_that_are_none_are_refused(wrong):
    with pytest.raises(HptError):
        RolloutConfig(**wrong)


def test_an_evaluator_of_an_unknown_environment_names_those_that_there_are():
    with pytest.raises(HptError, match="did you mean 'feed_dog'"):
        Evaluator(Job("feed_dgo", PolicyChoice(policy="hold")))


@pytest.mark.parametrize("rate_hz", [15.0, 22.0, 40.0, 50.0])
def test_a_tick_is_asked_about_when_it_has_settled_whatever_the_rate_of_commands(environment, rate_hz):
    ages_ns = []
    loaded = load_baseline("hold", environment.embodiment)

    class Asked:
        def predict(self, observation):
            ages_ns.append(environment.now_ns - observation.stamp_ns)
            return loaded.policy.predict(observation)

        def reset(self):
            loaded.policy.reset()

    control = ControlConfig(command_rate_hz=rate_hz)
    config = RolloutConfig(control=control, time_limit_s=2.0)
    Rollout(dataclasses.replace(loaded, policy=Asked()), environment, config).episode(0)
    assert ages_ns[0] == round(SETTLE_S * 1e9)
    # Once nothing was wanted until a command, so the newest tick is older, but the next one is further away.
    assert max(ages_ns) < round((SETTLE_S + 0.5 * environment.embodiment.dt_s) * 1e9)
