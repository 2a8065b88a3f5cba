# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import re
import signal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_dataset import EMBODIMENT

from hpt_ros.dataset import Dataset, open_dataset
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import HptError
from hpt_ros.learning import InitialWeights, open_cache, train
from hpt_ros.learning.loader import prefetch
from hpt_ros.learning.optimiser import ema_decay_at, is_decayed, learning_rate
from hpt_ros.learning.policy_recipe import PolicyRecipe
from hpt_ros.model import load_checkpoint
from hpt_ros.policies.hpt import CheckpointPolicy
from hpt_ros.structured import to_mapping

from .conftest import make_recipe


class Listener:
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, sentence: str) -> None:
        self.lines.append(sentence)

    def bar(self, label: str, done: int, total: int, note: str = "") -> None:
        pass


def read_metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder).policy.state_dict()


def assert_equal_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


def policy_mapping() -> dict[str, object]:
    return to_mapping(make_recipe().policy)


def test_a_tiny_set_is_learned(dataset: Dataset, tmp_path: Path, cache_root: Path) -> None:
    recipe = make_recipe(
        iterations=200,
        lr=4e-3,
        batch_size=16,
        warmup_iterations=10,
        validation_ratio=0.0,
        validation_every=200,
        augment={"brightness": 0.0, "contrast": 0.0, "colour": 0.0, "shift_px": 0},
    )
    result = train(dataset, recipe, tmp_path / "run", cache_root=cache_root)
    losses = [entry["loss"] for entry in read_metrics(tmp_path / "run")]
    assert result.steps == 200
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 3
    # The policy tells the episodes apart by their pictures: it acts for the square that it sees.
    policy = load_checkpoint(tmp_path / "run/last").policy
    frames = open_cache(dataset, cache_root).frames
    for episode in (dataset.episodes[0], dataset.episodes[4]):
        row = episode.start + 6
        action = policy.predict(
            {"image": frames[None, [row - 1, row]], "state": dataset.state[None, [row - 1, row]]}
        )
        error = {
            other.index: np.abs(action[0, 0].numpy() - dataset.action[other.start + 6]).max()
            for other in dataset.episodes[:5]
        }
        assert error[episode.index] < 0.15, error


@pytest.mark.parametrize("stopped_at", [5, 6, 7])  # before, at and after a validation
def test_when_resumed_expect_the_straight_run_bit_for_bit(
    dataset: Dataset, tmp_path: Path, cache_root: Path, stopped_at: int
) -> None:
    recipe = make_recipe(augment={"state_noise": 0.01})
    straight = train(dataset, recipe, tmp_path / "straight", cache_root=cache_root)
    part = train(dataset, recipe, tmp_path / "parts", cache_root=cache_root, stop_after=stopped_at)
    assert (part.steps, part.interrupted) == (stopped_at, True)
    listener = Listener()
    rest = train(dataset, recipe, tmp_path / "parts", cache_root=cache_root, resume=True, report=listener)
    assert f"resumed after step {stopped_at} of 12" in listener.lines
    assert (rest.steps, rest.interrupted, rest.best_error) == (12, False, straight.best_error)
    assert_equal_weights(weights(tmp_path / "straight/last"), weights(tmp_path / "parts/last"))
    a, b = (torch.load(tmp_path / run / "train_state.pt", weights_only=True) for run in ("straight", "parts"))
    assert_equal_weights(a["policy"], b["policy"])
    for name in ("exp_avg", "exp_avg_sq"):
        for key, entry in a["optimiser"]["state"].items():
            assert torch.equal(entry[name], b["optimiser"]["state"][key][name])
    steps = [entry["step"] for entry in read_metrics(tmp_path / "parts")]
    assert steps == sorted(steps)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    dataset: Dataset, tmp_path: Path, cache_root: Path
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(dataset, make_recipe(iterations=3, seed=seed), tmp_path / name, cache_root=cache_root)
    a, b, c = (weights(tmp_path / name / "last") for name in "abc")
    assert_equal_weights(a, b)
    assert not torch.equal(a["trunk.trunk.blocks.0.mlp.fc1.weight"], c["trunk.trunk.blocks.0.mlp.fc1.weight"])


def test_the_sizes_of_the_cameras_images_go_with_the_checkpoint(
    own_folder: Path, tmp_path: Path, cache_root: Path
) -> None:
    """Those of every episode that was kept, each once, as they were before they were resized."""
    episodes = [
        {"kept": 9, "image_sizes": {"front": [480, 640], "wrist": [96, 128]}},
        {"kept": 9, "image_sizes": {"front": [480, 640]}},
        {"kept": 9, "image_sizes": {"front": [360, 640]}},
        {"kept": 0, "image_sizes": {"front": [1, 2]}},
        {"kept": 9},
    ]
    report = own_folder / "meta/hpt/report.json"
    report.write_text(json.dumps({"action_source": "command", "episodes": episodes}))
    train(open_dataset(own_folder), make_recipe(iterations=1), tmp_path / "run", cache_root=cache_root)
    policy = CheckpointPolicy(tmp_path / "run/last", "cpu", 1)
    assert policy.image_sizes == {"front": ((480, 640), (360, 640)), "wrist": ((96, 128),)}


def test_the_run_folder_says_what_happened(dataset: Dataset, tmp_path: Path, cache_root: Path) -> None:
    out, listener = tmp_path / "run", Listener()
    train(
        dataset, make_recipe(), out, cache_root=cache_root, command="hpt finetune --out run", report=listener
    )
    entries = read_metrics(out)
    validations = [entry for entry in entries if "validation_error" in entry]
    assert [entry["step"] for entry in entries if "loss" in entry] == [2, 4, 6, 8, 10, 12]
    assert [entry["step"] for entry in validations] == [6, 12]
    assert len(validations[0]["validation_error_per_step"]) == 4  # type: ignore[arg-type]
    best = min(entry["validation_error"] for entry in validations)
    checkpoint = load_checkpoint(out / "best")
    assert checkpoint.metrics["validation_error"] == pytest.approx(best)
    assert Embodiment.loads(checkpoint.embodiment_yaml) == dataset.embodiment
    card = checkpoint.card
    for part in ("tiny", "hpt finetune --out run", "random (from scratch)", "PyTorch", "iterations: 12"):
        assert part in card
    assert f"{best:.5f} rad" in card
    assert (
        checkpoint.stats["samples"]
        + sum(
            episode.length
            for episode in dataset.episodes
            if str(episode.index) in card.split("(indices ")[1].split(")")[0]
        )
        == dataset.length
    )
    assert any(re.match(r"  trunk: 25,536 parameters, lr \S+, random", line) for line in listener.lines)


def test_the_averaged_weights_are_saved(dataset: Dataset, tmp_path: Path, cache_root: Path) -> None:
    train(dataset, make_recipe(iterations=4), tmp_path / "run", cache_root=cache_root)
    state = torch.load(tmp_path / "run/train_state.pt", weights_only=True)
    saved = weights(tmp_path / "run/last")
    assert_equal_weights(saved, state["average"])
    name = "heads.tiny.net.0.weight"
    assert not torch.equal(saved[name], state["policy"][name])


def test_a_trunk_from_a_file_is_the_files_and_stays_so_when_frozen(
    dataset: Dataset, tmp_path: Path, cache_root: Path
) -> None:
    train(dataset, make_recipe(iterations=2), tmp_path / "first", cache_root=cache_root)
    source = str(tmp_path / "first/last/model.safetensors")
    recipe, listener = make_recipe(iterations=4, freeze_trunk=True, seed=9), Listener()
    train(
        dataset,
        recipe,
        tmp_path / "second",
        start=InitialWeights(trunk=source),
        cache_root=cache_root,
        report=listener,
    )
    first, second = weights(tmp_path / "first/last"), weights(tmp_path / "second/last")
    for name in first:
        if name.startswith("trunk."):
            assert torch.equal(first[name], second[name])
    assert not torch.equal(first["heads.tiny.net.0.weight"], second["heads.tiny.net.0.weight"])
    assert any(line.startswith("  trunk:") and "frozen, loaded trunk" in line for line in listener.lines)


def test_init_brings_all_weights(dataset: Dataset, tmp_path: Path, cache_root: Path) -> None:
    train(dataset, make_recipe(iterations=2), tmp_path / "first", cache_root=cache_root)
    recipe = make_recipe(iterations=1, lr=1e-30, weight_decay=0.0)
    train(
        dataset,
        recipe,
        tmp_path / "second",
        start=InitialWeights(init=str(tmp_path / "first/last")),
        cache_root=cache_root,
    )
    assert_equal_weights(weights(tmp_path / "first/last"), weights(tmp_path / "second/last"))


def test_when_a_part_would_stay_random_and_frozen_expect_an_error(
    dataset: Dataset, tmp_path: Path, cache_root: Path
) -> None:
    with pytest.raises(HptError, match="freezes the trunk.*add --trunk"):
        train(dataset, make_recipe(freeze_trunk=True), tmp_path / "run", cache_root=cache_root)
    policy = {**policy_mapping(), "image_encoder": {"kind": "small_cnn", "trainable": False}}
    with pytest.raises(HptError, match="freezes the image encoder 'small_cnn'"):
        train(dataset, make_recipe(policy=policy), tmp_path / "run", cache_root=cache_root)


def test_when_init_is_of_another_structure_expect_the_key(
    dataset: Dataset, tmp_path: Path, cache_root: Path
) -> None:
    train(dataset, make_recipe(iterations=1), tmp_path / "first", cache_root=cache_root)
    policy = {**policy_mapping(), "trunk": {"width": 32, "depth": 3, "heads": 2}}
    with pytest.raises(HptError, match="trunk.depth = 2, but the recipe has 3"):
        train(
            dataset,
            make_recipe(policy=policy),
            tmp_path / "second",
            start=InitialWeights(init=str(tmp_path / "first/last")),
            cache_root=cache_root,
        )


def test_when_the_folder_holds_a_run_expect_it_untouched(
    dataset: Dataset, tmp_path: Path, cache_root: Path
) -> None:
    train(dataset, make_recipe(iterations=1), tmp_path / "run", cache_root=cache_root)
    before = (tmp_path / "run/last/model.safetensors").read_bytes()
    with pytest.raises(HptError, match="already holds a training run; add --resume"):
        train(dataset, make_recipe(iterations=1, seed=5), tmp_path / "run", cache_root=cache_root)
    assert (tmp_path / "run/last/model.safetensors").read_bytes() == before


def test_when_the_folder_is_a_dataset_expect_it_untouched(
    dataset: Dataset, tmp_path: Path, cache_root: Path
) -> None:
    (tmp_path / "data/meta").mkdir(parents=True)
    (tmp_path / "data/meta/info.json").write_text("{}")
    with pytest.raises(HptError, match="is a dataset, but a folder for the run was expected"):
        train(dataset, make_recipe(iterations=1), tmp_path / "data", cache_root=cache_root)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["meta"]


def test_when_there_is_nothing_to_resume_expect_an_error(
    dataset: Dataset, tmp_path: Path, cache_root: Path
) -> None:
    with pytest.raises(HptError, match="cannot be resumed: there is no"):
        train(dataset, make_recipe(), tmp_path / "run", resume=True, cache_root=cache_root)


def test_when_resumed_with_another_recipe_expect_the_key(
    dataset: Dataset, tmp_path: Path, cache_root: Path
) -> None:
    train(dataset, make_recipe(), tmp_path / "run", cache_root=cache_root, stop_after=2)
    with pytest.raises(HptError, match="lr of the run in .* is 0.002, expected 0.001 as when it was started"):
        train(dataset, make_recipe(lr=2e-3), tmp_path / "run", resume=True, cache_root=cache_root)


def test_when_resumed_with_another_horizon_expect_both_values(
    dataset: Dataset, dataset_folder: Path, tmp_path: Path, cache_root: Path
) -> None:
    train(dataset, make_recipe(), tmp_path / "run", cache_root=cache_root, stop_after=2)
    longer = Embodiment.loads(EMBODIMENT.replace("observation_horizon: 2", "observation_horizon: 3"))
    with pytest.raises(HptError, match="embodiment.observation_horizon of .* is 3, expected 2 as when"):
        train(
            open_dataset(dataset_folder, longer),
            make_recipe(),
            tmp_path / "run",
            resume=True,
            cache_root=cache_root,
        )


def test_when_the_training_state_is_damaged_expect_a_remedy(
    dataset: Dataset, tmp_path: Path, cache_root: Path
) -> None:
    train(dataset, make_recipe(), tmp_path / "run", cache_root=cache_root, stop_after=2)
    path = tmp_path / "run/train_state.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(HptError, match=r"train_state.pt' cannot be read.*--init"):
        train(dataset, make_recipe(), tmp_path / "run", resume=True, cache_root=cache_root)


def test_when_the_loss_is_not_finite_expect_an_error(
    dataset: Dataset, tmp_path: Path, cache_root: Path
) -> None:
    recipe = make_recipe(lr=1e30, gradient_clip=0.0)
    with pytest.raises(HptError, match="lower lr"):
        train(dataset, recipe, tmp_path / "run", cache_root=cache_root)


def test_on_sigint_the_run_is_saved_and_goes_on_later(
    dataset: Dataset, tmp_path: Path, cache_root: Path
) -> None:
    class Interrupting(Listener):
        def bar(self, label: str, done: int, total: int, note: str = "") -> None:
            if label == "training" and done == 4:
                os.kill(os.getpid(), signal.SIGINT)

    out = tmp_path / "run"
    before = signal.getsignal(signal.SIGINT)
    result = train(dataset, make_recipe(), out, cache_root=cache_root, report=Interrupting())
    assert result.interrupted
    assert 4 <= result.steps < 12
    assert signal.getsignal(signal.SIGINT) is before
    assert train(dataset, make_recipe(), out, resume=True, cache_root=cache_root).steps == 12


def test_an_epoch_of_training_decodes_no_video(
    own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import av

    opened: list[str] = []
    real = av.open

    def counting(file: str, *rest: object, **more: object) -> object:
        opened.append(file)
        return real(file, *rest, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(av, "open", counting)
    monkeypatch.setattr("hpt_ros.learning.cache.pool_size", lambda: 0)  # else others open them
    dataset = open_dataset(own_folder)
    for run in ("first", "second"):  # 12 steps of 8 are more than two epochs
        train(dataset, make_recipe(), tmp_path / run)
    assert len(opened) == len(set(opened)) == 4


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    recipe = make_recipe(iterations=100, warmup_iterations=10, lr=2.0)
    rates = [learning_rate(recipe, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[10] == 2.0 == max(rates)
    assert rates[55] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(0.0)
    assert all(a < b for a, b in pairwise(rates[:10]))
    assert all(a > b for a, b in pairwise(rates[10:]))


def test_the_average_forgets_the_start_and_then_decays_slowly() -> None:
    assert ema_decay_at(0.999, 0) == 0.1
    assert ema_decay_at(0.999, 10**6) == 0.999
    assert ema_decay_at(0.0, 500) == 0.0


def test_when_a_batch_fails_expect_the_error_in_the_loop() -> None:
    def make(step: int) -> int:
        if step == 2:
            raise OSError("disk gone")
        return step

    with prefetch(make, 0, 5) as batches:
        assert [batches.next(), batches.next()] == [0, 1]
        with pytest.raises(OSError, match="disk gone"):
            batches.next()


def test_a_policy_recipe_takes_its_sizes_from_the_embodiment(dataset: Dataset) -> None:
    recipe: PolicyRecipe = make_recipe().policy
    config = recipe.for_embodiment(dataset.embodiment)
    assert config.shapes["image"] == (2, 32, 48, 3)
    assert (config.state_dim, config.action_dim, config.action_horizon, config.observation_horizon) == (
        3,
        3,
        4,
        2,
    )


def test_matrices_and_convolutions_are_decayed_and_the_rest_is_not() -> None:
    decayed = [torch.nn.Linear(3, 2).weight, torch.nn.Conv1d(4, 2, 3).weight, torch.nn.Conv2d(3, 8, 3).weight]
    kept = [
        torch.nn.Linear(3, 2).bias,
        torch.nn.LayerNorm(4).weight,
        torch.zeros(1, 16, 64),
        torch.zeros(1, 1, 64),
    ]
    assert all(is_decayed(parameter) for parameter in decayed)
    assert not any(is_decayed(parameter) for parameter in kept)
