# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The checkpoint that ships with the package: whole, small, of the shipped robot, and able to feed the dog."""

from __future__ import annotations

import pytest

from hpt_ros.embodiment import Embodiment, require_match
from hpt_ros.model import load_checkpoint
from hpt_ros.nodes.sim.demo import DemoSettings, evaluate
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
def test_the_shipped_checkpoint_feeds_the_dog_and_the_baselines_do_not() -> None:
    scores, seen = evaluate(DemoSettings(episodes=4, checkpoint="feed_dog", first_seed=500), lambda *_: None)
    policy, hold, random = scores
    assert policy.successes >= 3
    assert hold.successes == random.successes == 0
    assert seen is not None
    assert seen.success
    assert len(seen.pictures) > 30
    assert len(policy.samples_s["inference_s"]) > 20
