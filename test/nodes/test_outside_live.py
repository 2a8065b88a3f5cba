# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a package outside the tree adds, at the live node: its messages, its modality, its head and its policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.outside import run

SCRIPT = Path(__file__).resolve().parents[1] / "outside_live.py"


def live(site: Path, **parameters: object) -> dict[str, Any]:
    out = run(SCRIPT, *(f"{name}={value}" for name, value in parameters.items()), site=site)
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert found["invalid"] == 0
    return found


def test_the_finetuned_policy_drives_the_robot(outside_run: Path, outside_site: Path) -> None:
    found = live(outside_site, policy="checkpoint", checkpoint=outside_run / "run/last", backend="eager")
    assert found["inputs"] == ["actions", "spectrum", "state"]
    path = np.array(found["path"])
    assert np.isfinite(path).all()
    assert np.ptp(path, axis=0).max() > 1e-3  # it moves: the demonstrations do


def test_the_packages_policy_drives_the_robot(outside_run: Path, outside_site: Path) -> None:
    found = live(outside_site, policy="wave", embodiment=outside_run / "robot.yaml")
    path = np.array(found["path"])
    assert np.abs(path - [0.5, 0.6]).max() <= 0.051  # its amplitude, about where it was seen first
    assert (np.ptp(path, axis=0) > 0.05).all()


@pytest.mark.parametrize(("policy", "succeeds"), [("wave", True), ("hold", False)])
def test_the_packages_environment_is_evaluated_over_the_graph(
    outside_site: Path, policy: str, succeeds: bool, tmp_path: Path
) -> None:
    out = tmp_path / "outcomes.parquet"
    arguments = ("--env", "rail", "--ros", "--episodes", "2", "--time-limit-s", "2.5", "--out", out)
    text = run("-m", "hpt_ros", "eval", policy, *arguments, site=outside_site)
    assert "real time" in text
    table = pq.read_table(out)
    assert table["success"].to_pylist() == [succeeds] * 2
    assert table["fault"].to_pylist() == ["", ""]


def test_when_there_is_no_such_policy_expect_those_that_there_are(
    outside_run: Path, outside_site: Path
) -> None:
    with pytest.raises(
        AssertionError, match="'wav'.*checkpoint, hold, random, wave, remote.*did you mean 'wave'"
    ):
        live(outside_site, policy="wav", embodiment=outside_run / "robot.yaml")
