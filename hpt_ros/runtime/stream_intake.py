# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a message of a stream does: it is checked, its pose measured, its stream fresh, and observations get it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control import Controller, Watchdog
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.embodiment import Embodiment, Stream
from hpt_ros.errors import HptError, Refusal
from hpt_ros.modalities import IMAGE, LANGUAGE, STATE
from hpt_ros.observation import decode, measured_ns, require_frame
from hpt_ros.observation.checks import describe_stream
from hpt_ros.runtime.metrics import Metrics
from hpt_ros.runtime.observation_pipeline import ObservationPipeline
from hpt_ros.runtime.outcomes import undecodable
from hpt_ros.runtime.pose import MeasuredPose
from hpt_ros.runtime.task import Task

# Longest time that a message with the old clock's stamp may take to come, ours: what is later is stale in any case.
LONGEST_FLIGHT_S = 0.25
NO_CLOCK_BEFORE = -(2**63)


class StreamIntake:
    """Messages of one robot's streams. Not thread-safe: the node locks.

    Args:
        robot: whose streams.
        controller: that watches those it cannot do without.
        observations: that samples go to.
        task: that a stream of texts sets.
        metrics: of messages.
        to_control: control time of a ROS time.
        watched: streams that the controller watches.
    """

    def __init__(
        self,
        robot: Embodiment,
        controller: Controller,
        observations: ObservationPipeline,
        task: Task,
        metrics: Metrics,
        to_control: Callable[[int], int],
        watched: frozenset[str],
    ) -> None:
        """Start with nothing seen."""
        self._embodiment, self._controller, self._observations = robot, controller, observations
        self._task, self._metrics, self._to_control = task, metrics, to_control
        self._pose = MeasuredPose(robot)
        # Streams that measure where a Cartesian command's tool is, in its frame.
        self._framed = {part.pose: part for part in robot.action.parts if part.cartesian}
        self._watched = watched
        self._unwatched = Watchdog(
            controller.config.watchdog,
            {stream.name: stream.rate_hz for stream in robot.streams if stream.name not in watched},
        )
        # After a jump of ROS time, messages that were stamped before it are still under way. One that takes longer than
        # its stream's tolerance is of no use to a tick anyway.
        tolerances_s = (item.tolerance_s for item in robot.streams if not item.kind.holds)
        self._flight_ns = round(min(max(tolerances_s), LONGEST_FLIGHT_S) * NS_PER_S)
        self._unclear_until_ns = NO_CLOCK_BEFORE

    def clock_jumped(self, control_ns: int) -> None:
        """From now on, and for a while, a message may have the stamp of another clock."""
        self._unclear_until_ns = control_ns + self._flight_ns

    def reset(self) -> None:
        """Forget everything but where joints stand that are published only while they move."""
        self._unclear_until_ns = NO_CLOCK_BEFORE  # control time before which a stamp may be another clock's
        self._pose.reset()
        for name, value in self._pose.held.items():
            self._observations.hold(name, value)
        self._unwatched.reset()

    def succeed(self, other: StreamIntake) -> None:
        """Hold what another intake of the same robot holds."""
        self._pose.hold_as(other._pose)

    def message(self, stream: Stream, message: Any, arrival_ns: int) -> Refusal | None:
        """Take a message of a stream. Images and point clouds are decoded elsewhere; this never waits for that.

        Args:
            stream: of the embodiment.
            message: its message.
            arrival_ns: ROS time.

        Returns:
            Why it cannot be used; None if it was taken, or if it may be stamped by the clock as it was
            before a jump, and is not. Its stream then gets no fresher. What is wrong
            inside of an image or a point cloud is said by a later `step`.
        """
        if not stream.kind.holds and self._to_control(arrival_ns) < self._unclear_until_ns:
            self._observations.lost(stream)
            return None
        try:
            self._take(stream, message, arrival_ns)
        except HptError as error:
            self._controller.note_invalid_message()
            return error.refusal
        except Exception as error:  # whatever is in a message, the node goes on
            self._controller.note_invalid_message()
            return undecodable(stream, error)
        return None

    def sample(self, stream: Stream, value: NDArray[Any], stamp_ns: int) -> Refusal | None:
        """Take a sample that is decoded already, as a dataset has it; else as `message`.

        Args:
            stream: of the embodiment.
            value: as its message would be decoded.
            stamp_ns: ROS time at which it was measured and came.
        """
        try:
            self._took(stream, value, stamp_ns, stamp_ns)
        except HptError as error:
            self._controller.note_invalid_message()
            return error.refusal
        return None

    def keep(self, stream: Stream, message: Any, arrival_ns: int) -> None:
        """Note, while inactive, where the joints of a stream are that are published only while they move."""
        with contextlib.suppress(HptError):  # a stream that sends such messages is complained of while active
            stamp, value = measured_ns(stream, message, arrival_ns), decode(stream, message)
            if self._pose.saw(stream.name, stamp, arrival_ns, value)[1] >= 0 and stream.holding:
                self.note_fresh(stream, stamp, arrival_ns)

    def unseen(self, stream: str) -> tuple[str, ...]:
        """Elements of a state stream that no message had yet, where messages hold some joints only."""
        return self._pose.unseen(stream)

    def stream_ages_s(self, now_ns: int) -> dict[str, float]:
        """Age of every stream's newest usable message in seconds at a ROS time, NaN if never seen."""
        now_ns = self._to_control(now_ns)
        watched = self._controller.stream_ages_s(now_ns)
        return {
            stream.name: watched[stream.name]
            if stream.name in watched
            else self._unwatched.age_s(stream.name, now_ns)
            for stream in self._embodiment.streams
        }

    def stand(self, now_ns: int) -> None:
        """A robot that is published only while it moves, and is silent, is measured where it stands."""
        if not self._pose.holding or (measured := self._pose.newest()) is None:
            return
        longest_s = max(stream.tolerance_s for stream in self._embodiment.state_streams)
        if now_ns - measured[0] > longest_s * NS_PER_S:
            self._controller.note_pose(measured[1], self._to_control(now_ns))

    def note_fresh(self, stream: Stream, stamp: int, arrival_ns: int) -> None:
        """Note that a stream had a usable message, of these ROS times."""
        stamp, arrival_ns = self._to_control(stamp), self._to_control(arrival_ns)
        if stream.name in self._watched:
            self._controller.note_message(stream.name, stamp, arrival_ns)
        else:
            self._unwatched.note_message(stream.name, stamp, arrival_ns)

    def _take(self, stream: Stream, message: Any, arrival_ns: int) -> None:
        stamp = measured_ns(stream, message, arrival_ns)
        if not stream.message_type.decoded_late:
            if stream.name in self._framed:
                require_frame(self._framed[stream.name], message, describe_stream(stream))
            value = decode(stream, message)
            if stream.modality == LANGUAGE and (refused := self._task.set(str(value))):
                raise HptError.of(refused.within(f"stream {stream.name!r} (topic {stream.topic})"))
            self._took(stream, value, stamp, arrival_ns)
            return
        if stream.image is not None:
            # As they came: a driver that repeats its last buffer repeats every byte of it.
            raw = np.frombuffer(message.data, dtype=np.uint8)
            self._controller.note_frame(stream.name, raw)
        if self._observations.message(stream, message, stamp, arrival_ns):
            self.note_fresh(stream, stamp, arrival_ns)
        if stream.modality == IMAGE:
            self._metrics.add("image_delay_s", (arrival_ns - stamp) / NS_PER_S)

    def _took(self, stream: Stream, value: NDArray[Any], stamp: int, arrival_ns: int) -> None:
        if stream.modality == STATE:
            self._require_plausible(stream, value, stamp)
        self._observations.sample(stream, value, stamp, arrival_ns)
        seen = (stamp, arrival_ns)
        if stream.modality == STATE:
            seen = self._pose.saw(stream.name, stamp, arrival_ns, value)
            if (measured := self._pose.newest()) is not None and measured[0] >= 0:
                self._controller.note_pose(measured[1], self._to_control(measured[0]))
        if seen[1] >= 0:
            self.note_fresh(stream, *seen)

    def _require_plausible(self, stream: Stream, value: NDArray[Any], stamp: int) -> None:
        pose = self._pose.would_be(stream.name, value)
        if pose is None:
            return
        part = np.isnan(value).tobytes() if stream.partial else b""
        jumped = self._controller.check_plausible(stream.name, part, pose, self._to_control(stamp))
        if jumped is not None:
            raise HptError.of(replace(jumped, subject=describe_stream(stream)))
