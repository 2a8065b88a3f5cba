# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How long this process's threads were ready to run while other processes had the cores."""

from __future__ import annotations

from collections import deque
from pathlib import Path

TASKS = Path("/proc/self/task")
NS_PER_S = 1e9


class Waits:
    """Longest wait for a core of any thread of this process, over the samples of a second or so.

    From ``/proc/self/task/*/schedstat``, whose second number is the nanoseconds that a thread spent waiting on a run
    queue (Linux, Documentation/scheduler/sched-stats.rst). Python's own lock, for which threads of one process wait
    asleep, is not in it.

    Args:
        samples: how many of them to look back.
    """

    def __init__(self, samples: int) -> None:
        self._kept: deque[dict[str, int]] = deque(maxlen=samples)

    def sample(self) -> None:
        """Read the numbers of all threads."""
        found = {}
        for task in TASKS.iterdir():
            try:
                found[task.name] = int((task / "schedstat").read_text().split()[1])
            except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                continue
        self._kept.append(found)

    @property
    def longest_s(self) -> float:
        """The longest that one thread waited from the first of the samples to the last."""
        if not self._kept:
            return 0.0
        first, last = self._kept[0], self._kept[-1]
        return max((waited - first.get(name, 0) for name, waited in last.items()), default=0) / NS_PER_S
