# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A small robot, and bags of it."""

from __future__ import annotations

import pytest
from support.custom_bags import maker
from support.tiny_robot import Robot

from .other_robots import others

__all__ = ["maker", "others"]


@pytest.fixture(scope="session")
def robot() -> Robot:
    return Robot()


@pytest.fixture
def bag(robot, tmp_path):
    return robot.write(tmp_path / "bag")


@pytest.fixture
def embodiment_file(robot, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(robot.text)
    return path
