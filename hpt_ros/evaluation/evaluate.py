# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Many episodes of one policy in one environment, on one process or several."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field

from hpt_ros.cluster import run_on_cluster
from hpt_ros.evaluation.rollout import EpisodeResult, Rollout, RolloutConfig, Runner
from hpt_ros.evaluation.runners import make_runner
from hpt_ros.interrupts import interrupts_count, interrupts_wait
from hpt_ros.policies.factory import load_baseline
from hpt_ros.runtime.policy_config import PolicyChoice
from hpt_ros.sim.environment import Environment, make_environment
from hpt_ros.sim.transport import PERFECT, Transport
from hpt_ros.sim.variation import STANDARD, Variation

Run = Callable[[Runner, int], EpisodeResult]


def run_alone(runner: Runner, seed: int) -> EpisodeResult:
    """Run one episode that nobody watches."""
    return runner.episode(seed)


@dataclass(frozen=True, slots=True)
class Job:
    """What every process needs to know.

    Attributes:
        environment: name of it.
        choice: the policy; its embodiment file is left empty for the environment's robot.
        runner: who runs in place of the policy, of `hpt_ros.evaluation.runners`; empty: the policy does.
        images: what happens to the messages of all cameras.
        disturbance_rad: standard deviation of smooth offsets between commanded and executed joint targets.
        variation: how far scenes differ.
        transports: what happens to the messages of streams, by their name.
        config: how episodes are run.
    """

    environment: str
    choice: PolicyChoice
    runner: str = ""
    images: Transport = PERFECT
    disturbance_rad: float = 0.0
    variation: Variation = STANDARD
    transports: Mapping[str, Transport] = field(default_factory=dict)
    config: RolloutConfig = field(default_factory=RolloutConfig)

    def make_environment(self) -> Environment:
        """Make the environment.

        Raises:
            HptError: it cannot be made.
        """
        return make_environment(
            self.environment,
            self.images,
            disturbance_rad=self.disturbance_rad,
            variation=self.variation,
            transports=self.transports,
        )


class Evaluator:
    """A policy and an environment in this process."""

    def __init__(self, job: Job) -> None:
        """Make both.

        Raises:
            HptError: one of them cannot be made, or they do not fit.
        """
        self.job = job
        self.environment = job.make_environment()
        self._drawing = job.choice.policy != "checkpoint" and not job.runner
        self.runner = self._make(0)

    def _make(self, seed: int) -> Runner:
        """Make who runs; a policy that draws does so from the scene's seed, so that the order does not matter."""
        if self.job.runner:
            return make_runner(self.job.runner, self.environment, self.job.config)
        choice = self.job.choice
        if choice.policy == "checkpoint":
            loaded = choice.load()
        else:
            loaded = load_baseline(choice.policy, self.environment.embodiment, seed)
        return Rollout(loaded, self.environment, self.job.config)

    def episode(self, seed: int, run: Run) -> EpisodeResult:
        """Run one episode."""
        if self._drawing:
            self.runner = self._make(seed)
        return run(self.runner, seed)

    def close(self) -> None:
        """Free both."""
        self.runner.close()
        self.environment.close()


def evaluate(job: Job, seeds: Sequence[int], workers: int, run: Run = run_alone) -> Iterator[EpisodeResult]:
    """Yield an episode for each seed, as they are done.

    Args:
        job: what is run.
        seeds: of the scenes.
        workers: processes; 1 runs all in this one.
        run: runs one episode; another process must be able to import it.

    Raises:
        HptError: policy or environment cannot be made, or do not fit.
    """
    if workers <= 1 or len(seeds) <= 1:
        evaluator = Evaluator(job)
        try:
            for seed in seeds:
                yield evaluator.episode(seed, run)
        finally:
            evaluator.close()
        return
    context = multiprocessing.get_context("spawn")  # torch and GL do not survive a fork
    with ProcessPoolExecutor(
        min(workers, len(seeds)), mp_context=context, initializer=_prepare, initargs=(job,)
    ) as pool:
        try:
            with interrupts_wait():
                waiting = {pool.submit(_episode, seed, run) for seed in seeds}
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def evaluate_on_ray(job: Job, seeds: Sequence[int], address: str) -> Generator[EpisodeResult, None, None]:
    """Yield an episode for each seed, as they are done, from a Ray cluster that shares the file system.

    Args:
        job: what is run.
        seeds: of the scenes; each is a task of one core.
        address: of the cluster, see `hpt_ros.cluster.connect`.

    Raises:
        HptError: as `evaluate`, or there is no such cluster.
    """
    jobs = [(job, seed) for seed in seeds]
    yield from run_on_cluster(_scene_on_ray, jobs, address, "hpt eval on a cluster")


def _scene_on_ray(scene: tuple[Job, int]) -> EpisodeResult:
    """Run a scene; the process keeps policy and environment for the next one."""
    global _evaluator
    job, seed = scene
    if _evaluator is None or _evaluator.job != job:
        if _evaluator is not None:
            _evaluator.close()
        _evaluator = Evaluator(job)
    return _evaluator.episode(seed, run_alone)


_job: Job | None = None
_evaluator: Evaluator | None = None


def _prepare(job: Job) -> None:
    global _job  # one a process, which the pool owns
    _job = job


def _episode(seed: int, run: Run) -> EpisodeResult:
    global _evaluator
    with interrupts_count():
        if _evaluator is None:  # here rather than in the initializer, whose errors a pool does not hand on
            assert _job is not None
            _evaluator = Evaluator(_job)
        return _evaluator.episode(seed, run)
