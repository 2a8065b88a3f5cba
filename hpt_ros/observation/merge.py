# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Joint states of one topic that come in parts, such as arm and gripper in messages of their own, as one vector.

Each part (a set of joints that came together) keeps samples of its own, so that a joint is interpolated between the
messages that had it, at whatever rate each part comes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Stream
from hpt_ros.observation.checks import DecodeError
from hpt_ros.observation.track import Sample, Track, between, seconds

# A driver that sends each joint by itself has as many parts as joints; what has more than this is no driver.
MAX_PARTS = 64


@dataclass
class _Part:
    """Samples that hold the same elements of the vector."""

    elements: tuple[int, ...]
    track: Track


@dataclass
class MergedTrack:
    """As `Track`, for vectors with NaN at the joints that a message had not."""

    stream: Stream
    capacity: int
    _parts: dict[bytes, _Part] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._newest = np.full(self.stream.dim, np.nan)
        self._stamps_ns = np.full(self.stream.dim, -1, np.int64)  # of `_newest`; -1: never seen
        self._arrivals_ns = np.full(self.stream.dim, -1, np.int64)

    def insert(self, sample: Sample) -> None:
        """Add a sample.

        Raises:
            DecodeError: messages with more different sets of joints than `MAX_PARTS`.
        """
        value = sample.resolve()
        held = ~np.isnan(value)
        if not held.any():
            return  # of another driver on the same topic
        key = held.tobytes()
        if key not in self._parts:
            if len(self._parts) >= MAX_PARTS:
                raise DecodeError(
                    f"stream {self.stream.name!r} (topic {self.stream.topic}) has messages with more than {MAX_PARTS} "
                    "different sets of joints, but each driver was expected to send the same joints every time; check "
                    "what publishes on the topic"
                )
            self._parts[key] = _Part(tuple(np.flatnonzero(held).tolist()), Track(self.capacity))
        self._parts[key].track.insert(sample)
        newer = held & (sample.stamp_ns >= self._stamps_ns)
        self._newest[newer] = value[newer]
        self._stamps_ns[newer] = sample.stamp_ns
        self._arrivals_ns[held] = sample.arrival_ns

    def forget_before(self, time_ns: int) -> None:
        """Drop what no later tick can use."""
        for part in self._parts.values():
            part.track.forget_before(time_ns)

    def newest(self) -> tuple[int, NDArray[np.float64]] | None:
        """Of the joints' newest stamps the oldest, and their newest values; None until each joint was seen."""
        if self._stamps_ns.min() < 0:
            return None
        return int(self._stamps_ns.min()), self._newest.copy()

    @property
    def least_fresh_ns(self) -> tuple[int, int]:
        """Stamp and arrival of the joint that was not seen for longest; -1 if one was never seen."""
        return int(self._stamps_ns.min()), int(self._arrivals_ns.min())

    def stamp_at_or_before(self, time_ns: int) -> int | None:
        """Of the joints' newest stamps at or before `time_ns` the oldest; None if a joint has none."""
        before, _ = self._around(time_ns)
        stamps_ns = [sample.stamp_ns for sample in before if sample is not None]
        return min(stamps_ns) if len(stamps_ns) == len(before) else None

    def interpolated(self, time_ns: int, tolerance_ns: int) -> NDArray[np.float64] | str:
        """As `Track.interpolated`, each element between the samples that have it; else which has none, and why."""
        value = np.empty(self.stream.dim)
        around = zip(self.stream.names, *self._around(time_ns), strict=True)
        for index, (name, before, after) in enumerate(around):
            if before is None:
                return f"{name!r} never seen" if after is None else f"{name!r} not seen before the tick"
            age_ns = time_ns - before.stamp_ns
            if age_ns > tolerance_ns:
                return (
                    f"newest {name!r} is {seconds(age_ns):.3f} s old (tolerance {seconds(tolerance_ns):g} s)"
                )
            value[index] = between(before, after, time_ns, tolerance_ns)[index]
        return value

    def _around(self, time_ns: int) -> tuple[list[Sample | None], list[Sample | None]]:
        """Of each element the newest sample at or before a time, and the oldest after it."""
        before: list[Sample | None] = [None] * self.stream.dim
        after: list[Sample | None] = [None] * self.stream.dim
        for part in self._parts.values():
            samples = part.track.samples
            start = part.track.at_or_before(time_ns)
            for element in part.elements:
                if start >= 0 and _stamp(before[element], -1) <= samples[start].stamp_ns:
                    before[element] = samples[start]
                if (
                    start + 1 < len(samples)
                    and not 0 <= _stamp(after[element], -1) < samples[start + 1].stamp_ns
                ):
                    after[element] = samples[start + 1]
        return before, after


def _stamp(sample: Sample | None, none: int) -> int:
    return none if sample is None else sample.stamp_ns
