# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The policy node as a process whose command line is wrong."""

from __future__ import annotations

import subprocess
import sys


def refusal(*arguments: str) -> str:
    """The sentence with which the policy node ends, given these arguments of ROS; it must end with status 2.

    Raises:
        AssertionError: another status, a traceback, or not one sentence.
    """
    command = [sys.executable, "-m", "hpt_ros.nodes.policy.policy_node", "--ros-args", "--log-level", "fatal"]
    ended = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    (sentence,) = [line for line in ended.stderr.splitlines() if line.startswith("policy_node: error: ")]
    return sentence
