# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How fast lock-step evaluation is beside what it cannot do without: ``.venv/bin/python benchmarks/evaluation.py``.

The limit is the bare simulator: the same physics steps, the same camera images and the same inferences as the episode
had, and nothing else. Both take turns, episode by episode, in each of as many processes as there are cores, all of them
at the same time, as `hpt eval --workers` runs them. A process's time is its CPU time, so that other work on the
machine, which only makes it wait, does not count; what shared caches and sibling threads cost does.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.evaluation.rollout import EpisodeResult, Rollout
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


@dataclass(frozen=True)
class Times:
    """Of some episodes, in s: on their own clock, then CPU time.

    Attributes:
        simulated: on the episodes' clock.
        complete: of the rollouts.
        physics, images, inference: of the same physics steps, camera images and inferences alone.
    """

    simulated: float
    complete: float
    physics: float
    images: float
    inference: float

    @property
    def limit(self) -> float:
        """Of rendering and inference alone."""
        return self.images + self.inference

    @property
    def bare(self) -> float:
        """Of the bare simulator and inference."""
        return self.limit + self.physics


def cpu_s() -> float:
    """CPU time of this process."""
    return time.process_time()


def bare(
    environment: FeedDogEnvironment, renderer: Renderer, kept: Kept, episode: EpisodeResult
) -> list[float]:
    """CPU time in s of the physics, the images and the inferences of an episode."""
    environment.reset(episode.seed)
    physics, images = environment.physics, 1e9 / CAMERA_NS
    assert kept.last is not None
    times_s = [cpu_s()]
    for _ in range(round(episode.duration_s / physics.timestep_s)):
        physics.step()
    times_s.append(cpu_s())
    for _ in range(round(episode.duration_s * images)):
        for camera in environment.robot.cameras:
            renderer.render(camera)
    times_s.append(cpu_s())
    for _ in range(kept.asked):
        kept.policy.predict(kept.last)
    times_s.append(cpu_s())
    return np.diff(times_s).tolist()


def measure(seeds: range) -> Times:
    """Run these episodes and what they cannot do without, in turns."""
    environment = FeedDogEnvironment()
    loaded = PolicyChoice(checkpoint="feed_dog", threads=1, backend="eager").load()
    kept = Kept(loaded.policy)
    rollout = Rollout(replace(loaded, policy=kept), environment)
    size = environment.embodiment.image_streams[0].image
    assert size is not None
    renderer = Renderer(environment.physics, size.height, size.width)
    rollout.episode(FIRST_SEED - 1)  # everything is loaded then
    rows = []
    for seed in seeds:
        kept.asked, start_s = 0, cpu_s()
        episode = rollout.episode(seed)
        rows.append([episode.duration_s, cpu_s() - start_s, *bare(environment, renderer, kept, episode)])
    renderer.close()
    environment.close()
    return Times(*np.sum(rows, axis=0).tolist())


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--episodes", type=int, default=10, metavar="N", help="of each process")
    parser.add_argument(
        "--processes", type=int, default=2, metavar="N", help="at the same time, one for each core"
    )
    arguments = parser.parse_args()
    count = arguments.episodes
    parts = [
        range(first, first + count)
        for first in range(FIRST_SEED, FIRST_SEED + arguments.processes * count, count)
    ]
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        found = pool.map(measure, parts, chunksize=1)
    total = Times(*(sum(getattr(times, item.name) for times in found) for item in fields(Times)))
    speeds = [times.simulated / times.complete for times in found]
    print(
        f"{count} episodes of {total.simulated / count / len(found):.1f} s in each of {len(found)} processes\n"
    )
    print("| CPU time of a simulated second | ms | ratio of the evaluation |\n| --- | --- | --- |")
    for name, seconds in (
        ("evaluation", total.complete),
        ("physics", total.physics),
        ("images of 2 cameras", total.images),
        ("inference", total.inference),
        ("rendering and inference alone", total.limit),
        ("bare simulator and inference", total.bare),
        ("everything else", total.complete - total.bare),
    ):
        print(f"| {name} | {1000 * seconds / total.simulated:.0f} | {100 * seconds / total.complete:.0f} % |")
    each = ", ".join(f"{speed:.2f}" for speed in speeds)
    print(
        f"\n{np.mean(speeds):.2f} times real time on a core ({each}), {sum(speeds):.2f} on all {len(found)} together"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
