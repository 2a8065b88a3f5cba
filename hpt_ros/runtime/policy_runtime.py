# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""From messages to commands without ROS: observations, worker and controller of one robot, time as an argument.

Messages, ticks and observations are named by ROS time, which may be set; the controller lives on control time, which
may not (`hpt_ros.control.clock`). The runtime stands between them: it takes and gives ROS time.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control import (
    Command,
    ControlConfig,
    Controller,
    Fault,
    Kinematics,
    Limits,
    StreamRate,
)
from hpt_ros.control.chunk import NS_PER_S, shape_refusal
from hpt_ros.control.refusals import Why
from hpt_ros.errors import Code, Refusal
from hpt_ros.modalities import LANGUAGE, STATE
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.policies.protocol import EncodesAhead, Observation
from hpt_ros.runtime.inference_worker import InferenceWorker, Result, Worker
from hpt_ros.runtime.metrics import Metrics, Stages
from hpt_ros.runtime.observation_pipeline import ObservationPipeline
from hpt_ros.runtime.stream_intake import StreamIntake
from hpt_ros.runtime.task import Task

WITHOUT = "the policy goes on without its modality"

COUNTERS = (
    "inputs_lost",  # a stream of an optional modality went stale
    "messages_overrun",  # messages thrown away because decoding does not keep up
)


@dataclass(frozen=True, slots=True)
class Step:
    """What one control period gave.

    Attributes:
        command: to send, or None.
        result: an inference that has just finished, or None.
        problem: why its chunk was not taken; None if it was.
        internal: trace of an internal error, which stopped the robot; None if there was none.
        complaints: of messages that could not be used: stream name and why.
        lost: streams that the policy can do without and now must: stream name and why.
    """

    command: Command | None
    result: Result | None = None
    problem: Refusal | None = None
    internal: str | None = None
    complaints: tuple[tuple[str, Refusal], ...] = ()
    lost: tuple[tuple[str, Refusal], ...] = ()


@dataclass(slots=True)
class _Heard:
    """What the other threads reported in one period."""

    result: Result | None = None
    problem: Refusal | None = None
    internal: str | None = None
    complaints: tuple[tuple[str, Refusal], ...] = ()
    lost: tuple[tuple[str, Refusal], ...] = ()


class PolicyRuntime:
    """One robot, from configuration to cleanup. Not thread-safe: the node locks.

    Attributes:
        ahead_ns: ROS time less control time, set by whoever reads the clocks; 0 where both are one.
        streams: takes messages.
        task: what the robot is to do.
    """

    def __init__(
        self,
        loaded: LoadedPolicy,
        config: ControlConfig,
        *,
        clock: Callable[[], int] | None = None,
        kinematics: Kinematics | None = None,
        encode_ahead: bool = True,
        worker: Worker | None = None,
        observes_apart: bool = True,
    ) -> None:
        """Make an inactive runtime; starts the threads of the worker and of the observations.

        Args:
            loaded: the policy.
            config: of the controller.
            clock: node time in ns, for the observations; None: only `step` says what time it is.
            kinematics: of the robot, where the workspace needs it.
            encode_ahead: whether the worker encodes new ticks while it has nothing else to do.
            worker: that asks the policy; None makes the one with a thread of its own.
            observes_apart: False: observations have no thread, and wait for `observations.flush`.

        Raises:
            HptError: the embodiment cannot be driven, e.g. a commanded joint is not observed.
        """
        robot = loaded.embodiment
        for modality in robot.modalities:
            modality.shape(
                robot.streams_of(modality.name)
            )  # refuses different sizes now rather than at a tick
        self.embodiment, self.loaded, self.task = robot, loaded, Task(loaded)
        self.kinematics = kinematics
        # A task's text counts until the next one comes, so nobody waits for one. Where the robot is must be known,
        # even if the policy does without.
        self._optional = frozenset({*loaded.optional, LANGUAGE} - {STATE})
        rates = {
            stream.name: StreamRate(stream.name, stream.rate_hz, stream.holding)
            for stream in robot.streams
            if stream.modality not in self._optional
        }
        space, limits = robot.space, robot.space.limits
        self.controller = Controller(
            config,
            Limits(
                limits.lower, limits.upper, limits.velocity, limits.acceleration, limits.jerk, space.rates
            ),
            space.names,
            list(rates.values()),
            rate_hz=config.command_rate_hz or robot.action.rate_hz,
            latency_s=min(part.latency_s for part in robot.action.parts),
            kinematics=kinematics,
            grippers=robot.action.grippers,
            ahead_s=space.ahead_s,
            turns=space.turns,
            wraps=space.wraps,
        )
        self.metrics = Metrics()
        self.worker: Worker = InferenceWorker(loaded.policy) if worker is None else worker
        try:
            self.observations = ObservationPipeline(
                robot,
                self.worker,
                horizon=loaded.horizon,
                optional=self._optional,
                clock=clock,
                own_thread=observes_apart,
            )
        except BaseException:
            self.worker.close()  # its thread would stay
            raise
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.ahead_ns = 0
        self.streams = StreamIntake(
            robot, self.controller, self.observations, self.task, self.metrics, self.to_control,
            frozenset(rates),
        )  # fmt: skip
        self.encode_ahead(encode_ahead)
        self._generation = 0
        self._chunks = 0
        self._stages = Stages(self.metrics, self.controller.period_ns)
        self._absent: frozenset[str] = frozenset()
        self._forget()

    def encode_ahead(self, wanted: bool) -> None:
        """Encode new ticks ahead, or not; a policy that sees one tick only has nothing to gain from it."""
        able = isinstance(self.loaded.policy, EncodesAhead) and self.loaded.horizon > 1
        self.observations.encode_ahead = wanted and able

    def activate(self, *, enabled: bool) -> None:
        """Begin an episode with nothing remembered; timings go on."""
        self.counters = dict.fromkeys(COUNTERS, 0)
        self._forget()
        self.controller.activate(enabled=enabled)

    def deactivate(self) -> None:
        """Forget everything; a chunk still being computed will be thrown away."""
        self.controller.deactivate()
        self._forget()

    def clock_jumped(self, reason: Refusal, now_ns: int) -> None:
        """Brake, hold, and forget all observations: their stamps and those to come are of two clocks.

        Args:
            reason: what happened.
            now_ns: ROS time; `ahead_ns` is set already.
        """
        self._forget()
        self.streams.clock_jumped(self.to_control(now_ns))
        self.controller.note_clock_jump(reason)

    def to_control(self, ros_ns: int) -> int:
        """Control time of a ROS time."""
        return ros_ns - self.ahead_ns

    def to_ros(self, control_ns: int) -> int:
        """ROS time of a control time."""
        return control_ns + self.ahead_ns

    def on_ros_time(self, command: Command) -> Command:
        """A command of the controller, due at a ROS time."""
        return command.later(self.ahead_ns)

    def close(self) -> bool:
        """End the threads and release the policy; False if it did not come back."""
        self.loaded.close()
        return self.end()

    def end(self) -> bool:
        """End the threads; the policy stays usable. False if it did not come back."""
        self.observations.close()
        return self.worker.close()

    def all_counters(self) -> dict[str, int]:
        """The controller's counters and the runtime's own, since activation."""
        return {**self.controller.counters, **self.counters}

    def succeed(self, other: PolicyRuntime) -> None:
        """Go on from the last command, and what the robot holds, of another runtime of it, which is not active."""
        held = [stream.name for stream in self.embodiment.streams if stream.holding]
        self.controller.succeed(other.controller, held)
        self.streams.succeed(other.streams)

    def step(self, now_ns: int) -> Step:
        """One control period: never waits for the policy. Takes ROS time, and its command is due at a ROS time.

        An internal error in anything but the controller stops the robot, and the controller goes on to brake it.
        """
        start_ns = time.monotonic_ns()
        heard = _Heard()
        try:
            self._listen(now_ns, heard)
        except Exception as error:
            heard.internal = self._fail(error)
        self.streams.stand(now_ns)
        command = self.controller.step(self.to_control(now_ns))
        try:
            if command is not None:
                command = self.on_ros_time(command)
                if math.isfinite(lead_s := self.controller.margin_s):
                    self.metrics.add("lead_s", lead_s)
                self._stages.commanded(command, now_ns, start_ns)
                self.observations.commanded(command.time_ns, now_ns, command.position, command.velocity)
            self.observations.poll(
                now_ns, wanted=self.controller.wants_chunk(self.to_control(now_ns)), task=self.task.text
            )
        except Exception as error:
            heard.internal = self._fail(error)
        self.metrics.add("control_s", (time.monotonic_ns() - start_ns) / NS_PER_S)
        return Step(command, heard.result, heard.problem, heard.internal, heard.complaints, heard.lost)

    def _fail(self, error: Exception) -> str:
        return self._stop_internal(f"{type(error).__name__}: {error}", traceback.format_exc())

    def _stop_internal(self, words: str, trace: str) -> str:
        self.controller.stop(Refusal(Code.INTERNAL, "internal error,", problem=words), Fault.INTERNAL)
        return trace

    def _listen(self, now_ns: int, heard: _Heard) -> None:
        """Take what worker and observations have done since the last period."""
        report = self.observations.report()
        if report.internal:
            heard.internal = self._stop_internal(report.internal.splitlines()[0], report.internal)
        heard.complaints = tuple(
            (outcome.stream.name, outcome.problem)
            for outcome in report.outcomes
            if outcome.problem is not None
        )
        for _ in heard.complaints:
            self.controller.note_invalid_message()
        for outcome in report.outcomes:
            if outcome.problem is None:
                self.streams.note_fresh(outcome.stream, outcome.stamp_ns, outcome.arrival_ns)
        self.counters["messages_overrun"] = self.observations.overruns
        heard.lost = self._newly_absent()
        heard.result, heard.problem = self._take_result(now_ns)
        self.controller.note_inference_running(self.worker.busy_s())
        self.controller.note_incomplete(self._incomplete())

    def _incomplete(self) -> Refusal | None:
        missing = self.observations.missing
        if not missing:
            return None
        listed = "; ".join(f"stream {name!r}: {why}" for name, why in missing.items())
        return Refusal(Why.INCOMPLETE, "no observation", dict(missing), problem=f"is complete: {listed}")

    def _newly_absent(self) -> tuple[tuple[str, Refusal], ...]:
        absent = {
            name: reason
            for name, reason in self.observations.absent.items()
            if not self.embodiment.stream(name).kind.holds
        }
        lost = tuple(
            (
                name,
                Refusal(Why.UNSEEN, f"stream {name!r}", problem="is absent", cause=reason, remedy=WITHOUT),
            )
            for name, reason in absent.items()
            if name not in self._absent
        )
        self._absent = frozenset(absent)
        self.counters["inputs_lost"] += len(lost)
        return lost

    def _take_result(self, now_ns: int) -> tuple[Result | None, Refusal | None]:
        if (failed := self.worker.take_failure()) is not None:
            self.controller.note_inference_error(failed)
            return None, failed
        result = self.worker.take()
        if result is None or result.request.generation != self._generation:
            return None, None
        self.metrics.add("inference_s", result.duration_s)
        if result.values is None:
            assert result.error is not None
            self.controller.note_inference_error(result.error)
            return result, result.error
        self._chunks += 1
        problem = self._chunk(result.request.observation, result.values, now_ns)
        if problem is None:
            self._stages.taken(self._chunks, result)
        return result, problem

    def _chunk(self, observation: Observation, values: NDArray[np.float64], now_ns: int) -> Refusal | None:
        """Hand a chunk of absolute actions to the controller in its own space; returns why it was refused."""
        robot = self.embodiment
        if (refused := shape_refusal(values, robot.action.dim)) is not None:
            return self.controller.refuse_chunk(refused)
        control = robot.space.to_control(values, observation.inputs["state"][0, -1])
        return self.controller.take_chunk(
            self.to_control(observation.stamp_ns), robot.dt_s, control, self.to_control(now_ns), self._chunks
        )

    def _forget(self) -> None:
        self._generation += 1
        self.observations.reset(self._generation)
        self.worker.reset()
        self.streams.reset()
        self._absent = frozenset()
        self._stages.reset()
