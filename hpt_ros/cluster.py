# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Work on a Ray cluster. Ray is optional and imported only when it is asked for.

Every machine must see files under the same paths (a shared file system); only small results travel through Ray.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from hpt_ros.errors import Code, HptError
from hpt_ros.extras import require_extra
from hpt_ros.interrupts import SIGNALS

LOCAL: Final = "local"
GRACE_S: Final = 60.0  # in which work that is interrupted saves what it has
JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


@contextmanager
def connect(address: str, what: str) -> Iterator[Any]:
    """Connect to a cluster within the block; yields the module `ray`.

    Args:
        address: as `ray.init` takes it (``auto``, ``host:port``, ``ray://host:port``), or ``local`` for a cluster on
            this machine that ends with the block.
        what: needs it, for errors, e.g. "hpt convert on a cluster".

    Raises:
        HptError: there is no such cluster.
        MissingExtraError: Ray is not installed.
    """
    # Ray would hand its own way of starting Python to workers; and it asks nobody how it is used.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = require_extra("ray", extra="ray", what=what)
    source = str(Path(__file__).resolve().parents[1])
    options: dict[str, Any] = {"runtime_env": {"env_vars": {"PYTHONPATH": source}}, "log_to_driver": False}
    if address == LOCAL:
        options["include_dashboard"] = False
    ours = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        ray.init(address=address, logging_level="ERROR", **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise HptError(
            Code.UNAVAILABLE, "the Ray cluster", address, problem="at {value} cannot be reached", cause=error,
            remedy=f"start it with `ray start --head`, or give --ray {LOCAL}",
        ) from error  # fmt: skip
    try:
        # Ray takes SIGTERM for itself, and aborts: nothing would be saved.
        if threading.current_thread() is threading.main_thread():
            for number, handler in ours.items():
                if handler is not None:  # one that is not Python's
                    signal.signal(number, handler)
        yield ray
    finally:
        ray.shutdown()


def result_of(ray: Any, reference: Any) -> Any:
    """Return a result; raises the worker's own error rather than Ray's, which holds a traceback."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error


def run_on_cluster(
    work: Callable[[JobT], ResultT], jobs: Sequence[JobT], address: str, what: str
) -> Generator[ResultT, None, None]:
    """Yield the result of each job as it is done; jobs run one on each free core of the cluster.

    Closed or interrupted before the end, it interrupts the jobs that run, and gives them `GRACE_S` to save.

    Args:
        work: done for each job, on a machine of the cluster.
        jobs: what it is done for.
        address, what: as of `connect`.

    Raises:
        HptError: there is no such cluster, or what a job raises.
    """
    with connect(address, what) as ray:
        # Ray takes functions, not partial ones; and nothing is tried twice, since results are files.
        remote = ray.remote(num_cpus=1, max_retries=0)(lambda job: work(job))
        waiting = [remote.remote(job) for job in jobs]
        try:
            while waiting:
                done, waiting = ray.wait(waiting)
                for reference in done:
                    yield result_of(ray, reference)
        finally:
            for reference in waiting:
                ray.cancel(reference)
            if waiting:
                ray.wait(waiting, num_returns=len(waiting), timeout=GRACE_S)
