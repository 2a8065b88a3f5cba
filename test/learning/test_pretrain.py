# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Training one trunk on many robots, by one process and by several, with and without accidents."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from support.tiny_mixture import mapping_of_recipe, start_processes, write_mixture, write_robot

from hpt_ros.cli.main import main
from hpt_ros.errors import HptError
from hpt_ros.learning import InitialWeights, load_recipe, train
from hpt_ros.learning.distributed import Processes
from hpt_ros.learning.mixture import Mixture, open_mixture
from hpt_ros.learning.mixture_config import load_mixture
from hpt_ros.model import load_checkpoint, load_multi_checkpoint
from hpt_ros.resources import config_file

from .pretraining import difference, recipe_of, state_of


def test_one_command_trains_a_trunk_that_finetunes_onto_another_robot(
    file: Path, tmp_path: Path, capsys: Any
) -> None:
    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(yaml.safe_dump(mapping_of_recipe()))
    assert main(["pretrain", str(file), "--out", str(run), "--recipe", str(recipe)]) == 0
    said = capsys.readouterr()
    assert "arm, 41.4 % of the samples: 9 episodes" in said.err
    assert re.search(r"^  trunk: 25,536 parameters, lr \S+, random \(from scratch\)$", said.err, re.MULTILINE)
    assert "  gantry, stem state:" in said.err
    assert "step 8: validation loss" in said.err
    assert f"the best checkpoint is {run / 'best'}" in said.out
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries if "samples_per_s" in entry] == [2, 4, 6, 8]
    last = entries[-1]
    assert set(last["validation"]) == {"slider", "gantry", "arm"}
    mean = sum(figures["loss"] for figures in last["validation"].values()) / 3
    assert last["validation_loss"] == pytest.approx(mean)
    checkpoint = load_multi_checkpoint(run / "last")
    assert checkpoint.policy.names == ("slider", "gantry", "arm")
    for name, fraction in (("slider", "29.3"), ("gantry", "29.3"), ("arm", "41.4")):
        assert re.search(
            rf"\| `{name}` \| {name} \| 10 Hz, [^|]* \| licence of {name} \| {fraction} % \|", checkpoint.card
        )
    # Its trunk goes to another robot, and stays where it is frozen.
    write_robot(tmp_path / "new", "arm", episodes=4)
    words = ["finetune", str(tmp_path / "new"), "--out", str(tmp_path / "tuned"), "--recipe", str(recipe)]
    assert main([*words, "--trunk", str(run / "best/embodiments/slider"), "--set", "freeze_trunk=true"]) == 0
    tuned, trunk = load_checkpoint(tmp_path / "tuned/last"), load_multi_checkpoint(run / "best").policy.trunk
    assert difference(dict(tuned.policy.trunk.state_dict()), dict(trunk.state_dict())) == 0.0
    # And a robot of the mixture runs, and goes on, from its own folder.
    assert (
        main([*words[:3], str(tmp_path / "on"), *words[4:], "--init", str(run / "best/embodiments/arm")]) == 0
    )
    assert main(["evaluate", str(run / "best/embodiments/arm"), str(tmp_path / "new")]) == 0


def test_all_robots_learn(mixture: Mixture, tmp_path: Path) -> None:
    recipe = recipe_of(iterations=150, lr=5e-3, validation_every=150, batch_size=24)
    train(mixture, recipe, tmp_path / "run")
    entries = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    losses = [entry["loss"] for entry in entries if "loss" in entry]
    assert sum(losses[-5:]) < sum(losses[:5]) / 3


@pytest.mark.parametrize("stopped_at", [3, 4, 7])
@pytest.mark.parametrize("mixing", ["batch", "dataset"])
def test_when_resumed_expect_the_straight_run_bit_for_bit(
    mixture: Mixture, tmp_path: Path, stopped_at: int, mixing: str
) -> None:
    policy = mapping_of_recipe()["policy"]
    policy["stems"][0] |= {"dropout": 0.1}
    recipe = recipe_of(policy=policy, augment={"state_noise": 0.01}, mixing=mixing)
    straight = train(mixture, recipe, tmp_path / "straight")
    train(mixture, recipe, tmp_path / "parts", stop_after=stopped_at)
    rest = train(mixture, recipe, tmp_path / "parts", resume=True)
    assert (rest.steps, rest.best_error) == (8, straight.best_error)
    a, b = state_of(tmp_path / "straight"), state_of(tmp_path / "parts")
    assert difference(a["policy"], b["policy"]) == 0.0
    assert difference(a["average"], b["average"]) == 0.0
    assert (tmp_path / "straight/best/model.safetensors").read_bytes() == (
        tmp_path / "parts/best/model.safetensors"
    ).read_bytes()


class Killing:
    """Ends its process, as a power cut does, once a run says that it is so far."""

    def __init__(self, step: int) -> None:
        self.step = step

    def say(self, sentence: str) -> None:
        pass

    def bar(self, label: str, done: int, total: int, note: str = "") -> None:
        if label == "training" and done >= self.step:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("step", [3, 5, 8])
def test_when_killed_at_any_moment_expect_the_straight_run_after_resuming(
    mixture: Mixture, tmp_path: Path, step: int
) -> None:
    recipe, run = recipe_of(log_every=1, validation_every=2), tmp_path / "run"
    (victim,) = start_processes(1, lambda _: train(mixture, recipe, run, report=Killing(step)) and None)
    victim.join()
    assert victim.exitcode == -signal.SIGKILL
    saved = state_of(run)["step"]
    assert step - 2 <= saved < step  # at most one interval is lost
    train(mixture, recipe, run, resume=True)
    train(mixture, recipe, tmp_path / "straight")
    assert difference(state_of(run)["policy"], state_of(tmp_path / "straight")["policy"]) == 0.0
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def test_when_a_batch_goes_through_in_parts_expect_the_same_weights(mixture: Mixture, tmp_path: Path) -> None:
    for most in (0, 1, 5):
        train(mixture, recipe_of(micro_batch=most, lr=1e-4), tmp_path / str(most))
    whole = state_of(tmp_path / "0")["policy"]
    assert difference(whole, state_of(tmp_path / "1")["policy"]) < 1e-6
    assert difference(whole, state_of(tmp_path / "5")["policy"]) < 1e-6


def test_with_bfloat16_and_quantiles_a_run_resumes_exactly(mixture: Mixture, tmp_path: Path) -> None:
    recipe = recipe_of(precision="bfloat16", statistics="quantiles")
    train(mixture, recipe, tmp_path / "straight")
    train(mixture, recipe, tmp_path / "parts", stop_after=5)
    train(mixture, recipe, tmp_path / "parts", resume=True)
    a, b = (state_of(tmp_path / run)["policy"] for run in ("straight", "parts"))
    assert difference(a, b) == 0.0
    assert a["heads.arm.net.0.weight"].dtype == torch.float32
    stats = load_checkpoint(tmp_path / "parts/last/embodiments/arm").stats["state"]
    assert all(low >= least for low, least in zip(stats["min"], stats["limits"]["min"], strict=True))
    assert stats["max"] != stats["limits"]["max"]
    assert main(["checkpoint", "verify", str(tmp_path / "parts/last")]) == 0


def test_when_processes_cannot_share_a_batch_expect_both_numbers(mixture: Mixture, tmp_path: Path) -> None:
    with pytest.raises(
        HptError, match=r"batch_size is 12, expected a multiple of the 5 processes; change it"
    ):
        train(mixture, recipe_of(), tmp_path / "run", processes=Processes(rank=0, world=5))
    assert not (tmp_path / "run").exists()


def test_when_a_robot_lacks_a_modality_expect_its_policy_without_that_stem_or_a_sentence(
    file: Path, dataset_folder: Path, tmp_path: Path, cache_root: Path
) -> None:
    entries = [{"path": str(dataset_folder)}, {"path": str(file.parent / "slider")}]
    seen = open_mixture(load_mixture(write_mixture(tmp_path, entries)), 0.3, 0)
    policy = mapping_of_recipe()["policy"]
    policy["image_encoder"] = {"kind": "small_cnn", "trainable": True, "channels": [8, 8]}
    image = {"modality": "image", "widths": [16], "tokens": 2, "heads": 2, "head_width": 8}
    policy["stems"] = [image, *policy["stems"]]
    words = "dataset 'slider' of the mixture: the recipe has a stem for 'image', but embodiment 'slider'"
    with pytest.raises(HptError, match=words):
        train(seen, recipe_of(policy=policy), tmp_path / "run", cache_root=cache_root)
    recipe = recipe_of(policy=policy | {"optional": ["image"]}, iterations=2)
    train(seen, recipe, tmp_path / "run", cache_root=cache_root)
    trained = load_multi_checkpoint(tmp_path / "run/last").policy.config.policies
    assert {name: config.modalities for name, config in trained.items()} == {
        "tiny": ("image", "state"), "slider": ("state",),
    }  # fmt: skip
    train(
        seen,
        recipe,
        tmp_path / "again",
        cache_root=cache_root,
        start=InitialWeights(init=str(tmp_path / "run/last")),
    )


def test_when_the_checkpoint_is_of_other_robots_expect_them_named(
    mixture: Mixture, file: Path, tmp_path: Path
) -> None:
    entries = [{"path": str(file.parent / name)} for name in ("slider", "gantry")]
    two = open_mixture(load_mixture(write_mixture(tmp_path, entries)), 0.3, 0)
    train(two, recipe_of(iterations=1), tmp_path / "two")
    start = InitialWeights(init=str(tmp_path / "two/last"))
    with pytest.raises(
        HptError, match=r"is of slider, gantry, expected 'arm' too, which the data are of; load"
    ):
        train(mixture, recipe_of(), tmp_path / "three", start=start)
    with pytest.raises(HptError, match="as when it was started"):
        train(mixture, recipe_of(iterations=1), tmp_path / "two", resume=True)


def test_parts_are_shared_as_the_recipe_says(mixture: Mixture, tmp_path: Path) -> None:
    policy = mapping_of_recipe()["policy"]
    with pytest.raises(
        HptError, match=r"'stem state', but 'slider' and 'gantry' differ in it \(net.0.weight\)"
    ):
        train(mixture, recipe_of(policy=policy | {"shared": ["stem state"]}), tmp_path / "run")
    train(mixture, recipe_of(policy=policy | {"shared": ["modality tokens"]}), tmp_path / "run")
    tensors = load_multi_checkpoint(tmp_path / "run/last").policy.tensors()
    assert [name for name in tensors if name.startswith("modalities_tokens")] == ["modalities_tokens.state"]


def test_words_that_make_no_sense_are_one_sentence(file: Path, tmp_path: Path, capsys: Any) -> None:
    words = ["pretrain", str(file), "--out", str(tmp_path / "run")]
    assert main([*words, "--resume"]) == 2
    assert "cannot be resumed: there is no train_state.pt" in capsys.readouterr().err
    assert main(["pretrain", str(file.parent / "nowhere.yaml"), "--out", str(tmp_path / "run")]) == 2
    assert "nowhere.yaml' does not exist" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_papers_figures_are_in_the_recipe() -> None:
    recipe = load_recipe(config_file("recipes/pretrain_base.yaml"))
    assert (recipe.iterations, recipe.batch_size, recipe.lr, recipe.weight_decay) == (80_000, 256, 2e-4, 0.05)
    assert recipe.policy.trunk.parameters == 12_644_352
    small = load_recipe(config_file("recipes/pretrain_small.yaml"))
    assert (
        small.policy.trunk == load_recipe(config_file("recipes/feed_dog.yaml")).policy.trunk
    )  # it finetunes there


def test_when_the_run_cannot_be_written_expect_that_and_not_a_full_disk(file: Path, capsys: Any) -> None:
    assert main(["pretrain", str(file), "--out", "/proc/hpt/run"]) == 2
    message = capsys.readouterr().err
    assert "'/proc/hpt/run' cannot be written (" in message
    assert "name another folder with --out" in message
