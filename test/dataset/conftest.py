# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A small dataset, made once per session and copied by tests that damage it, and a robot to write others of."""

from __future__ import annotations

import pytest
from support.tiny_dataset import dataset, dataset_folder, own_folder  # noqa: F401 - fixtures
from support.tiny_robot import Robot

from .lerobot_itself import lerobot_python  # noqa: F401 - fixture


@pytest.fixture(scope="session")
def robot() -> Robot:
    return Robot()
