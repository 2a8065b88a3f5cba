# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The checkpoint that ships with the package: whole, small, of the shipped robot, and able to feed the dog."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

from hpt_ros.cli.main import main
from hpt_ros.embodiment import Embodiment, require_match
from hpt_ros.evaluation.outcomes import read_outcomes
from hpt_ros.model import load_checkpoint
from hpt_ros.resources import checkpoint_folder, config_file

LARGEST_MB = 15.0


def test_the_shipped_checkpoint_is_of_the_shipped_robot_and_says_how_it_was_made() -> None:
    folder = checkpoint_folder("feed_dog")
    checkpoint = load_checkpoint(folder)
    theirs = Embodiment.loads(checkpoint.embodiment_yaml)
    ours = Embodiment.load(config_file("embodiments/feed_dog.yaml"))
    require_match(theirs, ours, a_name="the shipped checkpoint", b_name="the shipped embodiment file")
    assert "hpt finetune" in checkpoint.card
    assert sum(path.stat().st_size for path in folder.iterdir()) < LARGEST_MB * 1e6


@pytest.mark.slow
def test_the_shipped_checkpoint_feeds_the_dog_and_the_baselines_do_not(tmp_path: Path) -> None:
    assert main(["demo", "--episodes", "4", "--seed", "500", "--out", str(tmp_path)]) == 0
    trained, hold, random = (
        read_outcomes(tmp_path / f"{name}.parquet") for name in ("trained", "do_nothing", "random")
    )
    assert trained.successes >= 3
    assert hold.successes == random.successes == 0
    policy, *_ = json.loads((tmp_path / "results.json").read_text())["policies"]
    assert policy["timings_ms"]["inference_s"]["samples"] > 20
    with av.open(str(tmp_path / "episode.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) > 30
