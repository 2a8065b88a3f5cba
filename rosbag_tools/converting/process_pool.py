# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Conversion in several processes of this machine, which Ctrl-C ends without a word."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

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
        workers: processes, at most; with one, or one job, everything is done in this process.
        prepare: called once in each new process, and not in this one.
    """
    if workers <= 1 or len(jobs) == 1:
        for job in jobs:
            yield job, functools.partial(work, job)
        return
    # Spawned, not forked: the parent may have threads of OpenCV and FFmpeg.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=prepare) as pool:
        interruptible = functools.partial(_interruptible, work)
        with interrupts_wait():
            futures: list[Future[Result]] = [pool.submit(interruptible, job) for job in jobs]
        try:
            for job, future in zip(jobs, futures, strict=True):
                yield job, future.result
        finally:
            for future in futures:
                future.cancel()


def _interruptible(work: Callable[[Job], Result], job: Job) -> Result:
    with interrupts_count():
        return work(job)
