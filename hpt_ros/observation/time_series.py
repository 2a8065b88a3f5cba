# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Samples of one stream in the order of their stamps, and the two ways to ask for a value at a time."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.angles import shortest
from hpt_ros.errors import Refusal
from hpt_ros.observation.stamps import NS_PER_S

Value = NDArray[Any] | Callable[[], NDArray[Any]]


def seconds(nanoseconds: int) -> float:
    """Nanoseconds as seconds, for people and messages."""
    return nanoseconds / NS_PER_S


def nanoseconds(seconds_: float) -> int:
    """Seconds as the nearest nanosecond."""
    return round(seconds_ * NS_PER_S)


class Absence(str, Enum):
    """Why a stream has no value at a tick."""

    NEVER_SEEN = "never_seen"
    NOT_YET = "not_yet"  # its first sample is after the tick
    TOO_OLD = "too_old"  # older than the stream's tolerance
    NO_NEXT = "no_next"  # an action is what is measured next, and nothing is


class Restart(str, Enum):
    """Why all samples were forgotten."""

    BACK = "back"  # the clock went back
    FORWARD = "forward"  # the clock jumped
    STAMPS = "stamps"  # the stamps of one stream went back
    ASKED = "asked"  # the caller began anew


def last_refused(absence: Refusal, last: Refusal | None) -> Refusal:
    """Return why there is no value, with why the newest message did not count, if it did not."""
    if last is None:
        return absence
    return replace(absence, problem=f"{absence.problem}; its last message was refused", cause=last)


NEVER_SEEN = Refusal(Absence.NEVER_SEEN, problem="never seen")


@dataclass(frozen=True)
class TickGrid:
    """The times k / tick_hz of ticks, exact in integer nanoseconds for every k (stamps exceed a float's 53 bits)."""

    tick_hz: float

    @cached_property
    def _period(self) -> tuple[int, int]:
        """Numerator and denominator of the period in ns: as exact as fractions, and many times faster."""
        return (Fraction(NS_PER_S) / Fraction(repr(self.tick_hz))).as_integer_ratio()

    def time_ns(self, index: int) -> int:
        """Time of tick `index`, rounded half up."""
        numerator, denominator = self._period
        return (2 * index * numerator + denominator) // (2 * denominator)

    def first_at_or_after(self, time_ns: int) -> int:
        """Index of the first tick whose time is not before `time_ns`."""
        numerator, denominator = self._period
        index = -(-time_ns * denominator // numerator) - 1
        while self.time_ns(index) < time_ns:
            index += 1
        return index


@dataclass
class Sample:
    """A value with its times; an image's value may be a function that decodes it when a tick first needs it."""

    stamp_ns: int
    arrival_ns: int
    value: Value
    order: int = 0  # of pushes to a stream whose messages come in parts

    def resolve(self) -> NDArray[Any]:
        """The value, decoded once."""
        if callable(self.value):
            self.value = self.value()
        return self.value


@dataclass
class TimeSeries:
    """Samples sorted by stamp, `capacity` at most; of samples with the same stamp the one pushed last counts."""

    capacity: int
    samples: list[Sample] = field(default_factory=list)
    angles: NDArray[np.bool_] | None = (
        None  # (dim,) true for those of continuous joints; None: there are none
    )

    def insert(self, sample: Sample) -> None:
        """Add a sample; when full, the oldest goes."""
        if not self.samples or self.samples[-1].stamp_ns <= sample.stamp_ns:
            self.samples.append(sample)  # as nearly always
        else:
            self.samples.insert(self.at_or_before(sample.stamp_ns) + 1, sample)
        if len(self.samples) > self.capacity:
            del self.samples[0]

    def at_or_before(self, time_ns: int) -> int:
        """Index of the newest sample stamped at or before `time_ns`; -1 if there is none."""
        return bisect.bisect_right(self.samples, time_ns, key=lambda item: item.stamp_ns) - 1

    def after(self, time_ns: int) -> Sample | None:
        """The oldest sample stamped after `time_ns`, of several with the same stamp the one pushed last; or None."""
        first = self.at_or_before(time_ns) + 1
        return (
            self.samples[self.at_or_before(self.samples[first].stamp_ns)]
            if first < len(self.samples)
            else None
        )

    def forget_before(self, time_ns: int) -> None:
        """Drop what no later tick can use: all before the newest sample at or before `time_ns`."""
        del self.samples[: max(0, self.at_or_before(time_ns))]

    def remove(self, sample: Sample) -> None:
        """Take a sample out again, because its value turned out to be unusable."""
        self.samples = [item for item in self.samples if item is not sample]

    def find_held(self, time_ns: int, tolerance_ns: int) -> Sample | Refusal:
        """The newest sample at or before `time_ns` and not older than the tolerance; else why there is none."""
        index = self.at_or_before(time_ns)
        if index < 0:
            if not self.samples:
                return NEVER_SEEN
            late_s = seconds(self.samples[0].stamp_ns - time_ns)
            return Refusal(
                Absence.NOT_YET, "first sample", late_s, problem=f"is {late_s:.3f} s after the tick"
            )
        sample = self.samples[index]
        age_ns = time_ns - sample.stamp_ns
        if age_ns > tolerance_ns:
            return too_old("newest sample", age_ns, tolerance_ns)
        return sample

    def interpolate(self, time_ns: int, tolerance_ns: int) -> NDArray[np.float64] | Refusal:
        """Value at `time_ns`, linear between the samples around it; else why there is none.

        The sample before must lie within the tolerance. When none after it does, the one before is held.
        """
        before = self.find_held(time_ns, tolerance_ns)
        if isinstance(before, Refusal):
            return before
        return between(before, self.after(time_ns), time_ns, tolerance_ns, self.angles)

    def stamp_at_or_before(self, time_ns: int) -> int | None:
        """Stamp of the newest sample at or before `time_ns`; None if there is none."""
        index = self.at_or_before(time_ns)
        return self.samples[index].stamp_ns if index >= 0 else None

    def newest(self) -> tuple[int, NDArray[Any]] | None:
        """Stamp and value of the newest sample; None if there is none."""
        return (self.samples[-1].stamp_ns, self.samples[-1].resolve()) if self.samples else None


def too_old(subject: str, age_ns: int, tolerance_ns: int) -> Refusal:
    """Return why a sample of that age does not count."""
    age_s, tolerance_s = seconds(age_ns), seconds(tolerance_ns)
    problem = f"is {age_s:.3f} s old (tolerance {tolerance_s:g} s)"
    return Refusal(Absence.TOO_OLD, subject, age_s, problem=problem)


def between(
    before: Sample,
    after: Sample | None,
    time_ns: int,
    tolerance_ns: int,
    angles: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Value at `time_ns` on the line between two samples around it; `before`'s if the other is too far, or None.

    `angles` (dim,) go the short way round.
    """
    start = before.resolve()
    if before.stamp_ns == time_ns or after is None or after.stamp_ns - time_ns > tolerance_ns:
        return start
    weight = (time_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
    rise = after.resolve() - start
    if angles is not None:
        rise = np.where(angles, shortest(rise), rise)
    value: NDArray[np.float64] = start + rise * weight
    return value
