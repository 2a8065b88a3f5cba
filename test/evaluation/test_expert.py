# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Experts that command the robot themselves, planned ones and such as look at every step."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hpt_ros.errors import HptError
from hpt_ros.evaluation.expert import REST_TICKS, ExpertRollout
from hpt_ros.evaluation.rollout import RolloutConfig, end_of_success_ns
from hpt_ros.sim.tasks.feed_dog.environment import FeedDogEnvironment

SHORT = RolloutConfig(time_limit_s=2.0)


@pytest.fixture(scope="module")
def environment():
    made = FeedDogEnvironment()
    yield made
    made.close()


def test_the_expert_feeds_the_dog_within_the_limits(environment):
    episode = ExpertRollout(environment).episode(3)
    assert episode.success
    assert (episode.progress, episode.fault, episode.refused) == (1.0, "", 0)
    assert 0.2 < episode.limits_used < 1.0
    assert -6.0 < episode.arc_length < -1.3


def test_an_episode_is_the_same_whatever_came_before(environment):
    rollout = ExpertRollout(environment, SHORT)
    first = dataclasses.asdict(rollout.episode(7))
    other = dataclasses.asdict(rollout.episode(8))
    np.testing.assert_equal(dataclasses.asdict(rollout.episode(7)), first)
    assert first["peak_jerk"] != other["peak_jerk"]


@pytest.mark.parametrize(("success_s", "end_s"), [(0.5, 1.5), (1.0, 1.5), (6.0, 6.5)])
def test_an_episode_that_is_recorded_goes_on_long_enough_to_be_converted(success_s, end_s):
    start_ns, success_ns = 10 * 10**9, round((10 + success_s) * 1e9)
    tap: Any = object()
    assert end_of_success_ns(start_ns, success_ns, tap) == round((10 + end_s) * 1e9)
    assert end_of_success_ns(start_ns, success_ns, None) == success_ns


class Looking:
    """Turns the first joint on from wherever it is."""

    def __init__(self, environment):
        self.environment, self.looks = environment, []

    def action(self, time_ns):
        robot = self.environment.embodiment
        assert time_ns - self.environment.now_ns == round(1e9 / robot.action.rate_hz)
        self.looks.append(self.environment.physics.joint_positions_rad)
        return self.looks[-1] + np.eye(7)[0] * 0.05


def test_an_expert_looks_at_every_command(environment, monkeypatch):
    looking = Looking(environment)
    monkeypatch.setattr(environment, "expert", lambda: looking)
    episode = ExpertRollout(environment, SHORT).episode(0)
    assert not episode.success
    assert len(looking.looks) == round(episode.duration_s * environment.embodiment.action.rate_hz)
    assert looking.looks[-1][0] - looking.looks[0][0] > 0.2


class Tape:
    """Keeps what is commanded."""

    def __init__(self):
        self.positions = []

    def sample(self, sample):
        pass

    def command(self, topic, message, now_ns):
        self.positions.append(np.array(message.points[0].positions))


def test_what_is_recorded_begins_with_a_robot_at_rest(environment, monkeypatch):
    looking, tape = Looking(environment), Tape()
    monkeypatch.setattr(environment, "expert", lambda: looking)
    environment.reset(0)
    start_rad = environment.physics.joint_positions_rad
    ExpertRollout(environment, SHORT).episode(0, tape)
    robot = environment.embodiment
    resting = round(REST_TICKS * robot.action.rate_hz / robot.tick_hz)
    np.testing.assert_allclose(tape.positions[:resting], np.tile(start_rad, (resting, 1)), atol=2e-3)
    np.testing.assert_allclose(looking.looks[0], start_rad, atol=2e-3)
    assert len(tape.positions) - len(looking.looks) >= resting
    assert tape.positions[-1][0] - start_rad[0] > 0.2


def test_a_robot_that_does_not_say_where_it_is_cannot_be_recorded(environment, monkeypatch):
    monkeypatch.setattr(environment, "advance", lambda until_ns: [])
    with pytest.raises(HptError, match="did not say within 1") as caught:
        ExpertRollout(environment, SHORT).episode(0, Tape())
    assert caught.value.subject == "the environment 'feed_dog'"


def test_an_environment_without_an_expert_is_refused(environment):
    alone: Any = SimpleNamespace(name="alone", embodiment=environment.embodiment)
    with pytest.raises(HptError, match="has no expert"):
        ExpertRollout(alone)
