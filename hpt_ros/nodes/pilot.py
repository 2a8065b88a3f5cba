"""From messages to commands without ROS: observations, worker and controller of one robot, time as an argument."""

from __future__ import annotations

import time
import traceback
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control import Chunk, Command, ControlConfig, Controller, Limits, StreamRate
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.embodiment import Stream
from hpt_ros.errors import HptError
from hpt_ros.nodes.inference import InferenceWorker, Observation, Request, Result
from hpt_ros.nodes.metrics import Metrics
from hpt_ros.nodes.policies import LoadedPolicy, position_indices
from hpt_ros.observation import ObservationBuffer, ObservationWindow, Tick, decode, stamp_ns, view_size

# A tick older than this part of the tick's period (after it settled) is not worth an inference: the next is nearer. The
# queue falls to half at the time of an action, which is that of a tick, when the newest one known is a period old.
FRESH_PART = 0.5
ARRIVALS_KEPT = 64  # newest messages of a stream whose steady arrival is known; a tick is younger than that


@dataclass(frozen=True, slots=True)
class Step:
    """What one control period gave.

    Attributes:
        command: to send, or None.
        result: an inference that has just finished, or None.
        problem: why its chunk was not taken; empty if it was.
        internal: trace of a fault of ours, which stopped the robot; empty if there was none.
    """

    command: Command | None
    result: Result | None = None
    problem: str = ""
    internal: str = ""


class Pilot:
    """One robot, from configuration to cleanup. Not thread-safe: the node locks."""

    def __init__(self, loaded: LoadedPolicy, config: ControlConfig) -> None:
        """Make an inactive pilot; starts the worker's thread.

        Raises:
            HptError: the embodiment cannot be driven, e.g. a commanded joint is not observed.
        """
        robot = loaded.embodiment
        if robot.image_streams:
            view_size(robot)  # refuses views of different sizes now rather than at the first observation
        self.embodiment, self.loaded, self.task = robot, loaded, robot.task
        self._positions = position_indices(robot)
        self.controller = Controller(
            config,
            Limits(robot.lower, robot.upper, robot.max_velocity, robot.max_acceleration),
            robot.action.names,
            [StreamRate(stream.name, stream.rate_hz) for stream in robot.streams],
            rate_hz=config.command_rate_hz or robot.action.rate_hz,
            latency_s=robot.action.latency_s,
        )
        self.buffer = ObservationBuffer(robot)
        self.window = ObservationWindow(robot, loaded.horizon)
        self.metrics = Metrics()
        self.worker = InferenceWorker(loaded.policy)
        self.dropped_tick = ""  # why the newest tick is no observation
        self._generation = 0
        self._chunks = 0
        self._requests: dict[int, Request] = {}  # by number of the chunk, until its first command
        self._fresh_ns = round((self.buffer.settle_s + FRESH_PART * robot.dt_s) * NS_PER_S)
        self._asked_ns = -1  # tick of the newest request
        self._states: dict[str, tuple[int, NDArray[Any]]] = {}  # newest of each state stream, with its stamp
        self._arrivals: dict[str, deque[tuple[int, int]]] = {
            stream.name: deque(maxlen=ARRIVALS_KEPT) for stream in robot.streams
        }  # header stamp and steady arrival
        self._sent: tuple[int, int] | None = None  # ROS and steady time of the last command
        self._forget()

    def activate(self, *, enabled: bool) -> None:
        """Begin an episode with nothing remembered; timings go on."""
        self._forget()
        self.controller.activate(enabled=enabled)

    def deactivate(self) -> None:
        """Forget everything; a chunk still being computed will be thrown away."""
        self.controller.deactivate()
        self._forget()

    def close(self) -> bool:
        """End the worker; False if the policy did not come back."""
        return self.worker.close()

    def message(self, stream: Stream, message: Any, arrival_ns: int) -> str:
        """Take a message of a stream.

        Args:
            stream: of the embodiment.
            message: its message.
            arrival_ns: node time.

        Returns:
            Why it cannot be used, a sentence; empty if it was taken. Its stream then gets no fresher.
        """
        try:
            value = decode(stream, message)
            stamp = stamp_ns(message, arrival_ns)
            self.buffer.push(stream.name, stamp, arrival_ns, value)
        except HptError as error:
            self.controller.invalid_message()
            return str(error)
        except Exception as error:  # whatever is in a message, the node goes on
            self.controller.invalid_message()
            return (
                f"stream {stream.name!r} (topic {stream.topic}) has a message that cannot be decoded "
                f"({type(error).__name__}: {' '.join(str(error).split())[:200]}); check the driver"
            )
        self.controller.message(stream.name, stamp, arrival_ns)
        self._arrivals[stream.name].append((stamp, time.monotonic_ns()))
        if stream.modality == "image":
            self.metrics.add("image_delay_s", (arrival_ns - stamp) / NS_PER_S)
            self.controller.guards.frozen.saw(stream.name, value, self.controller.session.measured)
        else:
            self._states[stream.name] = (stamp, value)
            if len(self._states) == len(self.embodiment.state_streams):
                newest = [self._states[item.name] for item in self.embodiment.state_streams]
                pose = np.concatenate([values for _, values in newest])[self._positions]
                self.controller.measured(pose, min(at_ns for at_ns, _ in newest))
        return ""

    def step(self, now_ns: int) -> Step:
        """One control period: never waits for the policy.

        A fault of ours in anything but the controller stops the robot, and the controller goes on to brake it.
        """
        start_ns = time.monotonic_ns()
        result, problem, internal = None, "", ""
        try:
            result, problem = self._finished(now_ns)
            self.controller.inference_running(self.worker.busy_s())
            self._observe(now_ns)
        except Exception as error:
            internal = self._failed(error)
        command = self.controller.step(now_ns)
        try:
            if command is not None:
                self._measure(command, now_ns, start_ns)
            self._ask(now_ns)
        except Exception as error:
            internal = self._failed(error)
        self.metrics.add("control_s", (time.monotonic_ns() - start_ns) / NS_PER_S)
        return Step(command, result, problem, internal)

    def _failed(self, error: Exception) -> str:
        self.controller.stop(f"internal error, {type(error).__name__}: {error}")
        return traceback.format_exc()

    def _observe(self, now_ns: int) -> None:
        for tick in self.buffer.ticks_ready(now_ns):
            if self.window.push(tick):
                self.dropped_tick = ""
            else:
                self.dropped_tick = "; ".join(tick.missing.values())

    def _finished(self, now_ns: int) -> tuple[Result | None, str]:
        result = self.worker.take()
        if result is None or result.request.generation != self._generation:
            return None, ""
        self.metrics.add("inference_s", result.duration_s)
        if result.values is None:
            self.controller.inference_error(result.error)
            return result, result.error
        self._chunks += 1
        problem = self.controller.chunk(
            result.request.observation.stamp_ns, self.embodiment.dt_s, result.values, now_ns, self._chunks
        )
        if not problem:
            self._requests = {self._chunks: result.request, **_newest(self._requests)}
        return result, problem

    def _ask(self, now_ns: int) -> None:
        tick = self.window.latest
        if tick is None or tick.stamp_ns == self._asked_ns or not self.worker.idle:
            return
        if now_ns - tick.stamp_ns > self._fresh_ns or not self.controller.wants_chunk(now_ns):
            return
        image_ns, arrival_ns = self._newest_input(tick)
        observation = Observation(tick.stamp_ns, self.window.inputs(), self.task)
        if self.worker.submit(Request(observation, self._generation, image_ns, arrival_ns)):
            self._asked_ns = tick.stamp_ns

    def _newest_input(self, tick: Tick) -> tuple[int, int | None]:
        """Header stamp and steady arrival of the tick's newest image, or of its newest state without images."""
        streams = self.embodiment.image_streams or self.embodiment.streams
        name = min((stream.name for stream in streams), key=lambda item: tick.ages_s[item])
        stamp = tick.stamp_ns - round(tick.ages_s[name] * NS_PER_S)
        for seen_ns, steady_ns in reversed(self._arrivals[name]):
            if abs(seen_ns - stamp) <= 1:  # ages are rounded
                return seen_ns, steady_ns
        return stamp, None

    def _measure(self, command: Command, now_ns: int, steady_ns: int) -> None:
        if self._sent is not None:
            ros_s, steady_s = (now_ns - self._sent[0]) / NS_PER_S, (steady_ns - self._sent[1]) / NS_PER_S
            self.metrics.add("command_interval_s", ros_s)
            self.metrics.add("command_interval_steady_s", steady_s)
            self.metrics.add("command_jitter_s", abs(steady_s - self.controller.period_ns / NS_PER_S))
        self._sent = (now_ns, steady_ns)
        request = self._request_of(command.chunk)
        if request is not None:
            self.metrics.add("image_to_command_s", (now_ns - request.image_stamp_ns) / NS_PER_S)
            if request.arrival_steady_ns is not None:
                waited_ns = time.monotonic_ns() - request.arrival_steady_ns
                self.metrics.add("image_to_command_steady_s", waited_ns / NS_PER_S)

    def _request_of(self, chunk: Chunk | None) -> Request | None:
        return None if chunk is None else self._requests.pop(chunk.number, None)

    def _forget(self) -> None:
        self._generation += 1
        self.buffer.reset("the policy node was activated or deactivated")
        self.window.reset()
        self.dropped_tick = ""
        self._asked_ns = -1
        self._requests.clear()
        self._states.clear()
        for arrivals in self._arrivals.values():
            arrivals.clear()
        self._sent = None


def _newest(requests: dict[int, Request]) -> dict[int, Request]:
    """At most a few chunks wait for their first command; one that never had it must not stay for ever."""
    return {number: requests[number] for number in sorted(requests)[-4:]}
