# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How fast lock-step evaluation is beside what it cannot do without: ``.venv/bin/python benchmarks/evaluation.py``.

The limit is the bare simulator: the same physics steps, the same camera images and the same inferences as the episode
had, and nothing else. Both take turns, episode by episode, on one thread's CPU time, so that other work on the machine
counts for neither.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.evaluation.rollout import Episode, Rollout
from hpt_ros.policies.protocol import ChunkPolicy, Observation
from hpt_ros.runtime.policy_config import PolicyChoice
from hpt_ros.sim.physics import Renderer
from hpt_ros.sim.table import CAMERA_NS
from hpt_ros.sim.tasks.feed_dog.environment import FeedDogEnvironment

FIRST_SEED = 1000


@dataclass
class Kept:
    """A policy that keeps the observation that it was asked about last."""

    policy: ChunkPolicy
    asked: int = 0
    last: Observation | None = None

    def predict(self, observation: Observation) -> NDArray[Any]:
        """Answer, and keep what was asked."""
        self.asked, self.last = self.asked + 1, observation
        return self.policy.predict(observation)

    def reset(self) -> None:
        """Forget."""
        self.policy.reset()


def cpu_s() -> float:
    """CPU time of this process."""
    return time.process_time()


def bare(environment: FeedDogEnvironment, renderer: Renderer, kept: Kept, episode: Episode) -> float:
    """CPU time in s of the physics, the images and the inferences of an episode."""
    environment.reset(episode.seed)
    physics, images = environment.physics, 1e9 / CAMERA_NS
    assert kept.last is not None
    start_s = cpu_s()
    for _ in range(round(episode.duration_s / physics.timestep_s)):
        physics.step()
    for _ in range(round(episode.duration_s * images)):
        for camera in environment.robot.cameras:
            renderer.render(camera)
    for _ in range(kept.asked):
        kept.policy.predict(kept.last)
    return cpu_s() - start_s


def main() -> int:
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--episodes", type=int, default=10, metavar="N")
    arguments = parser.parse_args()
    environment = FeedDogEnvironment()
    loaded = PolicyChoice(checkpoint="feed_dog", threads=1, backend="eager").load()
    kept = Kept(loaded.policy)
    rollout = Rollout(replace(loaded, policy=kept), environment)
    size = environment.embodiment.image_streams[0].image
    assert size is not None
    renderer = Renderer(environment.physics, size.height, size.width)
    rollout.episode(FIRST_SEED - 1)  # everything is loaded then
    whole, limit, simulated = [], [], []
    for seed in range(FIRST_SEED, FIRST_SEED + arguments.episodes):
        kept.asked, start_s = 0, cpu_s()
        episode = rollout.episode(seed)
        whole.append(cpu_s() - start_s)
        limit.append(bare(environment, renderer, kept, episode))
        simulated.append(episode.duration_s)
    renderer.close()
    environment.close()
    ratio = np.array(limit) / np.array(whole)
    print(
        f"{arguments.episodes} episodes of {np.mean(simulated):.1f} s with 2 cameras of {size.width}x{size.height}: "
        f"{np.sum(simulated) / np.sum(whole):.2f} times real time on one core's CPU time, "
        f"{60.0 * arguments.episodes / np.sum(whole):.1f} episodes/min; the bare simulator takes "
        f"{100 * np.median(ratio):.0f} % of that time (median; {100 * ratio.min():.0f} to {100 * ratio.max():.0f} %)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
