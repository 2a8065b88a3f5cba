# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where the cells of a study run: one after the other here, in several processes, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import torch

from hpt_ros.cluster import run_on_cluster
from hpt_ros.interrupts import interrupts_count, interrupts_wait
from hpt_ros.learning.reporter import Silent
from hpt_ros.studies.config import Cell, StudyConfig
from hpt_ros.studies.pool import Pool
from hpt_ros.studies.running import run_cell


@dataclass(frozen=True, slots=True)
class CellJob:
    """A cell that another process runs.

    Attributes:
        study: its configuration.
        cell: of it.
        out: the study's folder.
        device: as of `train`.
    """

    study: StudyConfig
    cell: Cell
    out: Path
    device: str


def run_job(job: CellJob) -> Cell:
    """Run a cell on one thread of torch, in a process that has others beside it; returns the cell.

    Raises:
        HptError: as `run_cell`; KeyboardInterrupt after what was done is saved.
    """
    torch.set_num_threads(1)
    run_cell(job.study, job.cell, job.out, Pool(job.study), Silent(), job.device)
    return job.cell


def run_in_processes(jobs: Sequence[CellJob], workers: int) -> Generator[Cell, None, None]:
    """Yield cells as they are done, in several processes of this machine.

    Closed or interrupted before the end, it interrupts those that run and waits until they have saved.

    Raises:
        HptError: what a cell raises.
    """
    context = multiprocessing.get_context("spawn")  # torch and GL do not survive a fork
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_detach) as pool:
        waiting = set()
        before = set(multiprocessing.active_children())
        try:
            with interrupts_wait():
                waiting = {pool.submit(_run_interruptibly, job) for job in jobs}
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            if waiting:
                for future in waiting:
                    future.cancel()
                for process in set(multiprocessing.active_children()) - before:
                    if process.pid is not None:
                        os.kill(process.pid, signal.SIGINT)
            pool.shutdown(wait=True, cancel_futures=True)


def _detach() -> None:
    """Leave the terminal's group: Ctrl-C comes from the parent alone, once, whatever ended that."""
    os.setsid()


def _run_interruptibly(job: CellJob) -> Cell:
    with interrupts_count():
        return run_job(job)


def run_on_ray(jobs: Sequence[CellJob], address: str) -> Generator[Cell, None, None]:
    """Yield cells as they are done, on a Ray cluster that shares the file system.

    Raises:
        HptError: there is no such cluster, or what a cell raises.
    """
    yield from run_on_cluster(run_job, jobs, address, "hpt study on a cluster")
