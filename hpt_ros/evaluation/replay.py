# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A recording through the robot's own path: observation pipeline, policy, chunk queue, controller; nobody moves.

Messages arrive as they did, the runtime decodes and resamples them, the policy is asked and its chunks go through the
real controller; what it commands is measured and dropped, since what was observed is what was recorded (open loop). The
watch over whether the robot follows is off for that reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control import Command, ControlConfig, State, TrackingConfig
from hpt_ros.embodiment import Embodiment, Stream
from hpt_ros.errors import Code, HptError
from hpt_ros.evaluation.rollout import NS_PER_S, motion_figures
from hpt_ros.evaluation.worker import LockStepWorker
from hpt_ros.observation import SETTLE_S, TickGrid
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.policies.protocol import ChunkPolicy, Observation
from hpt_ros.runtime.policy_runtime import PolicyRuntime

Floats = NDArray[np.float64]
AFTER_NS: Final = 300_000_000  # after the last message: until its ticks are settled
NO_TRACKING: Final = TrackingConfig(error=100.0)  # the largest there is


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message of a stream, or what a dataset has of it at a tick.

    Attributes:
        stream: of the policy's robot.
        arrival_ns: when it came.
        message: as it came; None of what is decoded already.
        value: the decoded sample, measured at `arrival_ns`; None of a message.
    """

    stream: Stream
    arrival_ns: int
    message: Any = None
    value: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded episode.

    Attributes:
        name: for people.
        task: its text; empty: the policy's default.
        actions: index of a tick to the action (A,) that was recorded at it.
        arrivals: makes its messages, in the order of their arrival.
    """

    name: str
    task: str
    actions: Mapping[int, Floats]
    arrivals: Callable[[], Iterable[Arrival]]


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """How a recording is replayed.

    Attributes:
        inference_s: what an inference takes on the recording's clock.
        control: parameters of the controller; its watch over tracking is switched off.
    """

    inference_s: float = 0.05
    control: ControlConfig = field(default_factory=ControlConfig)

    def __post_init__(self) -> None:
        """Refuse times that are none."""
        if not 0.0 <= self.inference_s <= 10.0:
            raise HptError(
                Code.OUT_OF_RANGE, "the time of an inference", self.inference_s, expected="0 to 10 s"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What a policy would have done.

    Attributes:
        name: of the recording.
        ticks: (N,) indices of the ticks from which a chunk was predicted.
        chunks: (N, K, A) these, absolute.
        recorded: (N, K, A) what was recorded at their times; NaN beyond the episode's end or a gap.
        jumps: (S, A) from one chunk to the next at the moment that the next one came into use.
        times_s: (M,) of the commands, since the first tick.
        commands: (M, C) positions of the control vector.
        arc_length, peak_jerk: of the commands, as in `hpt_ros.evaluation.rollout.EpisodeResult`.
        limits_used: largest ratio of a commanded velocity to its limit.
        running_ratio: of the time, how much the controller ran.
        holds: times that it stopped moving to wait for something.
        fault: why it stopped by itself; empty if it did not.
        waited: what it waited for at last, where it never ran; as a robot that is not at rest when a policy begins.
        counters: the runtime's, by name.
        refused: messages that could not be used: stream and why, each once.
    """

    name: str
    ticks: NDArray[np.int64]
    chunks: Floats
    recorded: Floats
    jumps: Floats
    times_s: Floats
    commands: Floats
    arc_length: float
    peak_jerk: float
    limits_used: float
    running_ratio: float
    holds: int
    fault: str
    waited: str
    counters: Mapping[str, int]
    refused: tuple[str, ...]


class _Asked:
    """A policy that remembers what it answered at each tick, so that it is asked once."""

    def __init__(self, policy: ChunkPolicy) -> None:
        self._policy = policy
        self.answers: dict[int, Floats] = {}  # by the observation's time

    def predict(self, observation: Observation) -> Floats:
        """Return the chunk of an observation."""
        if observation.stamp_ns not in self.answers:
            chunk = np.asarray(self._policy.predict(observation), dtype=np.float64)
            self.answers[observation.stamp_ns] = chunk
        return self.answers[observation.stamp_ns]

    def reset(self) -> None:
        """Forget past observations."""
        self._policy.reset()


def replay(recording: Recording, loaded: LoadedPolicy, config: ReplayConfig | None = None) -> Replay:
    """Replay a recording.

    Args:
        recording: of the policy's robot.
        loaded: the policy.
        config: how.

    Raises:
        HptError: the policy does not know the task, or the recording has nothing that it can act on.
    """
    config = ReplayConfig() if config is None else config
    now_ns = 0
    asked = _Asked(loaded.policy)
    runtime = PolicyRuntime(
        loaded,
        replace(config.control, tracking=NO_TRACKING),
        encode_ahead=False,
        observes_apart=False,
        worker=LockStepWorker(asked, lambda: now_ns, config.inference_s),
    )
    period_ns = runtime.controller.period_ns
    sent: list[Command] = []
    taken: list[tuple[int, int, Floats]] = []  # taken at, of the tick at, the chunk
    ticks: dict[int, int] = {}  # index to stamp
    refused: dict[str, None] = {}
    holds = running = steps = 0
    fault, waited, state = "", "", runtime.controller.state
    try:
        _set_task(runtime, recording.task)
        runtime.activate(enabled=True)
        arrivals = iter(recording.arrivals())
        coming = next(arrivals, None)
        last_ns = coming.arrival_ns if coming is not None else 0
        now_ns = _start(last_ns, loaded.embodiment, period_ns)
        while now_ns < last_ns + AFTER_NS:
            now_ns += period_ns
            while coming is not None and coming.arrival_ns <= now_ns:
                problem = _arrive(runtime, coming)
                if problem is not None:
                    refused[f"{coming.stream.name}: {problem}"] = None
                last_ns, coming = coming.arrival_ns, next(arrivals, None)
            if coming is not None:
                last_ns = coming.arrival_ns
            step = runtime.step(now_ns)
            if step.internal:
                raise RuntimeError(step.internal)
            runtime.observations.flush()
            refused |= {f"{name}: {why}": None for name, why in step.complaints}
            if step.command is not None:
                sent.append(step.command)
            if step.result is not None and step.result.values is not None and step.problem is None:
                taken.append((now_ns, step.result.request.observation.stamp_ns, step.result.values))
            before, state = state, runtime.controller.state
            if coming is not None:  # that nothing comes after the end is no hold
                holds += before is State.RUNNING and state is not State.RUNNING
                running, steps = running + (state is State.RUNNING), steps + 1
                missing = runtime.controller.snapshot(now_ns).missing if not running else None
                waited = str(missing.wanted) if missing is not None else waited
            fault = fault or (str(runtime.controller.reason) if state is State.FAULT else "")
            tick = runtime.observations.window.latest
            if tick is not None and tick.index not in ticks and tick.index in recording.actions:
                ticks[tick.index] = tick.stamp_ns
                window = runtime.observations.window
                asked.predict(Observation(tick.stamp_ns, window.inputs(), runtime.task.text, window.keys))
        counters = runtime.all_counters()
    finally:
        runtime.end()
    return _measure(
        recording, loaded.embodiment, asked, ticks, sent, taken, period_ns / NS_PER_S,
        holds=holds, running_ratio=running / max(steps, 1), fault=fault,
        waited="" if running else waited, counters=counters, refused=tuple(refused),
    )  # fmt: skip


def _start(first_ns: int, robot: Embodiment, period_ns: int) -> int:
    """Return a period before the controller first steps: so that a step comes just when a tick settles.

    On the robot a thread looks at a tick at that moment, whatever the controller's phase; here a step does.
    """
    grid = TickGrid(robot.tick_hz)
    return grid.time_ns(grid.first_at_or_after(first_ns) - 1) + round(SETTLE_S * NS_PER_S) - period_ns


def _set_task(runtime: PolicyRuntime, task: str) -> None:
    wanted = task or runtime.task.default()
    if runtime.loaded.tasks and (problem := runtime.task.set(wanted)) is not None:
        raise HptError.of(problem)
    runtime.task.text = wanted


def _arrive(runtime: PolicyRuntime, arrival: Arrival) -> object:
    """Hand a message on; returns why it cannot be used, or None."""
    if arrival.value is None:
        return runtime.streams.message(arrival.stream, arrival.message, arrival.arrival_ns)
    return runtime.streams.sample(arrival.stream, arrival.value, arrival.arrival_ns)


def _measure(
    recording: Recording,
    robot: Embodiment,
    asked: _Asked,
    ticks: Mapping[int, int],
    sent: Sequence[Command],
    taken: Sequence[tuple[int, int, Floats]],
    period_s: float,
    **rest: Any,
) -> Replay:
    indices = sorted(index for index in ticks if index in recording.actions)
    if not indices:
        said = f": {rest['refused'][0]}" if rest["refused"] else ""
        raise HptError(
            Code.EMPTY, f"the recording {recording.name!r}",
            problem=f"has no tick at which all streams are there{said}",
            remedy="look at it with 'hpt inspect', or leave it out",
        )  # fmt: skip
    chunks = np.array([asked.answers[ticks[index]] for index in indices])
    recorded = np.full_like(chunks, np.nan)
    for row, index in enumerate(indices):
        for step in range(chunks.shape[1]):
            action = recording.actions.get(index + step)
            if action is None:
                break
            recorded[row, step] = action
    size = len(robot.space.names)
    positions = np.array([command.position for command in sent]).reshape(len(sent), size)
    start_ns = ticks[indices[0]]
    return Replay(
        name=recording.name,
        ticks=np.array(indices, dtype=np.int64),
        chunks=chunks,
        recorded=recorded,
        jumps=seam_jumps(taken, robot),
        times_s=np.array([(command.time_ns - start_ns) / NS_PER_S for command in sent]),
        commands=positions,
        **(rest | motion_figures(sent, robot, period_s)),
    )


def seam_jumps(taken: Sequence[tuple[int, int, Floats]], robot: Embodiment) -> Floats:
    """Return how far each chunk is from the one before, (S, A), where it comes into use; none where that is used up.

    Args:
        taken: when each came into use, the time of its first action, and its actions (K, A).
        robot: whose actions they are.
    """
    found = []
    for (_, first_ns, before), (now_ns, second_ns, after) in pairwise(taken):
        old, new = (
            _at(chunk, (now_ns - start_ns) / NS_PER_S / robot.dt_s)
            for chunk, start_ns in ((before, first_ns), (after, second_ns))
        )
        if old is not None and new is not None:
            found.append(np.abs(robot.space.shortest(new - old)))
    return np.array(found).reshape(len(found), robot.action.dim)


def _at(chunk: Floats, position: float) -> Floats | None:
    """Return a chunk's action at a location between its steps; None after its end."""
    if not 0.0 <= position <= len(chunk) - 1:
        return None
    low = min(int(position), len(chunk) - 2)
    value: Floats = chunk[low] + (position - low) * (chunk[low + 1] - chunk[low])
    return value


@dataclass(frozen=True, slots=True)
class Figures:
    """What replays come to, over all of them.

    Attributes:
        ticks: that were predicted from.
        errors: (K, A) mean absolute errors of each dimension at each step of the chunk.
        jump_mean, jump_max: (A,) of the seams.
        outside: (A,) ratio of the predicted actions that lie outside the position limits.
        too_fast: (A,) ratio of the steps within chunks that are faster than the velocity limit.
    """

    ticks: int
    errors: Floats
    jump_mean: Floats
    jump_max: Floats
    outside: Floats
    too_fast: Floats


def summarise(replays: Sequence[Replay], robot: Embodiment) -> Figures:
    """Return the figures over all replays of a robot."""
    space, dim = robot.space, robot.action.dim
    errors = np.concatenate([space.shortest(item.chunks - item.recorded) for item in replays])
    with np.errstate(invalid="ignore"):
        real = np.isfinite(errors)
        sums, counts = np.where(real, np.abs(errors), 0.0).sum(0), np.maximum(real.sum(0), 1)
    chunks = np.concatenate([item.chunks for item in replays])
    jumps = np.concatenate([item.jumps for item in replays])
    # An angle of a continuous joint has no limit.
    beyond = ((chunks < robot.lower) | (chunks > robot.upper)) & ~space.angles
    speeds = np.abs(space.shortest(np.diff(chunks, axis=1))) / robot.dt_s
    return Figures(
        ticks=len(chunks),
        errors=sums / counts,
        jump_mean=jumps.mean(0) if len(jumps) else np.full(dim, np.nan),
        jump_max=jumps.max(0) if len(jumps) else np.full(dim, np.nan),
        outside=beyond.mean((0, 1)),
        too_fast=(speeds > robot.max_velocity * (1 + 1e-9)).mean((0, 1)),
    )
