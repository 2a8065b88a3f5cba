# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How far bags that are converted side by side have come, in seconds of recording.

Processes of this machine share an array of seconds by bag. Machines of a cluster share none: there a bag counts when
its result has come.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from collections.abc import Callable, Iterator, Mapping, MutableSequence
from typing import Any

from hpt_ros.errors import format_count

# Called with what is being done, something about it, how much is done, and how much there is.
Progress = Callable[[str, str, float, float], None]
LOOK_EVERY_S = 0.5

# Seconds done of each bag, by its number; none in a process that shares no progress.
_done_s: MutableSequence[float] = []


def share_progress(done_s: MutableSequence[float]) -> None:
    """Set where `report_done` writes in this process."""
    global _done_s
    _done_s = done_s


def report_done(number: int, done_s: float) -> None:
    """Report how many seconds of a bag's recording are done."""
    if number < len(_done_s):
        _done_s[number] = done_s


class Watch:
    """Reports from time to time how far the bags have come, while their results are waited for.

    Attributes:
        done_s: seconds done of each bag by its number; hand it to worker processes for `share_progress`.
    """

    def __init__(self, lengths_s: Mapping[int, float], say: Progress) -> None:
        """Begin with no bag done.

        Args:
            lengths_s: of the recordings by their number, in the order in which they are finished.
            say: may be called from another thread.
        """
        # Each element is written by one process alone, so that no lock is needed.
        self.done_s: Any = multiprocessing.get_context("spawn").RawArray("d", 1 + max(lengths_s, default=0))
        share_progress(self.done_s)
        self._lengths_s, self._say = lengths_s, say
        self._finished = 0

    def count_finished(self) -> None:
        """Count the next bag as done: its result is there."""
        self._finished += 1
        self.look()

    def look(self) -> None:
        """Report now."""
        done = sum(
            length_s if place < self._finished else min(self.done_s[number], length_s)
            for place, (number, length_s) in enumerate(self._lengths_s.items())
        )
        bags = f"{self._finished} of {format_count(len(self._lengths_s), 'bag')}"
        self._say("converting", bags, done, sum(self._lengths_s.values()))

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Look at once, and then every `LOOK_EVERY_S` of wall time, in a thread."""
        self.look()
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(LOOK_EVERY_S):
                self.look()

        thread = threading.Thread(target=work, name="hpt-convert-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
