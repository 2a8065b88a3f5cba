# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How fast lock-step evaluation is beside what it cannot do without: ``.venv/bin/python benchmarks/evaluation.py``.

The limit is the bare simulator: the same physics steps towards the same targets, the same camera images and the same
inferences as the episode had, and nothing else. That they are the same is checked: the world ends as it did in the
episode, to the last bit. Both take turns, episode by episode, in each of as many processes as there are cores, all of
them at the same time, as `hpt eval --workers` runs them. A process's time is its CPU time, so that other work on the
machine, which only makes it wait, does not count; what shared caches and sibling threads cost does.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from hpt_ros.evaluation.rollout import Rollout
from hpt_ros.policies.protocol import ChunkPolicy, Observation
from hpt_ros.runtime.policy_config import PolicyChoice
from hpt_ros.sim.physics import Physics, Renderer, whole_steps
from hpt_ros.sim.table import CAMERA_NS
from hpt_ros.sim.tasks.feed_dog.environment import FeedDogEnvironment

FIRST_SEED = 1000


@dataclass
class Kept:
    """A policy that keeps the observations that it was asked about."""

    policy: ChunkPolicy
    asked: list[Observation] = field(default_factory=list)

    def predict(self, observation: Observation) -> NDArray[Any]:
        """Answer, and keep what was asked."""
        self.asked.append(observation)
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


@contextmanager
def record_targets(physics: Physics) -> Iterator[list[NDArray[np.float64]]]:
    """Note the actuators' targets of every physics step meanwhile."""
    targets: list[NDArray[np.float64]] = []
    step = physics.step

    def note_and_step(count: int = 1) -> None:
        targets.append(physics.targets_rad)
        step(count)

    with mock.patch.object(physics, "step", note_and_step):
        yield targets


def bare(
    environment: FeedDogEnvironment,
    renderer: Renderer,
    kept: Kept,
    seed: int,
    targets: list[NDArray[np.float64]],
) -> list[float]:
    """CPU time in s of the physics, the images and the inferences of an episode."""
    ended = environment.physics.data.qpos.copy()
    environment.reset(seed)
    physics, asked = environment.physics, tuple(kept.asked)
    between = whole_steps(CAMERA_NS / 1e9, physics.timestep_s, what="period of the cameras")
    physics_s = images_s = 0.0
    for first in range(0, len(targets), between):
        start_s = cpu_s()
        for target in targets[first : first + between]:
            physics.set_targets(target)
            physics.step()
        stepped_s = cpu_s()
        physics_s += stepped_s - start_s
        if first + between > len(targets):
            break
        environment.task.animate()
        start_s = cpu_s()
        for camera in environment.robot.cameras:
            renderer.render(camera)
        images_s += cpu_s() - start_s
    if not np.array_equal(environment.physics.data.qpos, ended):
        raise RuntimeError("the bare simulator did something else than the episode")
    kept.reset()
    start_s = cpu_s()
    for observation in asked:
        kept.policy.predict(observation)
    return [physics_s, images_s, cpu_s() - start_s]


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
        with record_targets(environment.physics) as targets:
            rollout.episode(seed)
        kept.asked.clear()
        start_s = cpu_s()
        episode = rollout.episode(seed)
        complete_s = cpu_s() - start_s
        rows.append([episode.duration_s, complete_s, *bare(environment, renderer, kept, seed, targets)])
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
