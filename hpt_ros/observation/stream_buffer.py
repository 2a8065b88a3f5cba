# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is known of one stream: its samples, and how fresh they are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Stream
from hpt_ros.errors import Code, HptError, Refusal
from hpt_ros.observation.checks import InvalidSampleError
from hpt_ros.observation.joint_merge import JointMerge
from hpt_ros.observation.time_series import NEVER_SEEN, Sample, TimeSeries, Value, nanoseconds, seconds


@dataclass
class StreamBuffer:
    """A stream's samples.

    Some modalities are linear between samples; of others the newest at or before the time counts. A text holds until
    the next one, however old it is, and through a jump of the clock: publishers often say it once. So does a joint that
    is published only while it moves.

    Args:
        stream: of the embodiment.
        capacity: samples retained at most.
        carried: text from before a jump of the clock; of a state, where the joints that hold were.
    """

    stream: Stream
    capacity: int
    carried: NDArray[Any] | None = None
    track: TimeSeries | JointMerge = field(init=False)
    newest_stamp_ns: int = field(default=-1, init=False)  # survives `forget_before`; -1: never seen
    newest_arrival_ns: int = field(default=-1, init=False)
    refused: Refusal | None = field(default=None, init=False)  # why the newest message did not count

    def __post_init__(self) -> None:
        self.tolerance_ns = nanoseconds(self.stream.tolerance_s)
        self.shape, self.dtype = self.stream.shape, np.dtype(self.stream.kind.dtype)
        merged = self.stream.partial or self.stream.holds
        self.track = (
            JointMerge(self.stream, self.capacity, self.carried) if merged else TimeSeries(self.capacity)
        )

    def insert(self, sample: Sample) -> None:
        """Add a sample."""
        self.track.insert(sample)
        self.newest_stamp_ns = max(self.newest_stamp_ns, sample.stamp_ns)
        self.newest_arrival_ns = sample.arrival_ns
        self.refused = None

    def value_at(self, time_ns: int) -> NDArray[Any] | Refusal:
        """The stream's value at a time, or why there is none."""
        if isinstance(self.track, JointMerge) or self.stream.kind.linear:
            return self.track.interpolate(time_ns, self.tolerance_ns)
        if self.stream.kind.holds:
            value = self._hold_last(time_ns)
            return NEVER_SEEN if value is None else value
        while not isinstance(sample := self.track.find_held(time_ns, self.tolerance_ns), Refusal):
            try:
                return sample.resolve()
            except InvalidSampleError as error:
                # As if it had never come: the one before may still be within the tolerance.
                self.track.remove(sample)
                self.refused = error.refusal
        return sample

    def age_s(self, time_ns: int) -> float:
        """A time minus the stamp of the newest sample at or before it; infinite if there is none."""
        stamp_ns = self.track.stamp_at_or_before(time_ns)
        return math.inf if stamp_ns is None else seconds(time_ns - stamp_ns)

    def arrival_age_s(self, now_ns: int) -> float:
        """Age of the newest usable sample at arrival time `now_ns`; infinite if it was never seen.

        The larger of the ages by stamp and by arrival: a stamp from the future must not look fresh for ever.
        """
        times_ns = (self.newest_stamp_ns, self.newest_arrival_ns)
        if isinstance(self.track, JointMerge):
            times_ns = self.track.least_fresh_ns
        return seconds(now_ns - min(times_ns)) if times_ns[1] >= 0 else math.inf

    def newest(self) -> tuple[int, NDArray[Any]] | None:
        """Stamp and value of the newest sample, as the track says."""
        return self.track.newest()

    def to_carry(self) -> NDArray[Any] | None:
        """What to carry through a jump of the clock: a text, and where joints that hold are."""
        if isinstance(self.track, JointMerge):
            return self.track.to_carry()
        if not self.stream.kind.holds:
            return None
        newest = self.newest()
        return self.carried if newest is None else newest[1]

    def _hold_last(self, time_ns: int) -> NDArray[Any] | None:
        assert isinstance(self.track, TimeSeries)
        index = self.track.at_or_before(time_ns)
        return self.carried if index < 0 else self.track.samples[index].resolve()


def check_sample(feed: StreamBuffer, value: Value) -> None:
    """Raise HptError unless an array has the shape and type of the stream's samples."""
    if callable(value):
        return
    if value.shape != feed.shape or value.dtype.type != feed.dtype.type:
        raise HptError(
            Code.WRONG_SHAPE, f"stream {feed.stream.name!r}", value.shape,
            problem=f"was given an array of shape {{value}} and type {value.dtype}",
            expected=f"{feed.shape} and {feed.dtype.name}", remedy="pass what decode returns",
        )  # fmt: skip
