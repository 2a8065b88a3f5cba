# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Radians and metres of one action are not added up: not for people, and not to tell the best checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.embodiments import TRAJECTORY, embodiment, joints, limit
from support.tiny_mixture import mapping_of_recipe, write_robot

from hpt_ros.dataset import open_dataset
from hpt_ros.learning import Silent, read_recipe, train
from hpt_ros.learning.evaluation import errors_by_unit, errors_text
from hpt_ros.model import load_checkpoint

LIFT = embodiment(
    "lift",
    [joints(("turn", "rise"), rate_hz=100.0, unit="rad")],
    {
        "rate_hz": 10.0,
        "horizon": 3,
        "outputs": [
            {"name": "turning", "topic": "/turn", "type": TRAJECTORY, "names": ["turn"]},
            {"name": "rising", "topic": "/rise", "type": TRAJECTORY, "names": ["rise"], "unit": "m"},
        ],
        "limits": [limit("turn", 3.0, 2.0, 10.0), limit("rise", 3.0, 2.0, 10.0)],
    },
    observation_horizon=2,
)


class Lines(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, sentence: str) -> None:
        self.lines.append(sentence)


def test_errors_of_two_units_are_told_apart(tmp_path: Path) -> None:
    dataset = open_dataset(write_robot(tmp_path / "set", LIFT.name, 6, 8, LIFT))
    report, out = Lines(), tmp_path / "run"
    train(dataset, read_recipe(mapping_of_recipe(), where="test"), out, device="cpu", report=report)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    validated = [line for line in lines if "validation_loss" in line]
    assert len(validated) == 2
    assert not any("validation_error" in line for line in lines)
    errors = errors_by_unit(LIFT, validated[-1]["validation_errors"]["lift"])
    assert list(errors) == ["rad", "m"]
    said = f"action error {errors['rad']:.4f} rad, {errors['m']:.4f} m"
    assert any(line.startswith("step 8: ") and line.endswith(said) for line in report.lines)
    assert f"{errors['rad']:.5f} rad, {errors['m']:.5f} m" in (out / "last" / "README.md").read_text()
    page = (out / "report.html").read_text()
    assert "validation episodes, rad" in page
    assert "validation episodes, m" in page
    # The best is that of the least loss then, which has no unit.
    best = min(line["validation_loss"] for line in validated)
    assert load_checkpoint(out / "best").metrics["validation_loss"] == pytest.approx(best)


def test_errors_are_means_over_the_steps_of_the_chunk() -> None:
    assert errors_text(LIFT, [[0.1, 0.25], [0.3, 0.35]], 2) == "0.20 rad, 0.30 m"
