# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What every environment of a suite has to keep: messages, seeds, an expert that solves it, and its limits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpt_ros.errors import HptError
from hpt_ros.evaluation.expert import ExpertRollout
from hpt_ros.evaluation.rollout import Rollout, RolloutConfig
from hpt_ros.observation import decode
from hpt_ros.policies.factory import load_baseline
from hpt_ros.sim.messages import Message

MS = 1_000_000


def images(environment, seed):
    """Every image of the first 200 ms of a scene, side by side."""
    environment.reset(seed)
    samples = environment.advance(environment.now_ns + 200 * MS)
    topics = {stream.topic for stream in environment.embodiment.image_streams}
    return np.stack([item.message.data for item in samples if item.topic in topics])


def check_messages(environment):
    """They are those of the embodiment file, at its rates, and each camera shows something of its own."""
    robot = environment.embodiment
    environment.reset(0)
    start_ns = environment.now_ns
    samples = environment.advance(start_ns + 1000 * MS)
    shown = []
    for stream in robot.streams:
        mine = [item for item in samples if item.topic == stream.topic]
        assert len(mine) == round(stream.rate_hz)
        value = decode(stream, mine[-1].message)
        assert start_ns < mine[0].message.header.stamp.sec * 10**9 + mine[0].message.header.stamp.nanosec
        assert value.shape == stream.shape
        if stream.image is not None:
            assert value.std() > 5.0
            shown.append(value)
    assert not np.array_equal(shown[0], shown[1])
    assert environment.render(48, 64).shape == (48, 64, 3)


def check_seeds(environment):
    """A seed is a scene, whatever came before; another seed is another one."""
    first, other = images(environment, 4), images(environment, 5)
    np.testing.assert_array_equal(images(environment, 4), first)
    assert not np.array_equal(first, other)


def check_expert(environment, seed):
    """It solves the scene within the limits of the embodiment file, and the same twice."""
    rollout = ExpertRollout(environment)
    first = rollout.episode(seed)
    assert first.success, first.detail
    assert first.progress == 1.0
    assert (first.refused, first.fault) == (0, "")
    assert 0.05 < first.limits_used <= 1.001
    np.testing.assert_equal(dataclasses.asdict(rollout.episode(seed)), dataclasses.asdict(first))


def check_hold(environment):
    """Doing nothing through the real controller solves nothing, moves nothing and is refused nothing."""
    loaded = load_baseline("hold", environment.embodiment)
    episode = Rollout(loaded, environment, RolloutConfig(time_limit_s=0.8)).episode(1)
    assert not episode.success
    assert episode.progress < 1.0
    assert (episode.fault, episode.refused) == ("", 0)
    assert episode.counters["commands_sent"] > 5


def check_refusals(environment):
    """Commands to elsewhere and numbers that are none are refused."""
    nan = float("nan")
    with pytest.raises(HptError, match="elsewhere"):
        environment.command("elsewhere", Message(data=[0.0]))
    for output in environment.embodiment.action.parts:
        if output.type == "std_msgs/msg/Float64MultiArray":
            for wrong in ([0.0] * (len(output.names) + 1), [nan] * len(output.names)):
                with pytest.raises(HptError, match="finite numbers"):
                    environment.command(output.topic, Message(data=wrong))


CHECKS = (check_messages, check_seeds, check_hold, check_refusals)
