# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A ROS domain that no other test run on this machine uses."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

_reserved: list[object] = []  # locked files, for as long as this process lives


def own_domain() -> None:
    """Set this process's ROS environment to a domain of its own, on this machine only.

    One of 1 to 100, the range whose ports stay below Linux' ephemeral ones. Called before the first node is made: the
    middleware reads the environment once.

    Raises:
        RuntimeError: all are in use.
    """
    for step in range(100):
        domain = 1 + (os.getpid() + step) % 100
        lock = Path(tempfile.gettempdir(), f"hpt_ros_test_domain_{domain}.lock").open("a")  # noqa: SIM115 - kept open
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        _reserved.append(lock)
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        return
    raise RuntimeError(
        "all ROS domains 1 to 100 are used by other test runs on this machine: wait for one to end"
    )
