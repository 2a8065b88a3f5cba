# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which parts learn, from where they start, and what is computed once: frozen blocks, baselines, cached features."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.refused import refused

from hpt_ros.dataset import Dataset
from hpt_ros.errors import Code, HptError
from hpt_ros.learning import InitialWeights, train
from hpt_ros.learning.augment import AugmentConfig, ImageChanges, change_images, stacked
from hpt_ros.learning.batch_source import BatchSource, encoder_digest, open_batch_source
from hpt_ros.learning.batches import BatchMaker
from hpt_ros.learning.mixture import mixture_of
from hpt_ros.learning.optimiser import freeze, train_mode
from hpt_ros.learning.recipe import recipe_mapping
from hpt_ros.model import MultiPolicy, Policy, Statistics, load_checkpoint

from .conftest import make_recipe

QUIET = {"brightness": 0.0, "contrast": 0.0, "colour": 0.0, "shift_px": 0}


class Listener:
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, sentence: str) -> None:
        self.lines.append(sentence)

    def bar(self, label: str, done: int, total: int, note: str = "") -> None:
        self.lines.append(f"{label} {done}/{total}")


def policy_of(**changes: Any) -> dict[str, Any]:
    mapping: dict[str, Any] = recipe_mapping(make_recipe())["policy"]
    return mapping | changes


def frozen_encoder() -> dict[str, Any]:
    return policy_of(image_encoder={"kind": "small_cnn", "trainable": False, "channels": [8, 8, 16]})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder).policy.state_dict()


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line.get("loss", line.get("validation_loss")) for line in lines]


@pytest.fixture(scope="module")
def first(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint to start from."""
    run = tmp_path_factory.mktemp("first") / "run"
    cache = tmp_path_factory.getbasetemp() / "cache"
    train(dataset, make_recipe(iterations=2), run, cache_root=cache)
    return run / "last"


# --- frozen blocks ---------------------------------------------------------------------------------------------------


def test_when_blocks_are_frozen_expect_these_as_they_were_and_the_others_not(
    dataset: Dataset, tmp_path: Path, cache_root: Path, first: Path
) -> None:
    recipe, listener = make_recipe(iterations=4, freeze_blocks=1, seed=3), Listener()
    out = tmp_path / "run"
    train(
        dataset, recipe, out, start=InitialWeights(trunk=str(first)), cache_root=cache_root, report=listener
    )
    before, after = weights(first), weights(out / "last")
    for name, value in before.items():
        if name.startswith("trunk."):
            assert torch.equal(value, after[name]) == (".blocks.0." in name), name
    assert any(line.startswith("  trunk:") and "1 of 2 blocks frozen" in line for line in listener.lines)
    assert f"- trunk: {first}, 1 of 2 blocks frozen" in load_checkpoint(out / "last").card


def test_when_blocks_are_frozen_expect_no_drop_path_in_them(dataset: Dataset) -> None:
    recipe = make_recipe(freeze_blocks=1)
    policy = Policy(recipe.policy.for_embodiment(dataset.embodiment))
    freeze(MultiPolicy.of(policy), recipe, 0)
    train_mode(MultiPolicy.of(policy), recipe, 0)
    assert [block.training for block in policy.get_submodule("trunk.trunk.blocks").children()] == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"freeze_blocks": 3},
            "freeze_blocks 3 and freeze_trunk false with a trunk of 2 blocks; freeze at most 2",
        ),
        ({"freeze_blocks": 1, "freeze_trunk": True}, "freeze_blocks 1 and freeze_trunk true .* and not both"),
    ],
)
def test_when_more_is_frozen_than_there_is_expect_one_sentence(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(HptError, match=message):
        make_recipe(**changes)


def test_when_frozen_blocks_have_no_weights_expect_an_error(
    dataset: Dataset, tmp_path: Path, cache_root: Path
) -> None:
    with pytest.raises(HptError, match=r"freezes the trunk \(freeze_blocks: 1\).*set freeze_blocks to 0"):
        train(dataset, make_recipe(freeze_blocks=1), tmp_path / "run", cache_root=cache_root)


def test_when_a_run_with_frozen_parts_is_resumed_expect_its_own_weights_and_sources(
    dataset: Dataset, tmp_path: Path, cache_root: Path, first: Path
) -> None:
    recipe, start = make_recipe(freeze_trunk=True), InitialWeights(trunk=str(first))
    out = tmp_path / "run"
    train(dataset, recipe, tmp_path / "straight", start=start, cache_root=cache_root)
    train(dataset, recipe, out, start=start, cache_root=cache_root, stop_after=5)
    train(dataset, recipe, out, cache_root=cache_root, resume=True)
    straight, resumed = weights(tmp_path / "straight/last"), weights(out / "last")
    assert all(torch.equal(value, resumed[name]) for name, value in straight.items())
    assert f"- trunk: {first}, 2 of 2 blocks frozen" in load_checkpoint(out / "last").card


# --- memory and baselines --------------------------------------------------------------------------------------------


def test_when_activations_are_computed_again_expect_the_same_weights(
    dataset: Dataset, tmp_path: Path, cache_root: Path
) -> None:
    policy = policy_of(trunk={"width": 32, "depth": 3, "heads": 2, "drop_path": 0.3})
    for again in (False, True):
        recipe = make_recipe(iterations=4, policy=policy, activation_checkpointing=again)
        train(dataset, recipe, tmp_path / str(again), cache_root=cache_root)
    one, two = (weights(tmp_path / name / "last") for name in ("False", "True"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_when_activations_are_computed_again_expect_each_block_run_twice(dataset: Dataset) -> None:
    recipe = make_recipe(activation_checkpointing=True)
    policy = Policy(recipe.policy.for_embodiment(dataset.embodiment))
    policy.set_statistics({name: Statistics.of(np.eye(3)) for name in ("action", "state")})
    train_mode(MultiPolicy.of(policy), recipe, 0)
    runs: list[int] = []
    for index, block in enumerate(policy.get_submodule("trunk.trunk.blocks").children()):
        block.register_forward_pre_hook(lambda *_, index=index: runs.append(index))
    inputs: dict[str, Any] = {
        "image": np.zeros((2, 2, 2, 32, 48, 3), np.uint8),
        "state": np.zeros((2, 2, 3), np.float32),
    }
    action, is_pad = np.zeros((2, 4, 3), np.float32), np.zeros((2, 4), bool)
    policy.loss(inputs, action, is_pad).backward()
    assert sorted(runs) == [0, 0, 1, 1]
    runs.clear()
    policy.eval().predict(inputs)
    assert runs == [0, 1]


def test_the_baseline_without_a_trunk_is_trained_saved_and_loaded(
    dataset: Dataset, tmp_path: Path, cache_root: Path
) -> None:
    policy = policy_of(trunk={"width": 32, "depth": 0, "heads": 2})
    recipe = make_recipe(iterations=40, lr=4e-3, policy=policy, augment=QUIET)
    listener = Listener()
    train(dataset, recipe, tmp_path / "run", cache_root=cache_root, report=listener)
    assert "  trunk: none (the baseline without a trunk)" in listener.lines
    assert np.mean(losses(tmp_path / "run")[-4:]) < 0.7 * losses(tmp_path / "run")[0]
    checkpoint = load_checkpoint(tmp_path / "run/last")
    assert not any(name.startswith("trunk.") for name in checkpoint.policy.state_dict())
    assert "- trunk: none (the baseline without a trunk)" in checkpoint.card


# --- cached features -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder_run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose image encoder is frozen, to start from; its encoder's weights are random ones."""
    from hpt_ros.model import save_checkpoint

    recipe = make_recipe(policy=frozen_encoder())
    torch.manual_seed(11)
    policy = Policy(recipe.policy.for_embodiment(dataset.embodiment))
    policy.set_statistics({"action": Statistics.of(dataset.action), "state": Statistics.of(dataset.state)})
    folder = tmp_path_factory.mktemp("frozen") / "checkpoint"
    save_checkpoint(
        folder,
        policy,
        embodiment_yaml=dataset.embodiment.to_yaml(),
        stats={},
        card="",
        metrics={},
        training={},
    )
    return folder


def test_when_features_are_cached_expect_the_uncached_run(
    dataset: Dataset, tmp_path: Path, cache_root: Path, encoder_run: Path
) -> None:
    start, listener = InitialWeights(init=str(encoder_run)), Listener()
    augment = {**QUIET, "state_noise": 0.01}
    for cached in (False, True):
        recipe = make_recipe(policy=frozen_encoder(), augment=augment, cache_features=cached)
        train(dataset, recipe, tmp_path / str(cached), start=start, cache_root=cache_root, report=listener)
    one, two = (tmp_path / name for name in ("False", "True"))
    np.testing.assert_allclose(losses(one), losses(two), rtol=1e-4)
    two_weights = weights(two / "last")
    for name, value in weights(one / "last").items():
        torch.testing.assert_close(value, two_weights[name], rtol=1e-3, atol=1e-4)
    assert any(line.startswith("features: of every frame once, 24 cells of 16") for line in listener.lines)
    assert "features computed once" in load_checkpoint(two / "last").card
    # The second run of the same encoder encodes nothing, and is resumed bit for bit.
    again = Listener()
    recipe = make_recipe(policy=frozen_encoder(), augment=augment, cache_features=True)
    train(dataset, recipe, tmp_path / "parts", start=start, cache_root=cache_root, stop_after=5)
    train(dataset, recipe, tmp_path / "parts", cache_root=cache_root, resume=True, report=again)
    assert any(line.startswith("encoding") for line in listener.lines)
    assert not any(line.startswith("encoding") for line in again.lines)
    parts = weights(tmp_path / "parts/last")
    assert all(torch.equal(value, parts[name]) for name, value in two_weights.items())


def test_shared_parts_without_the_image_encoder_are_no_weights_for_a_frozen_one(
    dataset: Dataset, tmp_path: Path, cache_root: Path, first: Path
) -> None:
    recipe = make_recipe(policy=frozen_encoder())
    with refused(HptError, Code.MISSING, subject="the recipe", problem="freezes the image encoder"):
        train(
            dataset,
            recipe,
            tmp_path / "run",
            start=InitialWeights(shared=str(first)),
            cache_root=cache_root,
        )


def test_when_features_of_a_batch_norm_are_cached_expect_those_that_a_robot_computes(
    dataset: Dataset, tmp_path: Path
) -> None:
    # Of a policy that was just built and never told that it trains, as in a run's first minute.
    encoder = {"kind": "efficientnet_lite0", "stage": 1}
    policy = Policy(
        make_recipe(policy=policy_of(image_encoder=encoder)).policy.for_embodiment(dataset.embodiment)
    )
    before = {name: value.clone() for name, value in policy.encoders.state_dict().items()}
    source = open_batch_source(policy, dataset, tmp_path, Listener(), cache_features=True)
    after = policy.encoders.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert source.frames is not None
    frames = torch.from_numpy(source.frames[:4].copy())[:, None]
    features = torch.from_numpy(source.features["image"][:4].copy())
    torch.testing.assert_close(policy.eval().encode_images(frames)[:, 0], features, rtol=1e-4, atol=1e-5)


def test_copies_are_of_images_that_are_changed_alike_within_an_episode_and_view(
    dataset: Dataset, cache_root: Path, encoder_run: Path
) -> None:
    policy = load_checkpoint(encoder_run).policy
    bright = AugmentConfig(brightness=0.3, contrast=0.0, colour=0.0, shift_px=0)

    def features_of(strengths: AugmentConfig, copies: int) -> tuple[BatchSource, Listener]:
        listener = Listener()
        source = open_batch_source(
            policy, dataset, cache_root, listener, cache_features=True, changed=strengths, copies=copies
        )
        return source, listener

    source, _ = features_of(bright, 2)
    assert source.frames is not None
    one, two = source.copies["image"]
    assert np.abs(one - source.features["image"]).max() > 0.1
    assert np.abs(one - two).max() > 0.1
    # The light of an episode's first image, by brute force, is that of all its images.
    for episode in dataset.episodes[:2]:
        frames = torch.from_numpy(source.frames[episode.start : episode.stop].copy())[:, None]
        ours = torch.from_numpy(one[episode.start : episode.stop, 0].copy())
        errors = []
        for light in np.linspace(-0.3, 0.3, 121):
            shape = (1, frames.shape[2])
            changes = ImageChanges(
                tint=torch.ones(*shape, 3),
                gain=torch.ones(shape),
                light=torch.full(shape, 255 * float(light)),
            )
            cells = policy.encode_images(change_images(frames[:1], changes))[0, 0, 0]
            errors.append((float((cells - ours[0]).abs().mean()), changes))
        best = min(errors, key=lambda item: item[0])
        whole = policy.encode_images(change_images(frames, stacked([best[1]] * len(frames))))[:, 0, 0]
        assert float((whole - ours).abs().mean()) < 0.02
        assert float((policy.encode_images(frames)[:, 0, 0] - ours).abs().mean()) > 0.02
    # More copies are made in addition, other strengths anew.
    _, listener = features_of(bright, 3)
    assert listener.lines.count(f"encoding {dataset.length}/{dataset.length}") == 1
    _, listener = features_of(replace(bright, brightness=0.2, state_noise=0.5), 1)
    assert listener.lines.count(f"encoding {dataset.length}/{dataset.length}") == 1
    _, listener = features_of(replace(bright, state_noise=0.5), 3)  # which is not of the images
    assert not any(line.startswith("encoding") for line in listener.lines)


def test_samples_take_their_features_from_any_copy_and_validation_from_none(
    dataset: Dataset, tmp_path: Path, cache_root: Path, encoder_run: Path
) -> None:
    recipe = make_recipe(policy=frozen_encoder(), cache_features=True, feature_copies=2)
    policy = load_checkpoint(encoder_run).policy
    mixture = mixture_of(dataset, 0.3, 0)
    source = open_batch_source(
        policy, dataset, cache_root, Listener(), cache_features=True, changed=recipe.augment, copies=2
    )
    windows = mixture.members[0].windows
    every = (source.features["image"], *source.copies["image"])
    taken = set()
    for step in range(10):
        (draw,) = mixture.draws(step, recipe.batch_size, recipe.seed)
        (part,) = BatchMaker(mixture, [source], recipe)(step)
        given = part.inputs["image_features"].numpy()
        for rows, features in zip(windows.rows(draw.samples)[0], given, strict=True):
            (copy,) = (
                number for number, values in enumerate(every) if np.array_equal(values[rows], features)
            )
            taken.add(copy)
    assert taken == {0, 1, 2}
    plain = source.batch(windows, np.arange(8)).inputs["image_features"]
    assert np.array_equal(plain, every[0][windows.rows(np.arange(8))[0]])
    # And a run of them is resumed bit for bit.
    start = InitialWeights(init=str(encoder_run))
    for run, stops in (("whole", (None,)), ("parts", (5, None))):
        for stop in stops:
            train(
                dataset, recipe, tmp_path / run, start=start, cache_root=cache_root, stop_after=stop,
                resume=stop is None and len(stops) > 1,
            )  # fmt: skip
    whole, parts = weights(tmp_path / "whole/last"), weights(tmp_path / "parts/last")
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_when_the_encoders_weights_or_settings_differ_expect_another_digest(dataset: Dataset) -> None:
    config = make_recipe(policy=frozen_encoder()).policy.for_embodiment(dataset.embodiment)
    policy = Policy(config)
    before = encoder_digest(policy)
    assert before == encoder_digest(policy)
    with torch.no_grad():
        next(policy.encoders["image"].parameters())[0, 0, 0, 0] += 1e-3
    assert encoder_digest(policy) != before
    other = policy_of(
        image_encoder={"kind": "small_cnn", "trainable": False, "shared": False, "channels": [8, 8, 16]}
    )
    assert (
        encoder_digest(Policy(make_recipe(policy=other).policy.for_embodiment(dataset.embodiment))) != before
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment": QUIET}, "cache_features, but its image encoder is trained"),
        (
            {"policy": frozen_encoder()},
            "cache_features and changes the images at random.*shift_px, crop and erase to 0",
        ),
        (
            {"policy": frozen_encoder(), "augment": QUIET, "feature_copies": 2},
            "feature_copies 2, but augment changes no image",
        ),
        ({"cache_features": False, "feature_copies": 2}, "feature_copies 2 without cache_features"),
        (
            {"policy": policy_of(stems=[{"modality": "state"}], image_encoder={"trainable": False})},
            "cache_features, but its image encoder is not there",
        ),
    ],
)
def test_when_features_would_change_expect_one_sentence(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(HptError, match=message):
        make_recipe(**{"cache_features": True, **changes})
