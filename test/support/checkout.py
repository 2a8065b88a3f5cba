# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What git knows of the source tree, where it is a checkout."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def git_words(*arguments: str) -> list[str]:
    """Words that a git command prints; the test is skipped where git, or a checkout, is absent."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the source tree is no git checkout that git reads: {done.stderr.strip()[:200]}")
    return done.stdout.split()
