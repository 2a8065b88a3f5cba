# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A small dataset, made once per session and copied by tests that damage it, and a robot to write others of."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.tiny_dataset import write_dataset
from support.tiny_robot import Robot

from hpt_ros.dataset import Dataset, open_dataset


@pytest.fixture(scope="session")
def robot() -> Robot:
    return Robot()


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The intact dataset; tests must not write into it."""
    root = tmp_path_factory.mktemp("data") / "tiny"
    write_dataset(root)
    return root


@pytest.fixture
def own_folder(dataset_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(dataset_folder, tmp_path / "copy"))


@pytest.fixture(scope="session")
def dataset(dataset_folder: Path) -> Dataset:
    return open_dataset(dataset_folder)
