# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What shells complete, as they ask for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hpt_ros.cli.completion import SHELLS
from hpt_ros.cli.main import VERBS


def completed(line: str) -> set[str]:
    """What bash is offered after this line."""
    environment = {
        "_ARGCOMPLETE": "1", "_ARGCOMPLETE_SHELL": "bash", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line,
        "COMP_POINT": str(len(line)), "COMP_TYPE": "9", "_ARGCOMPLETE_STDOUT_FILENAME": "/dev/stdout",
    }  # fmt: skip
    code = "from hpt_ros.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    return set(done.stdout.split())


def test_verbs_actions_options_and_choices_are_offered() -> None:
    assert set(VERBS) <= completed("hpt ")
    assert completed("hpt fin") == {"finetune"}
    assert {"inspect", "verify", "add-task"} <= completed("hpt checkpoint ")
    assert {"--recipe", "--resume"} <= completed("hpt finetune data --re")
    assert completed("hpt export data --format ") == {"hdf5", "zarr"}


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shells_code_is_printed(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hpt_ros", "completion", shell],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "hpt" in done.stdout
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True, timeout=60)
