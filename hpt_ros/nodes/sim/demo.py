# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The demo's graph: simulated robot, policy, and with `--full` teleoperator and recorder, in one process.

The nodes are the ones that `ros2 run` starts, and they talk over the middleware as they would between machines.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rclpy.logging import LoggingSeverity, set_logger_level
from rclpy.parameter import Parameter

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.nodes.common.composition import Composition
from hpt_ros.nodes.policy.policy_node import PolicyNode
from hpt_ros.nodes.recorder.recorder_node import RecorderNode
from hpt_ros.nodes.sim.episode_recorder import EpisodeRecorder, EpisodeTrace
from hpt_ros.nodes.sim.episode_runner import EpisodeResult, EpisodeRunner
from hpt_ros.nodes.sim.sim_node import SimNode
from hpt_ros.nodes.sim.teleop_node import TeleopNode
from hpt_ros.resources import checkpoint_folder, config_file, embodiment_file
from hpt_ros.sim.demonstrations import FIRST_DEMONSTRATION_SEED
from hpt_ros.sim.tasks.feed_dog.environment import FeedDogEnvironment

EPISODE_TIMEOUT_S = FeedDogEnvironment.time_limit_s
# Offsets between commanded and executed targets while demonstrating, so that recoveries are in the data.
DEMONSTRATION_DISTURBANCE_RAD = 0.02


@dataclass(frozen=True, slots=True)
class EvalResult:
    """One policy's episodes, and the policy node's own measurements over them.

    `samples_s` holds arrays of seconds by name; see `hpt_ros.runtime.metrics.Metrics`.
    """

    policy: str
    episodes: tuple[EpisodeResult, ...]
    samples_s: Mapping[str, NDArray[np.float64]]
    counters: Mapping[str, int]

    @property
    def successes(self) -> int:
        """Episodes that succeeded: the dog was fed."""
        return sum(episode.success for episode in self.episodes)


POLICIES = {"checkpoint": "trained", "hold": "do nothing", "random": "random"}


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What to run.

    Attributes:
        episodes: of each policy.
        checkpoint: folder, or shipped name.
        first_seed: of the scenes; every policy gets the same ones.
        baselines: run "do nothing" and "random" too.
        real_time_factor: simulated seconds per wall second, at most; 0: as fast as the machine goes.
    """

    episodes: int
    checkpoint: str
    first_seed: int
    baselines: bool = True
    real_time_factor: float = 1.0

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise HptError(
                Code.WRONG_SHAPE, "the number of episodes", self.episodes, expected="at least 1",
                remedy="ask for more",
            )  # fmt: skip
        if not 0 <= self.first_seed < FIRST_DEMONSTRATION_SEED - self.episodes:
            raise HptError(
                Code.INVALID, "the first seed",
                problem=f"is {self.first_seed}, but 0 to {FIRST_DEMONSTRATION_SEED - self.episodes - 1} was "
                "expected (higher ones are the scenes of demonstrations)", remedy="choose one of these",
            )  # fmt: skip


def evaluate(
    settings: DemoSettings, report: Callable[[str, EpisodeResult], None]
) -> tuple[list[EvalResult], EpisodeTrace | None]:
    """Run every policy's episodes; returns their results, and a trace of the trained policy's best episode.

    Args:
        settings: what to run.
        report: called after each episode with the policy's name.

    Raises:
        HptError: the checkpoint is wrong, or a node refuses.
    """
    folder = checkpoint_folder(settings.checkpoint)
    robot = Embodiment.load(embodiment_file(folder))
    results, trace = [], None
    with Composition() as graph, _simulator(graph, settings.real_time_factor, 0.0):
        director: EpisodeRunner = graph.add(EpisodeRunner(context=graph.context))
        observer: EpisodeRecorder = graph.add(EpisodeRecorder(robot, context=graph.context))
        for kind in POLICIES if settings.baselines else ("checkpoint",):
            result, best = _evaluate_one(kind, settings, folder, graph, director, observer, report)
            results.append(result)
            trace = trace or best
    return results, trace


def _evaluate_one(
    kind: str,
    settings: DemoSettings,
    folder: Path,
    graph: Composition,
    director: EpisodeRunner,
    observer: EpisodeRecorder,
    report: Callable[[str, EpisodeResult], None],
) -> tuple[EvalResult, EpisodeTrace | None]:
    name = POLICIES[kind]
    overrides = {
        "use_sim_time": True,
        "policy": kind,
        "checkpoint": str(folder) if kind == "checkpoint" else "",
        "embodiment": str(embodiment_file(folder)),
        # The network is small and the simulator needs the other core: a second thread would make it slower.
        "threads": 1,
        "backend": "eager",  # a few hundred steps, and the same actions on every machine: nothing to measure
    }
    policy = PolicyNode(
        context=graph.context,
        parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()],
        enable_rosout=False,  # one policy follows another under the same name
    )
    _quiet(policy.get_name())
    graph.add(policy)
    try:
        director.configure_policy(policy)
        results: list[EpisodeResult] = []
        counters: dict[str, int] = {}
        best: EpisodeTrace | None = None
        for seed in range(settings.first_seed, settings.first_seed + settings.episodes):
            # Pictures for the video are rendered only until one episode of the policy went well.
            watching = kind == "checkpoint" and (best is None or not best.success)
            if watching:
                observer.start()
            result = director.run_episode(seed, EPISODE_TIMEOUT_S)
            if watching:
                best = observer.stop(result)
                if best.success and len(results) + 1 < settings.episodes:
                    policy.clear_metrics()  # drawing the video slowed this episode's timings down
            for counter, count in policy.counters().items():
                counters[counter] = counters.get(counter, 0) + count
            results.append(result)
            report(name, result)
        return EvalResult(name, tuple(results), policy.metrics(), counters), best
    finally:
        graph.remove(policy)


def record_demonstrations(
    count: int, out: Path, *, real_time_factor: float, report: Callable[[str, EpisodeResult], None]
) -> list[str]:
    """Record `count` successful demonstrations of the scripted teleoperator; returns the folders of all bags.

    Failed ones are recorded too, marked as failures, and left out when bags are converted.

    Raises:
        HptError: the teleoperator fails too often, or a node refuses.
    """
    robot = Embodiment.load(config_file("embodiments/feed_dog.yaml"))
    bags: list[str] = []
    successes = 0
    with Composition() as graph, _simulator(graph, real_time_factor, DEMONSTRATION_DISTURBANCE_RAD):
        director: EpisodeRunner = graph.add(EpisodeRunner(context=graph.context))
        sim_time = [Parameter("use_sim_time", value=True)]
        teleop = TeleopNode(context=graph.context, parameter_overrides=sim_time)
        recorder = RecorderNode(robot, out, context=graph.context, parameter_overrides=sim_time)
        for node in (teleop, recorder):
            _quiet(node.get_name())
            graph.add(node)
        while successes < count:
            seed = FIRST_DEMONSTRATION_SEED + len(bags)
            result, bag = director.demonstrate(seed, robot.task, EPISODE_TIMEOUT_S)
            bags.append(bag)
            successes += result.success
            report("demonstration", result)
            if len(bags) >= 10 and successes < len(bags) // 2:
                raise HptError(
                    Code.OUT_OF_RANGE, "the scripted teleoperator", len(bags),
                    problem=f"had success in {successes} of {{value}} episodes", expected="at least half",
                    remedy="see the recorder's bags and the simulator's log",
                )  # fmt: skip
    return bags


@contextlib.contextmanager
def _simulator(graph: Composition, real_time_factor: float, disturbance_rad: float) -> Iterator[SimNode]:
    overrides = [
        Parameter("real_time_factor", value=float(real_time_factor)),
        Parameter("disturbance_rad", value=float(disturbance_rad)),
    ]
    sim: SimNode = graph.add(SimNode(context=graph.context, parameter_overrides=overrides))
    sim.start()
    yield sim


def _quiet(name: str) -> None:
    """Keep a node's routine messages out of the progress bar; warnings stay."""
    set_logger_level(name, LoggingSeverity.WARN)
