# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Timings that the node keeps for reports; bounded, oldest forgotten."""

from __future__ import annotations

import math
import time
from collections import deque

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control import Command
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.runtime.inference_worker import InferenceResult

KEPT = 100_000  # about 17 minutes of commands at 100 Hz, 1 MB
RECENT = 100  # what status messages look at

NAMES = (
    "image_delay_s",
    "message_s",
    "tick_wait_s",
    "decode_s",
    "request_s",
    "worker_wait_s",
    "inference_s",
    "command_wait_s",
    "image_to_command_s",
    "image_to_command_steady_s",
    "command_interval_s",
    "command_interval_steady_s",
    "command_jitter_s",
    "control_s",
    "lead_s",
)


class Metrics:
    """Arrays of durations in seconds.

    | name | from | to | clock |
    | --- | --- | --- | --- |
    | image_delay_s | header stamp of an image | its arrival | ROS |
    | message_s | the node is handed a message | it is stored, or with the thread that decodes it | steady |
    | tick_wait_s | arrival of a chunk's newest image | its tick has settled and is resolved | steady |
    | decode_s | that | its images are decoded and its states interpolated | steady |
    | request_s | that | a chunk is wanted, the inputs are assembled and with the worker | steady |
    | worker_wait_s | that | policy called | steady |
    | inference_s | policy called | policy returned | steady |
    | command_wait_s | that | control timer called for the first command with that chunk in it | steady |
    | image_to_command_s | header stamp of the newest image | first command with that chunk in it | ROS |
    | image_to_command_steady_s | arrival of that image | the same | steady |
    | command_interval_s | a command sent | the next command sent | ROS |
    | command_interval_steady_s | a command sent | the next command sent | steady |
    | command_jitter_s | that interval | less the period, without sign | steady |
    | control_s | control timer called | control timer done | steady |
    | lead_s | control timer called, in motion | when the robot begins to brake, without a further command | steady |
    """

    def __init__(self) -> None:
        """Start empty."""
        self._values: dict[str, deque[float]] = {name: deque(maxlen=KEPT) for name in NAMES}

    def add(self, name: str, value_s: float) -> None:
        """Add a duration."""
        self._values[name].append(value_s)

    def clear(self) -> None:
        """Forget all."""
        for values in self._values.values():
            values.clear()

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """A copy of everything retained."""
        return {name: np.array(list(values), dtype=np.float64) for name, values in self._values.items()}

    def newest(self, name: str) -> float:
        """The newest value; NaN if there is none."""
        values = self._values[name]
        return values[-1] if values else math.nan

    def recent(self, name: str, percentile: float = 50.0) -> float:
        """A percentile of the newest `RECENT` values; NaN if there are none."""
        values = self._values[name]
        if not values:
            return math.nan
        newest = [values[index] for index in range(max(0, len(values) - RECENT), len(values))]
        return float(np.percentile(newest, percentile))


class LatencyStages:
    """Measures each chunk's way from its newest image to the first command that comes from it."""

    def __init__(self, metrics: Metrics, period_ns: int) -> None:
        """Start with nothing on its way; commands are to be `period_ns` apart."""
        self._metrics, self._period_ns = metrics, period_ns
        self.reset()

    def reset(self) -> None:
        """Forget what is on its way; what was measured stays."""
        self._results: dict[int, InferenceResult] = {}  # by number of the chunk, until its first command
        self._sent: tuple[int, int] | None = None  # ROS and steady time of the last command

    def note_chunk(self, number: int, result: InferenceResult) -> None:
        """Note that a chunk was taken."""
        self._results[number] = result
        # At most a few chunks wait for their first command; one that never had it must not stay for ever.
        self._results = {key: self._results[key] for key in sorted(self._results)[-5:]}

    def note_command(self, command: Command, now_ns: int, steady_ns: int) -> None:
        """Note a command and the times, ROS and steady, at which the control timer was called for it."""
        add = self._metrics.add
        if self._sent is not None:
            steady_s = (steady_ns - self._sent[1]) / NS_PER_S
            add("command_interval_s", (now_ns - self._sent[0]) / NS_PER_S)
            add("command_interval_steady_s", steady_s)
            add("command_jitter_s", abs(steady_s - self._period_ns / NS_PER_S))
        self._sent = (now_ns, steady_ns)
        result = None if command.chunk is None else self._results.pop(command.chunk.number, None)
        if result is None:
            return
        add("image_to_command_s", (now_ns - result.request.image_stamp_ns) / NS_PER_S)
        marks = result.request.marks
        began_ns = result.finished_ns - round(result.duration_s * NS_PER_S)
        way = (
            ("tick_wait_s", marks.arrival_ns, marks.due_ns),
            ("decode_s", marks.due_ns, marks.ready_ns),
            ("request_s", marks.ready_ns, marks.submitted_ns),
            ("worker_wait_s", marks.submitted_ns, began_ns),
            ("command_wait_s", result.finished_ns, steady_ns),
            ("image_to_command_steady_s", marks.arrival_ns, time.monotonic_ns()),
        )
        for name, start_ns, end_ns in way:
            if start_ns is not None and end_ns is not None:
                add(name, (end_ns - start_ns) / NS_PER_S)
