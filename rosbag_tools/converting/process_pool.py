# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Conversion in several processes of this machine, this one among them, which Ctrl-C ends without a word."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, TypeVar

from hpt_ros.interrupts import interrupts_count, interrupts_wait

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_in_processes(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int, prepare: Callable[[], None]
) -> Iterator[tuple[Job, Callable[[], Result]]]:
    """Each job and how to get its result, in the order of the jobs.

    Args:
        work: what is done with a job; it and the jobs are pickled.
        jobs: one or more.
        workers: processes, at most, this one included: a new one is half a second of importing, so that it does a job
            from the end of the list itself whenever the next result is not there. One, or one job: no new process.
        prepare: called once in each new process, and not in this one.
    """
    if workers <= 1 or len(jobs) == 1:
        for job in jobs:
            yield job, functools.partial(work, job)
        return
    # Spawned, not forked: the parent may have threads of OpenCV and FFmpeg.
    context = multiprocessing.get_context("spawn")
    waiting, results = deque(range(len(jobs))), [Future[Result]() for _ in jobs]
    with ProcessPoolExecutor(min(workers, len(jobs)) - 1, mp_context=context, initializer=prepare) as pool:

        def hand_over() -> None:
            """Give a process the next job, and others after it. A pool would fetch more of them than it works on."""
            with contextlib.suppress(IndexError):
                index = waiting.popleft()
                with _errors_of(results[index]):
                    future = pool.submit(_interruptible, work, jobs[index])
                    future.add_done_callback(functools.partial(receive, index))

        def receive(index: int, future: Future[Result]) -> None:
            hand_over()
            if (error := future.exception()) is not None:  # an interrupt too
                results[index].set_exception(error)
            else:
                results[index].set_result(future.result())

        with interrupts_wait():
            for _ in range(min(workers, len(jobs)) - 1):
                hand_over()
        try:
            for job, result in zip(jobs, results, strict=True):
                while waiting and not result.done():
                    with contextlib.suppress(IndexError):  # a process was faster
                        last = waiting.pop()
                        with _errors_of(results[last]):
                            results[last].set_result(work(jobs[last]))
                yield job, result.result
        finally:
            waiting.clear()


@contextlib.contextmanager
def _errors_of(result: Future[Any]) -> Iterator[None]:
    """Let errors be raised by those who ask for the result."""
    try:
        yield
    except Exception as error:
        result.set_exception(error)


def _interruptible(work: Callable[[Job], Result], job: Job) -> Result:
    with interrupts_count():
        return work(job)
