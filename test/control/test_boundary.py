# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Nobody outside of the control room reaches through a controller: it offers what others need."""

from __future__ import annotations

import re
from pathlib import Path

import hpt_ros

ROOM = Path(hpt_ros.__file__).parent
PARTS = re.compile(r"controller\.(monitors|activation|plan|filter|queue|_\w+)\b")


def test_when_other_rooms_use_a_controller_expect_no_reach_into_its_parts():
    files = [file for file in ROOM.rglob("*.py") if ROOM / "control" not in file.parents]
    assert len(files) > 50
    assert [str(file) for file in files if PARTS.search(file.read_text(encoding="utf-8"))] == []
