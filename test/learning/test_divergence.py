# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A loss that is no finite number is traced to its samples, and nothing of it is saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.refused import refused
from support.tiny_mixture import ROBOTS, mapping_of_recipe, robot, start_processes

from hpt_ros.cli.main import main
from hpt_ros.dataset import DatasetWriter, open_dataset
from hpt_ros.errors import Code
from hpt_ros.learning import read_recipe, train
from hpt_ros.learning.distributed import processes
from hpt_ros.learning.divergence import DivergedError
from hpt_ros.learning.mixture import mixture_of
from hpt_ros.model import load_checkpoint
from hpt_ros.structured import dump_yaml

EPISODES, LENGTH, TICK = 30, 8, 5
CHANGES: dict[str, Any] = {
    "statistics": "quantiles",
    "iterations": 40,
    "validation_every": 2,
    "log_every": 40,
    "validation_ratio": 0.1,
}


def write(root: Path, spoiled: int | None = None) -> Path:
    """Write a dataset; of one episode, one commanded number is finite, but its normalised value is not."""
    own = robot("arm", *ROBOTS["arm"])
    values = np.random.default_rng(0).normal(size=(EPISODES, LENGTH, own.action.dim)) * 0.1
    with DatasetWriter(root, own) as writer:
        for index in range(EPISODES):
            episode = writer.episode("move")
            for tick, value in enumerate(values[index]):
                action = value.copy()
                if (index, tick) == (spoiled, TICK):
                    action[0] = 3e38
                episode.add({"observation.state": value, "action": action})
            writer.append(episode.finish())
        writer.finish()
    return root


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("plain") / "arm")


@pytest.fixture(scope="module")
def spoiled(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A dataset that is spoiled in the episode whose tick comes last in the first epoch; that episode."""
    mixture = mixture_of(open_dataset(plain), CHANGES["validation_ratio"], 0)
    windows = mixture.members[0].windows
    drawn = np.concatenate([mixture.draws(step, 12, 0)[0].samples for step in range(18)])
    covers = (drawn_ticks := windows.tick(drawn) % LENGTH) <= TICK
    covers &= drawn_ticks + windows.action_horizon > TICK
    episodes = windows.first(drawn) // LENGTH
    seen = {
        int(episode): int(np.flatnonzero(covers & (episodes == episode))[0])
        for episode in np.unique(episodes)
    }
    chosen = max(seen, key=lambda episode: seen[episode])
    assert seen[chosen] >= 48  # four steps are done before it, and saved
    return write(tmp_path_factory.mktemp("spoiled") / "arm", chosen), chosen


def test_a_loss_that_becomes_infinite_names_its_samples_and_leaves_the_last_good_checkpoint(
    spoiled: tuple[Path, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, episode = spoiled
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(dump_yaml(mapping_of_recipe(**CHANGES)))
    assert main(["finetune", str(root), "--out", str(out), "--recipe", str(recipe)]) == 1
    printed = capsys.readouterr().err
    assert "hpt finetune: error: the loss of step" in printed
    assert "Traceback" not in printed
    record = json.loads((out / "diverged.json").read_text())
    (batch,) = record["batch"]
    assert batch["dataset"] == "arm"
    assert any(TICK - 1 <= tick <= TICK for tick in batch["episodes"][str(episode)])
    assert f"of step {record['step']} is inf with dataset 'arm', episode " in printed
    assert f"all samples: '{out / 'diverged.json'}'" in printed
    # The checkpoints are of the validation before, and finite; --init goes on from them.
    state = torch.load(out / "train_state.pt", weights_only=True)
    assert 0 < state["step"] < record["step"] <= state["step"] + CHANGES["validation_every"]
    policy = load_checkpoint(out / "last").policy
    assert all(bool(torch.isfinite(value).all()) for value in policy.state_dict().values())
    words = ["finetune", str(root), "--out", str(tmp_path / "again"), "--recipe", str(recipe)]
    assert main([*words, "--init", str(out / "last"), "--iterations", "1"]) == 0


def test_when_the_gradient_alone_is_infinite_expect_the_batch_of_its_step(
    plain: Path, tmp_path: Path
) -> None:
    # With a learning rate beyond all reason the weights overflow, whatever the data.
    dataset = open_dataset(plain)
    recipe = read_recipe(mapping_of_recipe(lr=1e30), where="test")
    with refused(DivergedError, Code.NOT_FINITE, subject="of step 2", remedy=r"lower lr (1e+30)"):
        train(dataset, recipe, tmp_path / "run")
    assert not (tmp_path / "run/last").exists()


def test_of_two_processes_both_end_and_one_names_the_samples(
    spoiled: tuple[Path, int], tmp_path: Path
) -> None:
    root, episode = spoiled
    recipe = read_recipe(mapping_of_recipe(**CHANGES, gradient_clip=0.0), where="test")
    out = tmp_path / "run"

    def work(rank: int) -> None:
        with processes("cpu") as joined:
            try:
                train(open_dataset(root), recipe, out, processes=joined)
            except DivergedError as error:
                (tmp_path / f"{rank}.txt").write_text(str(error))

    started = start_processes(2, work)
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0, 0]
    told = sorted((tmp_path / f"{rank}.txt").read_text() for rank in (0, 1))
    assert any(f"episode {episode}" in text or "dataset 'arm'" in text for text in told)
    assert (out / "last").is_dir()
