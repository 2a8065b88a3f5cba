# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Joint states of one topic that come in parts, such as arm and gripper in messages of their own, as one vector.

Each part (a set of joints that came together) keeps samples of its own, so that a joint is interpolated between the
messages that had it, at whatever rate each part comes. A joint that is published only while it moves (`Stream.holds`)
stands where it was last, however long ago.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Stream
from hpt_ros.errors import Code, Refusal
from hpt_ros.observation.checks import DecodeError
from hpt_ros.observation.time_series import Absence, Sample, TimeSeries, between, too_old

# A driver that sends each joint by itself has as many parts as joints; what has more than this is no driver.
MAX_PARTS = 64


@dataclass
class _Part:
    """Samples that hold the same elements of the vector."""

    elements: tuple[int, ...]
    track: TimeSeries


@dataclass
class JointMerge:
    """As `TimeSeries`, for vectors with NaN at the joints that a message had not.

    Attributes:
        carried: (dim,) what holding joints were at before the first sample, NaN where that is not known.
    """

    stream: Stream
    capacity: int
    carried: NDArray[np.float64] | None = None
    _parts: dict[bytes, _Part] = field(default_factory=dict, init=False)
    _pushes: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._newest = np.full(self.stream.dim, np.nan)
        self._stamps_ns = np.full(self.stream.dim, -1, np.int64)  # of `_newest`; -1: never seen
        self._arrivals_ns = np.full(self.stream.dim, -1, np.int64)
        self._holds = np.array(self.stream.elements_of(self.stream.holds), dtype=bool)
        # Whose age counts: of a stream that holds as a whole, that of its newest message.
        self._aged = np.ones_like(self._holds) if self._holds.all() else ~self._holds
        self._oldest = np.max if self._holds.all() else np.min
        known = np.full(self.stream.dim, np.nan) if self.carried is None else self.carried
        self.carried = np.where(self._holds, known, np.nan)

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
                    Code.INVALID, f"stream {self.stream.name!r} (topic {self.stream.topic})", MAX_PARTS,
                    problem="has messages with more than {value} different sets of joints",
                    expected="the same joints in every message of a driver",
                    remedy="check what publishes on the topic",
                )  # fmt: skip
            self._parts[key] = _Part(tuple(np.flatnonzero(held).tolist()), TimeSeries(self.capacity))
        sample.order = self._pushes
        self._pushes += 1
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
        """Of the joints' newest stamps the oldest, and their newest values; None until each joint was seen.

        Stamps of joints that hold do not count, but where all hold: then the newest does, -1 if only a carried value is
        known.
        """
        assert self.carried is not None
        seen = self._stamps_ns >= 0
        if not (seen | np.isfinite(self.carried)).all():
            return None
        return int(self._oldest(self._stamps_ns[self._aged])), np.where(seen, self._newest, self.carried)

    def list_unseen(self) -> tuple[str, ...]:
        """Names of elements that nothing is known of."""
        assert self.carried is not None
        known = (self._stamps_ns >= 0) | np.isfinite(self.carried)
        return tuple(name for name, there in zip(self.stream.names, known, strict=True) if not there)

    def to_carry(self) -> NDArray[np.float64] | None:
        """(dim,) what joints that hold are at, NaN for the others; None if that is known of none."""
        assert self.carried is not None
        found = np.where(self._holds & (self._stamps_ns >= 0), self._newest, self.carried)
        return None if np.isnan(found).all() else found

    @property
    def least_fresh_ns(self) -> tuple[int, int]:
        """Stamp and arrival of the joint that was not seen for longest; -1 if one was never seen.

        Joints that hold need only be known, but where all hold: then the newest counts.
        """
        if self.newest() is None:
            return -1, -1
        stamps_ns, arrivals_ns = self._stamps_ns[self._aged], self._arrivals_ns[self._aged]
        return int(self._oldest(stamps_ns)), int(self._oldest(arrivals_ns))

    def stamp_at_or_before(self, time_ns: int) -> int | None:
        """Of the joints' newest stamps at or before `time_ns` the oldest; None if a joint has none."""
        before, _ = self._around(time_ns)
        aged = [sample for sample, counts in zip(before, self._aged, strict=True) if counts]
        stamps_ns = [sample.stamp_ns for sample in aged if sample is not None]
        return int(self._oldest(stamps_ns)) if stamps_ns and len(stamps_ns) == len(aged) else None

    def interpolate(self, time_ns: int, tolerance_ns: int) -> NDArray[np.float64] | Refusal:
        """As `TimeSeries.interpolate`, each element between the samples that have it; else which has none, and why."""
        value = np.empty(self.stream.dim)
        around = zip(self.stream.names, *self._around(time_ns), strict=True)
        for index, (name, before, after) in enumerate(around):
            holds = bool(self._holds[index])
            if before is None and self.carried is not None and np.isfinite(self.carried[index]):
                value[index] = self.carried[index]
                continue
            if before is None:
                if after is None:
                    return Refusal(Absence.NEVER_SEEN, repr(name), problem="never seen")
                return Refusal(Absence.NOT_YET, repr(name), problem="not seen before the tick")
            age_ns = time_ns - before.stamp_ns
            if age_ns > tolerance_ns and not holds:
                return too_old(f"newest {name!r}", age_ns, tolerance_ns)
            if holds and after is not None and after.stamp_ns - before.stamp_ns > tolerance_ns:
                after = None  # of the next motion: until then it stood
            value[index] = between(before, after, time_ns, tolerance_ns)[index]
        return value

    def _around(self, time_ns: int) -> tuple[list[Sample | None], list[Sample | None]]:
        """Of each element the newest sample at or before a time, and the oldest after it.

        Of samples with the same stamp, in one part or in several, the one pushed last counts.
        """
        before: list[Sample | None] = [None] * self.stream.dim
        after: list[Sample | None] = [None] * self.stream.dim
        for part in self._parts.values():
            start = part.track.at_or_before(time_ns)
            at, then = part.track.samples[start] if start >= 0 else None, part.track.after(time_ns)
            for element in part.elements:
                best, next_ = before[element], after[element]
                if at is not None and (best is None or _age_order(at) > _age_order(best)):
                    before[element] = at
                if then is not None and (next_ is None or _wait_order(then) < _wait_order(next_)):
                    after[element] = then
        return before, after


def _age_order(sample: Sample) -> tuple[int, int]:
    return sample.stamp_ns, sample.order


def _wait_order(sample: Sample) -> tuple[int, int]:
    return sample.stamp_ns, -sample.order
