# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Conversion on a Ray cluster: bags go to its machines, results come back in the order of the bags."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from hpt_ros.cluster import connect, result_of

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


def run_on_ray(
    work: Callable[[JobT], ResultT], jobs: Sequence[JobT], address: str
) -> Iterator[tuple[JobT, Callable[[], ResultT]]]:
    """Each job and how to get its result, in the order of the jobs; jobs run one on each free core of the cluster.

    Args:
        work: done for each job, on a machine of the cluster.
        jobs: what it is done for.
        address: of the cluster, see `hpt_ros.cluster.connect`.

    Raises:
        HptError: there is no such cluster.
        MissingExtraError: Ray is not installed.
    """
    with connect(address, "hpt convert on a cluster") as ray:
        remote = ray.remote(num_cpus=1)(lambda job: work(job))  # Ray takes functions, not partial ones
        waiting = [remote.remote(job) for job in jobs]
        for job, result in zip(jobs, waiting, strict=True):
            yield job, lambda result=result: result_of(ray, result)  # type: ignore[misc]
