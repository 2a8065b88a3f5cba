# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What every test runs under: a DDS domain of its own, this machine only, off-screen rendering."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest
from support.domain import own_domain

# Set before any test module imports rclpy: the middleware reads them once.
try:
    own_domain()
except RuntimeError as error:
    pytest.exit(str(error), 2)
os.environ.setdefault("MUJOCO_GL", "egl")

# How long an example takes depends on the machine: no deadline, no "too slow" failure.
hypothesis.settings.register_profile(
    "hpt_ros", deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("hpt_ros")


def _folders_are_packages() -> None:
    """Let tests import from helpers beside them (``from .many import TASKS``) with the pytest 7.4 of Ubuntu 24.04.

    Its importlib mode knows the modules, but not where the packages that hold them lie.
    """
    here = Path(__file__).resolve().parent
    for folder in (here, *(path for path in sorted(here.iterdir()) if any(path.glob("test_*.py")))):
        name = ".".join(folder.relative_to(here.parent).parts)
        package = sys.modules.setdefault(name, ModuleType(name))
        package.__path__ = [str(folder)]


if pytest.version_tuple < (8, 1):
    _folders_are_packages()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of nodes; skip tests marked `gpu` where torch sees no CUDA device."""
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] in ("nodes", "launch"):
            item.add_marker(pytest.mark.alone)
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="torch sees no CUDA device"))
