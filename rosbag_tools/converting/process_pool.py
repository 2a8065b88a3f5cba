# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Conversion in several processes of this machine, which Ctrl-C ends without a word."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

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
        with _interrupts(signal.SIG_BLOCK):  # what is started now inherits it
            futures: list[Future[Result]] = [pool.submit(interruptible, job) for job in jobs]
        try:
            for job, future in zip(jobs, futures, strict=True):
                yield job, future.result
        finally:
            for future in futures:
                future.cancel()


def _interruptible(work: Callable[[Job], Result], job: Job) -> Result:
    """Work in a process whose interrupts wait: they count during the work alone, which then ends as if it had failed.

    At any other time they would end the process with a trace on the terminal, and the parent might wait for ever.
    """
    with _interrupts(signal.SIG_UNBLOCK):
        return work(job)


@contextlib.contextmanager
def _interrupts(how: signal.Sigmasks) -> Iterator[None]:
    before = signal.pthread_sigmask(how, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
