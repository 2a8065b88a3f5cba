# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A clock that was set back while a bag was recorded: what came after it lies, by log time, among what came before.

Sorting by log time mixes two stretches of one recording, and nothing in the sorted messages tells. The order of the
file does: there, the log times of a topic go back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpt_ros.observation.time_series import nanoseconds, seconds
from rosbag_tools.reading.channels import Integers

# Messages of one topic overtake one another by less than this: they are received in order by one clock.
LEAST_S = 0.1
# A topic whose times go back more often than this was not written in the order of time at all.
MOST = 8


@dataclass(frozen=True, slots=True)
class SetBack:
    """One stretch of log times that a bag has twice.

    Attributes:
        start_ns, end_ns: first and last log time of it.
        back_s: by how much the clock was set back.
    """

    start_ns: int
    end_ns: int
    back_s: float

    def sentence(self, bag_start_ns: int) -> str:
        """Say what is lost."""
        return (
            f"the clock was set back by {self.back_s:.3f} s while it was recorded: the "
            f"{seconds(self.end_ns - self.start_ns):.3f} s from {seconds(self.start_ns - bag_start_ns):.2f} s after "
            "its start are there twice and mixed, and are cut out"
        )


def find_set_backs(topics: Mapping[str, Sequence[Integers]]) -> tuple[SetBack, ...]:
    """Stretches of log times that topics have twice, in order, each once.

    Args:
        topics: log times in the order in which they were written, a series for each file.
    """
    found = [item for series in topics.values() if len(series) for item in _of_topic(np.concatenate(series))]
    return tuple(_unite(sorted(found, key=lambda item: item.start_ns)))


def longest_clear(bag_ns: tuple[int, int], cut: Sequence[SetBack]) -> tuple[int, int]:
    """First and last log time of the longest stretch of a bag that nothing is cut out of."""
    edges = [bag_ns[0] - 1, *(edge for item in cut for edge in (item.start_ns, item.end_ns)), bag_ns[1] + 1]
    stretches = [(first + 1, last - 1) for first, last in zip(edges[::2], edges[1::2], strict=True)]
    return max(stretches, key=lambda item: item[1] - item[0])


def _of_topic(times_ns: Integers) -> Iterable[SetBack]:
    steps = np.diff(times_ns)
    places = np.flatnonzero(steps < -nanoseconds(LEAST_S)) + 1
    if not 0 < len(places) <= MOST:
        return
    parts = np.split(times_ns, places)
    for number, later in enumerate(parts):
        for earlier in parts[:number]:
            start_ns = max(int(earlier.min()), int(later.min()))
            end_ns = min(int(earlier.max()), int(later.max()))
            if start_ns <= end_ns:
                yield SetBack(start_ns, end_ns, seconds(int(-steps[places - 1].min())))


def _unite(found: Sequence[SetBack]) -> Iterable[SetBack]:
    """Stretches that touch are one: each topic sees the clock at its own messages."""
    present: SetBack | None = None
    for item in found:
        if present is not None and item.start_ns <= present.end_ns + nanoseconds(LEAST_S):
            present = SetBack(
                present.start_ns, max(present.end_ns, item.end_ns), max(present.back_s, item.back_s)
            )
            continue
        if present is not None:
            yield present
        present = item
    if present is not None:
        yield present
