# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Work that another process of a pool can import."""

from __future__ import annotations

import os
import time


def job_and_process(job: int) -> tuple[int, int]:
    """Return the job and the process that did it; 3 takes long, and 4 fails."""
    if job == 4:
        raise IndexError("job 4")
    if job == 3:
        time.sleep(0.5)
    return job, os.getpid()


def prepare() -> None:
    """Prepare nothing."""
