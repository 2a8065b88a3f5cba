# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The processes of far_rig, seen from the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpt_ros.nodes.common.fast_dds import profiles_variable, two_machines_file
from hpt_ros.resources import config_file

RIG = Path(__file__).resolve().parent / "far_rig.py"
PATIENCE_S = 60.0


class Side:
    """A process in one of the namespaces."""

    def __init__(self, end: str, role: str) -> None:
        environment = {
            **os.environ,
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
            profiles_variable(): str(config_file(f"dds/{two_machines_file()}")),
        }
        command = ["ip", "netns", "exec", end, sys.executable, str(RIG), role]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment,
        )  # fmt: skip

    def ask(self, word: str = "") -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            pytest.fail(f"the robot's side ended: {self.process.communicate()[1][-2000:]}")
        found: dict[str, Any] = json.loads(line)
        assert "refusal" not in found, found["refusal"]
        return found

    def until(
        self, condition: Callable[[dict[str, Any]], Any], what: str, *, clearing: bool = False
    ) -> dict[str, Any]:
        """Ask until a condition holds; `clearing` clears faults, which a busy machine may bring about by itself."""
        limit = time.monotonic() + PATIENCE_S
        found: dict[str, Any] = {}
        while time.monotonic() < limit:
            found = self.ask()
            if condition(found):
                return found
            if clearing and found["state"] == "FAULT":
                self.ask("clear")
            time.sleep(0.05)
        pytest.fail(f"{what} did not happen within {PATIENCE_S:g} s: {found}")

    def end(self) -> None:
        try:
            self.process.communicate(timeout=20.0)  # closes its standard input
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
