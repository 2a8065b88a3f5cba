# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One episode of any policy in any environment, in lock step: time is an argument, and the same twice is the same.

The policy's way is the robot's: messages are decoded and resampled by the runtime's observation path, chunks go
through the real controller with its limits and watchdogs, and commands are the messages that a robot would be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control import Command, ControlConfig, State
from hpt_ros.control.holding import Cause
from hpt_ros.control.plan import PAST_NS
from hpt_ros.embodiment import Embodiment, Stream
from hpt_ros.embodiment.message_types import Sending
from hpt_ros.errors import Code, HptError, Refusal
from hpt_ros.evaluation import INFERENCE_S
from hpt_ros.evaluation.smoothness import peak_jerk, spectral_arc_length
from hpt_ros.evaluation.worker import LockStepWorker
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.runtime.policy_runtime import PolicyRuntime
from hpt_ros.sim.environment import Environment, Outcome
from hpt_ros.sim.messages import Sample, interface

NS_PER_S: Final = 1_000_000_000
JUDGED_NS: Final = 500_000_000  # how often the outcome is looked at
# A recorded episode goes on after its success, as a person's does: so that staying there is in the data. It lasts
# long enough for the second of full ticks that conversion wants of an episode, its first ticks being incomplete.
AFTER_NS: Final = 500_000_000
SHORTEST_NS: Final = 1_500_000_000
MOVED: Final = (
    0.01  # ratio of a velocity limit below which a robot stands, and no smoothness is measured; our choice
)


@dataclass(frozen=True, slots=True)
class RolloutConfig:
    """How an episode is run.

    Attributes:
        inference_s: what an inference takes on the environment's clock.
        control: parameters of the controller.
        time_limit_s: instead of the environment's; None: that.
        compensates: chunks are for the time of their observation, as the runtime has it; else for when they arrive.
    """

    inference_s: float = INFERENCE_S
    control: ControlConfig = field(default_factory=ControlConfig)
    time_limit_s: float | None = None
    compensates: bool = True

    def __post_init__(self) -> None:
        """Refuse times that are none."""
        if not 0.0 <= self.inference_s <= 10.0:
            raise HptError(
                Code.OUT_OF_RANGE, "the time of an inference", self.inference_s, expected="0 to 10 s"
            )
        if self.time_limit_s is not None and not 0.0 < self.time_limit_s <= 3600.0:
            raise HptError(
                Code.OUT_OF_RANGE,
                "the time limit",
                self.time_limit_s,
                expected="more than 0 and at most 3600 s",
            )

    def limit_ns(self, environment: Environment) -> int:
        """Return the time limit in an environment, in ns."""
        limit_s = environment.time_limit_s if self.time_limit_s is None else self.time_limit_s
        return round(limit_s * NS_PER_S)


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """What one episode came to.

    Attributes:
        seed: of the scene.
        success: the task is done.
        progress: ratio of it that is done, 0 to 1.
        duration_s: until success, a fault, or the time limit.
        detail: one sentence about the task.
        fault: why the controller stopped by itself; empty if it did not.
        holds: times that it stopped moving to wait for something.
        counters: the runtime's, by name.
        refused: commands that the robot's controller refused.
        arc_length: spectral arc length of the commanded motion (0 is smoothest); NaN if nothing moved.
        peak_jerk: of the commanded motion, in the action's unit per s^3.
        limits_used: largest ratio of a commanded velocity to its limit.
        inference_s: median wall time of an inference; NaN without one.
    """

    seed: int
    success: bool
    progress: float
    duration_s: float
    detail: str
    fault: str
    holds: int
    counters: Mapping[str, int]
    refused: int
    arc_length: float
    peak_jerk: float
    limits_used: float
    inference_s: float

    @property
    def silent(self) -> bool:
        """Whether a policy ran and nothing at all was commanded, as where its first target is too far away."""
        return self.counters.get("commands_sent", 1) == 0


def set_task(take: Callable[[str], Refusal | None], loaded: LoadedPolicy, environment: Environment) -> None:
    """Say what is to be done: by the text of the only task that the policy knows, or the environment's.

    Raises:
        HptError: the policy knows several tasks, and this is none of them.
    """
    known = loaded.tasks
    task = known[0] if len(known) == 1 else environment.instruction
    if (refused := take(task)) is not None:
        raise HptError.of(refused)


def require_fit(loaded: LoadedPolicy, environment: Environment) -> None:
    """Check that the environment has what a policy reads and takes what it sends.

    Raises:
        HptError: a topic is missing.
    """
    require_robot_fits(loaded.embodiment, loaded.optional, environment)


def require_robot_fits(robot: Embodiment, optional: Collection[str], environment: Environment) -> None:
    """Check that the environment has what a policy of a robot reads and takes what it sends.

    Args:
        robot: the policy's.
        optional: modalities of which the policy reads nothing, or can do without.
        environment: where it is to run.

    Raises:
        HptError: a topic is missing.
    """
    here = environment.embodiment
    sent = {(stream.topic, stream.type) for stream in here.streams}
    missing = [
        f"{stream.topic} ({stream.type})"
        for stream in robot.streams
        if stream.modality not in {*optional, "language"} and (stream.topic, stream.type) not in sent
    ]
    taken = {(output.topic, output.type) for output in here.action.parts}
    missing += [
        f"{output.topic} ({output.type})"
        for output in robot.action.parts
        if (output.topic, output.type) not in taken
    ]
    if missing:
        raise HptError(
            Code.MISMATCH, f"the robot {here.name!r} of the environment {environment.name!r}", ", ".join(missing),
            problem=f"lacks {{value}} of the policy's robot {robot.name!r}",
            remedy="choose an environment of that robot",
        )  # fmt: skip


class Tap(Protocol):
    """Who watches the topics, as a recorder does."""

    def sample(self, sample: Sample) -> None:
        """Take a message of a sensor."""
        ...

    def command(self, topic: str, message: Any, now_ns: int) -> None:
        """Take a command."""
        ...


class Moving(Protocol):
    """What is sent, as `hpt_ros.control.Command`."""

    @property
    def position(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def velocity(self) -> NDArray[np.float64]: ...  # noqa: D102
    def of(self, part: slice, ahead_ns: int = 0) -> Any: ...  # noqa: D102


class Runner(Protocol):
    """Who runs one episode after the other: a policy's `Rollout`, or an expert's.

    Attributes:
        environment: it belongs to the caller, who closes it.
        robot: whose topics are read and commanded.
    """

    environment: Environment
    robot: Embodiment

    def episode(self, seed: int, tap: Tap | None = None) -> EpisodeResult:
        """Run one episode; `tap` is shown every message that goes over a topic."""
        ...

    def close(self) -> None:
        """Free what it holds beside the environment."""
        ...


class Rollout:
    """A policy in an environment; `episode` may be called for one seed after the other.

    Args:
        loaded: the policy.
        environment: it belongs to the caller, who closes it.
        config: how episodes are run.

    Raises:
        HptError: policy and environment do not fit.
    """

    def __init__(
        self, loaded: LoadedPolicy, environment: Environment, config: RolloutConfig | None = None
    ) -> None:
        """Check that they fit."""
        require_fit(loaded, environment)
        self.loaded, self.environment, self.robot = loaded, environment, loaded.embodiment
        self.config = RolloutConfig() if config is None else config
        self._now_ns = environment.now_ns
        self._topics: dict[str, list[Stream]] = {}
        for stream in loaded.embodiment.streams:
            self._topics.setdefault(stream.topic, []).append(stream)

    def episode(self, seed: int, tap: Tap | None = None) -> EpisodeResult:
        """Run one episode.

        Args:
            seed: of the scene.
            tap: is shown every message that goes over a topic.

        Raises:
            HptError: the environment cannot begin.
        """
        environment = self.environment
        environment.reset(seed)
        self._now_ns = environment.now_ns
        runtime = PolicyRuntime(
            self.loaded,
            self.config.control,
            encode_ahead=False,
            observes_apart=False,
            worker=LockStepWorker(
                self.loaded.policy,
                lambda: self._now_ns,  # that of an environment may move in steps
                self.config.inference_s,
                compensates=self.config.compensates,
            ),
        )
        try:
            return self._run(runtime, seed, tap)
        finally:
            runtime.end()

    def close(self) -> None:
        """Free the policy."""
        self.loaded.close()

    def _run(self, runtime: PolicyRuntime, seed: int, tap: Tap | None) -> EpisodeResult:
        environment, period_ns = self.environment, runtime.controller.period_ns
        set_task(runtime.task.set, self.loaded, environment)
        runtime.activate(enabled=True)
        start_ns = now_ns = judged_ns = environment.now_ns
        end_ns = start_ns + self.config.limit_ns(environment)
        done: tuple[Outcome, int] | None = None
        holds = refused = 0
        wanted: Refusal | None = None  # what it waited for before the first command
        far = False
        state = runtime.controller.state
        sent: list[Command] = []
        while now_ns < end_ns and state is not State.FAULT:
            now_ns += period_ns
            command = self._step(runtime, now_ns, tap)
            if not sent and not far:
                missing = runtime.controller.snapshot(runtime.to_control(now_ns)).missing
                if missing is not None:
                    wanted, far = (
                        missing.wanted,
                        missing.cause is Cause.START,
                    )  # which shows only when a chunk comes
            if command is not None:
                sent.append(command)
                refused += send(command, environment, self.robot, now_ns, tap)
            before, state = state, runtime.controller.state
            holds += before is State.RUNNING and state is not State.RUNNING
            if done is None and now_ns - judged_ns >= JUDGED_NS:
                judged_ns = now_ns
                if (outcome := environment.outcome()).success:
                    done, end_ns = (outcome, now_ns), end_of_success_ns(start_ns, now_ns, tap)
        outcome, ended_ns = done or (environment.outcome(), now_ns)
        times_s = runtime.metrics.arrays().get("inference_s", np.empty(0))
        unmoved = f"; nothing was commanded: waiting for {wanted}" if wanted and not sent else ""
        return EpisodeResult(
            seed=seed,
            success=outcome.success,
            progress=outcome.progress,
            duration_s=(ended_ns - start_ns) / NS_PER_S,
            detail=outcome.detail + unmoved,
            fault=str(runtime.controller.reason) if state is State.FAULT else "",
            holds=holds,
            counters=runtime.all_counters(),
            refused=refused,
            **motion_figures(sent, self.robot, period_ns / NS_PER_S),
            inference_s=float(np.median(times_s)) if len(times_s) else float("nan"),
        )

    def _step(self, runtime: PolicyRuntime, now_ns: int, tap: Tap | None) -> Command | None:
        """Let time run to the end of one control period, and everything that waits for it be done."""
        observations = runtime.observations
        # As the node's thread does: a tick is observed, and asked about, the moment that it has settled.
        due_ns = observations.due_ns(now_ns - runtime.controller.period_ns)
        while due_ns < now_ns:
            self._advance(runtime, due_ns, tap)
            observations.look(due_ns)
            observations.flush()
            due_ns = observations.due_ns(due_ns)
        self._advance(runtime, now_ns, tap)
        step = runtime.step(now_ns)
        if step.internal:
            raise RuntimeError(step.internal)
        observations.flush()
        return step.command

    def _advance(self, runtime: PolicyRuntime, now_ns: int, tap: Tap | None) -> None:
        """Let time run, and what arrives be read."""
        self._now_ns = now_ns
        for sample in self.environment.advance(now_ns):
            if tap is not None:
                tap.sample(sample)
            for stream in self._topics.get(sample.topic, ()):
                runtime.streams.message(stream, sample.message, sample.arrival_ns)


def end_of_success_ns(start_ns: int, now_ns: int, tap: Tap | None) -> int:
    """Return when an episode ends that began at one time and succeeded now: later if somebody records it."""
    return now_ns if tap is None else max(now_ns + AFTER_NS, start_ns + SHORTEST_NS)


def send(command: Moving, environment: Environment, robot: Embodiment, now_ns: int, tap: Tap | None) -> int:
    """Send a command to every output; returns how many of them the robot's controllers refused."""
    refused = 0
    sending = Sending(interface, now_ns, PAST_NS)
    for part in robot.space.parts:
        own = command.of(part.control, robot.space.ahead_ns(part))
        message = part.output.command.encode(own, part.output, sending)
        if tap is not None:
            tap.command(part.output.topic, message, now_ns)
        try:
            environment.command(part.output.topic, message)
        except HptError:
            refused += 1
    return refused


def motion_figures(sent: Sequence[Moving], robot: Embodiment, period_s: float) -> dict[str, float]:
    """Return how smooth the commanded motion was and how fast, by the names that `EpisodeResult` has for these."""
    velocities = np.array([command.velocity for command in sent])
    limits_used = float(np.max(np.abs(velocities) / robot.space.limits.velocity)) if sent else 0.0
    return {
        "arc_length": spectral_arc_length(velocities, period_s) if limits_used >= MOVED else float("nan"),
        "peak_jerk": peak_jerk(np.array([command.position for command in sent]), period_s),
        "limits_used": limits_used,
    }
