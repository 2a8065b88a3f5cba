# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The demo's graph on the real middleware: simulator, director, observer, recorder and teleoperator in one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rclpy.parameter import Parameter

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import HptError
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.policy.policy_node import PolicyNode
from hpt_ros.nodes.sim.demo import DemoSettings, record_demonstrations
from hpt_ros.nodes.sim.episode_recorder import EpisodeRecorder
from hpt_ros.nodes.sim.episode_runner import EpisodeResult, EpisodeRunner
from hpt_ros.nodes.sim.sim_node import SimNode
from hpt_ros.resources import config_file
from rosbag_tools.converting.convert import convert

FAST = [Parameter("real_time_factor", value=0.0)]


def test_when_the_policy_does_nothing_expect_the_arm_to_stay_and_the_dog_to_go_hungry() -> None:
    file = config_file("embodiments/feed_dog.yaml")
    overrides = {"use_sim_time": True, "policy": "hold", "embodiment": str(file)}
    with Composition() as graph:
        sim: SimNode = graph.add(SimNode(context=graph.context, parameter_overrides=FAST))
        sim.start()
        director: EpisodeRunner = graph.add(EpisodeRunner(context=graph.context))
        observer: EpisodeRecorder = graph.add(EpisodeRecorder(Embodiment.load(file), context=graph.context))
        policy: PolicyNode = graph.add(
            PolicyNode(
                context=graph.context,
                parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()],
            )
        )
        director.configure_policy(policy)
        observer.start()
        result = director.run_episode(seed=7, timeout_s=2.0)
        seen = observer.stop(result)
        again = director.run_episode(seed=8, timeout_s=1.0)
    assert not result.success
    assert result.progress == 0.0
    assert result.fault == ""
    assert result.duration_s >= 2.0
    assert again.fault == ""
    assert len(seen.pictures) > 5
    assert seen.pictures[0].shape == (480, 640, 3)
    assert len(seen.commands_rad) > 20
    assert np.ptp(np.array(seen.commands_rad), axis=0).max() < 0.02
    assert not seen.success


def test_when_the_checkpoint_is_missing_expect_the_nodes_sentence() -> None:
    with Composition() as graph:
        director: EpisodeRunner = graph.add(EpisodeRunner(context=graph.context))
        policy: PolicyNode = graph.add(PolicyNode(context=graph.context))
        with pytest.raises(HptError, match="the parameter checkpoint is empty"):
            director.configure_policy(policy)


def test_when_a_node_refuses_expect_its_reason() -> None:
    with Composition() as graph:
        sim: SimNode = graph.add(SimNode(context=graph.context, parameter_overrides=FAST))
        sim.start()
        director: EpisodeRunner = graph.add(EpisodeRunner(context=graph.context))
        with pytest.raises(HptError, match="/sim/reset_scene refused: the seed -3 is negative"):
            director.reset_scene(-3)


def test_a_recorded_demonstration_feeds_the_dog_and_converts(tmp_path: Path) -> None:
    results: list[EpisodeResult] = []
    bags = record_demonstrations(
        1, tmp_path / "bags", real_time_factor=0.0, report=lambda _, result: results.append(result)
    )
    assert results[-1].success
    robot = Embodiment.load(config_file("embodiments/feed_dog.yaml"))
    convert([Path(bag) for bag in bags], tmp_path / "dataset", robot)
    assert (tmp_path / "dataset" / "meta" / "info.json").is_file()


@pytest.mark.parametrize(
    ("episodes", "seed", "message"), [(0, 1, "episodes is 0"), (1, 10**6, "first seed is 1000000")]
)
def test_when_settings_are_wrong_expect_the_value(episodes: int, seed: int, message: str) -> None:
    with pytest.raises(HptError, match=message):
        DemoSettings(episodes, "feed_dog", seed)
