# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Evaluation over the real middleware: simulator, policy or teleoperator, and what an episode comes to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from hpt_ros.errors import HptError
from hpt_ros.evaluation.evaluate import Job
from hpt_ros.evaluation.rollout import RolloutConfig
from hpt_ros.nodes.sim.episode_recorder import EpisodeRecorder
from hpt_ros.nodes.sim.graph_evaluation import Graph, PolicyArm
from hpt_ros.runtime.policy_config import PolicyChoice


def job(policy: str, limit_s: float | None = 2.0, *, expert: bool = False) -> Job:
    return Job(
        "feed_dog",
        PolicyChoice(policy=policy),
        "expert" if expert else "",
        config=RolloutConfig(time_limit_s=limit_s),
    )


@pytest.fixture(scope="module")
def graph() -> Iterator[Graph]:
    with Graph(job("hold"), real_time_factor=0.0) as made:
        yield made


def test_when_the_policy_does_nothing_expect_the_arm_to_stay_and_the_dog_to_go_hungry(graph: Graph) -> None:
    recorder = graph.composition.add(EpisodeRecorder(graph.robot, context=graph.composition.context))
    with graph.arm(job("hold")) as arm:
        recorder.start()
        episode = arm.episode(7)
        seen = recorder.stop(episode)
        again = arm.episode(8)
        samples = arm.samples_s()
    graph.composition.remove(recorder)
    assert (episode.success, episode.progress, episode.fault, episode.refused) == (False, 0.0, "", 0)
    assert episode.duration_s >= 2.0
    assert episode.counters["chunks"] > 1
    assert episode.limits_used < 0.01
    assert np.isnan(episode.arc_length)
    assert episode.inference_s < 1.0
    assert (again.seed, again.fault) == (8, "")
    assert len(samples["inference_s"]) >= episode.counters["chunks"] + again.counters["chunks"]
    assert len(seen.pictures) > 5
    assert seen.pictures[0].shape == (480, 640, 3)
    assert len(seen.commands_rad) > 20
    assert np.ptp(np.array(seen.commands_rad), axis=0).max() < 0.02
    assert not seen.success


def test_a_policy_that_draws_does_so_from_the_scenes_seed_and_moves(graph: Graph) -> None:
    with graph.arm(job("random", 4.0)) as arm:  # the start takes a second or more of it
        moved = [arm.episode(seed) for seed in (3, 4)]
    assert all(episode.limits_used > 0.1 and np.isfinite(episode.arc_length) for episode in moved)


def test_the_environments_expert_feeds_the_dog_over_the_command_topic(graph: Graph) -> None:
    with graph.arm(job("hold", None, expert=True)) as arm:
        episode = arm.episode(3)
    assert episode.success, episode.detail
    assert episode.limits_used > 0.1
    assert episode.duration_s < graph.environment.time_limit_s


def test_when_the_checkpoint_is_missing_expect_the_nodes_sentence(graph: Graph) -> None:
    wrong = Job("feed_dog", PolicyChoice(policy="checkpoint"))
    with pytest.raises(HptError, match="the parameter checkpoint is empty"), graph.arm(wrong):
        pass


def test_when_a_node_refuses_expect_its_reason(graph: Graph) -> None:
    with pytest.raises(HptError, match="/sim/reset_scene refused: the seed -3 is negative"):
        graph.runner.reset_scene(-3)


def test_after_a_fault_the_next_episode_runs(graph: Graph) -> None:
    with graph.arm(job("hold")) as arm:
        assert isinstance(arm, PolicyArm)
        real = graph.runner.task_result

        def stopped():
            arm.node.stop("a person pressed stop")
            return real()

        graph.runner.task_result = stopped  # type: ignore[method-assign]
        try:
            episode = arm.episode(5)
        finally:
            graph.runner.task_result = real  # type: ignore[method-assign]
        again = arm.episode(6)
    assert "a person pressed stop" in episode.fault
    assert episode.duration_s < 2.0
    assert again.fault == ""
