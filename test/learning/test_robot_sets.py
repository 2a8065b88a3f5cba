# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""tools/robot_sets.py, which makes the sets that docs/training.md pre-trains on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hpt_ros.dataset import open_dataset
from hpt_ros.learning.mixture_config import load_mixture

TOOL = Path(__file__).parents[2] / "tools" / "robot_sets.py"


def make(out: Path, *words: str) -> str:
    command = [sys.executable, str(TOOL), str(out), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=280).stdout


def test_a_set_is_made_once_and_in_the_mixture(tmp_path: Path) -> None:
    said = make(tmp_path, "--episodes", "2", "--sets", "base")
    assert "base: 2 episodes" in said
    dataset = open_dataset(tmp_path / "base")
    assert len(dataset.episodes) == 2
    assert dataset.embodiment.space.predicted_as_held
    assert [Path(entry.path).name for entry in load_mixture(tmp_path / "mixture.yaml").datasets] == ["base"]
    assert "base: there already" in make(tmp_path, "--sets", "base")


def test_the_set_to_finetune_on_alone_makes_no_mixture(tmp_path: Path) -> None:
    (tmp_path / "wrist").mkdir()
    assert make(tmp_path, "--sets", "wrist").splitlines() == ["wrist: there already"]
    assert not (tmp_path / "mixture.yaml").exists()


@pytest.mark.slow
def test_the_simulated_arms_are_three_robots(tmp_path: Path) -> None:
    make(tmp_path, "--episodes", "1", "--sets", "arm", "tool", "wrist")
    found = {name: open_dataset(tmp_path / name) for name in ("arm", "tool", "wrist")}
    assert {name: data.action.shape[1] for name, data in found.items()} == {"arm": 7, "tool": 9, "wrist": 7}
    assert {name: data.state.shape[1] for name, data in found.items()} == {"arm": 7, "tool": 9, "wrist": 7}
    assert all(data.length > 50 for data in found.values())
    entries = load_mixture(tmp_path / "mixture.yaml").datasets
    assert [Path(entry.path).name for entry in entries] == ["arm", "tool"]


@pytest.mark.slow
def test_the_sawyer_is_meta_worlds(tmp_path: Path) -> None:
    pytest.importorskip("metaworld", reason="the extra suites is not installed")
    make(tmp_path, "--episodes", "1", "--sets", "sawyer")
    dataset = open_dataset(tmp_path / "sawyer")
    assert dataset.embodiment.name == "sawyer"
    assert dataset.length > 3
