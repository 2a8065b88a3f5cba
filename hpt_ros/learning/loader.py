# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A background thread that makes the next batches while the network works on this one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")

AHEAD = 3  # batches held ready: enough to even out a slow read, few enough to stay small in memory


class Prefetcher(Generic[T]):
    """Calls ``make(step)`` for step = first .. stop - 1 in a thread and hands the results out in order."""

    def __init__(self, make: Callable[[int], T], first: int, stop: int) -> None:
        self._make, self._first, self._stop = make, first, stop
        self._queue: queue.Queue[T | BaseException] = queue.Queue(AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hpt-batches", daemon=True)
        self._thread.start()

    def next(self) -> T:
        """The next batch; waits for it. Raises what `make` raised."""
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        for step in range(self._first, self._stop):
            try:
                item: T | BaseException = self._make(step)
            except BaseException as error:  # raised again in the caller's thread
                item = error
            while not self._closed.is_set():
                try:
                    self._queue.put(item, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if self._closed.is_set() or isinstance(item, BaseException):
                return


@contextmanager
def prefetched(make: Callable[[int], T], first: int, stop: int) -> Iterator[Prefetcher[T]]:
    """A `Prefetcher` that is closed at the end of the block."""
    prefetcher = Prefetcher(make, first, stop)
    try:
        yield prefetcher
    finally:
        prefetcher.close()
