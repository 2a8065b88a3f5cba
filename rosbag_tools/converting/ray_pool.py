# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Conversion on a Ray cluster: bags go to its machines, results come back in the order of the bags.

Ray is optional and imported only when it is asked for. Every machine must see bags and the dataset's folder under the
same paths (a shared file system); only small results travel through Ray.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import rosbag_tools
from hpt_ros.errors import Code
from hpt_ros.extras import require_extra
from rosbag_tools.errors import BagError

LOCAL = "local"
JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


def run_on_ray(
    work: Callable[[JobT], ResultT], jobs: Sequence[JobT], address: str
) -> Iterator[tuple[JobT, Callable[[], ResultT]]]:
    """Each job and how to get its result, in the order of the jobs; jobs run one on each free core of the cluster.

    Args:
        work: done for each job, on a machine of the cluster.
        jobs: what it is done for.
        address: of the cluster, as `ray.init` takes it (``auto``, ``host:port``, ``ray://host:port``), or ``local`` for
            one on this machine that ends with the conversion.

    Raises:
        BagError: there is no such cluster.
        MissingExtraError: Ray is not installed.
    """
    # Ray would hand its own way of starting Python to workers; and it asks nobody how it is used.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = require_extra("ray", extra="ray", what="hpt convert on a cluster")
    source = str(Path(rosbag_tools.__file__).resolve().parents[1])
    options: dict[str, Any] = {"runtime_env": {"env_vars": {"PYTHONPATH": source}}, "log_to_driver": False}
    if address == LOCAL:
        options["include_dashboard"] = False
    try:
        ray.init(address=address, logging_level="ERROR", **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BagError(
            Code.UNAVAILABLE, "the Ray cluster", address, problem="at {value} cannot be reached", cause=error,
            remedy=f"start it with `ray start --head`, or give --ray {LOCAL}",
        ) from error  # fmt: skip
    try:
        remote = ray.remote(num_cpus=1)(lambda job: work(job))  # Ray takes functions, not partial ones
        waiting = [remote.remote(job) for job in jobs]
        for job, result in zip(jobs, waiting, strict=True):
            yield job, lambda result=result: _get(ray, result)  # type: ignore[misc]
    finally:
        ray.shutdown()


def _get(ray: Any, result: Any) -> Any:
    """The result; raises the worker's own error rather than Ray's, which holds a traceback."""
    try:
        return ray.get(result)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
