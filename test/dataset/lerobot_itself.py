# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""LeRobot in an environment of its own, and what it is asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

LEROBOT = "lerobot[training]==0.6.1"


@pytest.fixture(scope="session")
def lerobot_python(tmp_path_factory):
    if given := os.environ.get("HPT_LEROBOT_PYTHON"):
        return given
    found = next(filter(None, map(shutil.which, ("python3.12", "python3.13"))), None)
    if found is None:
        pytest.skip("lerobot 0.6 wants Python 3.12 or 3.13")
    folder = tmp_path_factory.mktemp("lerobot")
    subprocess.run([found, "-m", "venv", folder], check=True)
    python = Path(folder, "bin", "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", LEROBOT], check=True)
    return str(python)


def answer(python, script, dataset, folder):
    """What a script prints last, run in LeRobot's environment: not from this repository's folder, nor its libraries."""
    environment = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    environment |= {"HOME": str(folder), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(
        [python, "-c", textwrap.dedent(script), str(dataset)],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def edit(python, folder, operation, **options):
    """Run lerobot-edit-dataset; options are its own, with dots as double underscores."""
    words = [f"--{name.replace('__', '.')}={value}" for name, value in options.items()]
    environment = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    environment |= {"HOME": str(folder), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [str(Path(python).with_name("lerobot-edit-dataset")), f"--operation.type={operation}", *words]
    result = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
