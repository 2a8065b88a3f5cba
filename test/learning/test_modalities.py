# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Every modality through the whole way: dataset, training, checkpoint, and the policy that is loaded from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.refused import refused

from hpt_ros.dataset import Dataset, open_dataset
from hpt_ros.embodiment import Embodiment, EmbodimentError
from hpt_ros.errors import Code, HptError
from hpt_ros.learning import Recipe, RecipeError, Windows, open_batch_source, read_recipe, train
from hpt_ros.learning.evaluation import validate
from hpt_ros.learning.mixture import mixture_of
from hpt_ros.learning.reporter import Silent
from hpt_ros.learning.samples import split_episodes
from hpt_ros.learning.statistics import merged, training_statistics
from hpt_ros.model import MultiPolicy, Policy, Statistics, load_checkpoint

from .many import EMBODIMENT, TASKS, write_many

SENSED = ("image", "depth", "state", "wrench", "tactile", "pointcloud", "actions")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The dataset of the robot with every modality; its caches lie beside it."""
    root = tmp_path_factory.mktemp("many") / "many"
    write_many(root)
    return open_dataset(root)


def recipe_of(*modalities: str, stem: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    """A recipe with stems for some modalities; `stem` and "policy" change these."""
    stems = [
        {"modality": modality, "widths": [16], "tokens": 3, "heads": 2, "head_width": 8, **(stem or {})}
        for modality in modalities
    ]
    policy = {
        "stems": stems,
        "trunk": {"width": 32, "depth": 2, "heads": 2},
        "image_encoder": {"kind": "small_cnn", "trainable": True, "channels": [8, 8, 16]},
        "depth_encoder": {"channels": [8, 16]},
        "language": {"kind": "t5", "tokens": 2, "width": 6},
        "head": {"kind": "mlp", "widths": [32, 32], "dropout": 0.0},
        **changes.pop("policy", {}),
    }
    mapping = {
        "policy": policy,
        "iterations": 30,
        "batch_size": 16,
        "lr": 3e-3,
        "augment": {"brightness": 0.0, "contrast": 0.0, "colour": 0.0, "shift_px": 0},
        "validation_ratio": 0.3,
        "validation_every": 30,
        "log_every": 2,
        "threads": 1,
    }
    return read_recipe({**mapping, **changes}, where="test recipe")


def inputs_of(policy: Policy, dataset: Dataset) -> dict[str, Any]:
    """One sample of the first two episodes, one of each task."""
    robot = dataset.embodiment
    windows = Windows.of(dataset.episodes[:2], robot.observation_horizon, robot.action.horizon)
    middle = len(windows) // 4
    return (
        open_batch_source(policy, dataset, None, Silent())
        .batch(windows, np.array([middle, 3 * middle]))
        .inputs
    )


def losses_of(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize("modality", SENSED)
def test_a_modality_is_trained_saved_and_loaded(many: Dataset, tmp_path: Path, modality: str) -> None:
    recipe = recipe_of(modality)
    train(many, recipe, tmp_path / "run")
    losses = losses_of(tmp_path / "run")
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:2])

    loaded = load_checkpoint(tmp_path / "run/last").policy
    assert loaded.config == recipe.policy.for_embodiment(many.embodiment)
    assert loaded.config.modality_embedding
    trained = Policy(loaded.config)
    state = torch.load(tmp_path / "run/train_state.pt", weights_only=True)
    trained.load_state_dict(state["average"], strict=True)
    inputs = inputs_of(loaded, many)
    chunk = loaded.predict(inputs)
    assert torch.equal(chunk, trained.eval().predict(inputs))
    assert tuple(chunk.shape) == (2, 3, 2)
    # Each modality alone shows the side; what is seen decides.
    assert chunk[0, 0, 0] < chunk[1, 0, 0]
    swapped = {name: values[::-1].copy() for name, values in inputs.items()}
    torch.testing.assert_close(loaded.predict(swapped), chunk.flip(0), rtol=0, atol=1e-5)
    torch.manual_seed(recipe.seed)
    token = f"modalities_tokens.{modality}"
    assert not torch.equal(state["policy"][token], Policy(loaded.config).state_dict()[token])  # it learns too


def test_all_modalities_at_once_with_some_missing_now_and_then(many: Dataset, tmp_path: Path) -> None:
    recipe = recipe_of(*SENSED, stem={"missing": "drop", "drop_probability": 0.5}, iterations=8)
    train(many, recipe, tmp_path / "straight")
    train(many, recipe, tmp_path / "parts", stop_after=3)
    train(many, recipe, tmp_path / "parts", resume=True)
    straight, parts = (load_checkpoint(tmp_path / run / "last") for run in ("straight", "parts"))
    for name, value in straight.policy.state_dict().items():
        assert torch.equal(value, parts.policy.state_dict()[name]), name
    assert straight.metrics["validation_loss"] == parts.metrics["validation_loss"]
    # The validation was given every modality.
    mixture = mixture_of(many, recipe.validation_ratio, recipe.seed)
    source = open_batch_source(straight.policy, many, None, Silent())
    measured = validate(MultiPolicy.of(straight.policy), mixture, [source], recipe)
    assert measured["validation_loss"] == pytest.approx(straight.metrics["validation_loss"], rel=1e-6)
    inputs = inputs_of(straight.policy, many)
    assert inputs.keys() == set(SENSED)
    whole = straight.policy.predict(inputs)
    without = straight.policy.predict({name: inputs[name] for name in ("state", "image")})
    assert not torch.equal(whole, without)


def test_the_statistics_are_those_of_the_training_episodes(many: Dataset) -> None:
    split = split_episodes(many, 0.3, 0)
    statistics = training_statistics([(many, split)])
    rows = np.concatenate([np.arange(episode.start, episode.stop) for episode in split.train])
    tactile = np.concatenate(
        [many.arrays[f"observation.tactile.{name}"][rows] for name in ("thumb", "finger")]
    )
    samples = {
        "action": many.action[rows],
        "state": many.state[rows],
        "wrench": many.arrays["observation.wrench"][rows],
        "tactile": tactile,
        "pointcloud": many.arrays["observation.pointcloud.cloud"][rows].reshape(-1, 3),
    }
    assert statistics.keys() == samples.keys()
    for name, values in samples.items():
        expected = Statistics.of(values)
        for part in ("min", "max", "mean", "std"):
            np.testing.assert_allclose(
                getattr(statistics[name], part), getattr(expected, part), rtol=1e-5, atol=1e-6
            )
    assert training_statistics([(many, split)], ("image", "wrench")).keys() == {"action", "wrench"}


def test_statistics_of_parts_are_those_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(1000, 3)) * [1e-3, 1.0, 10.0] + 500.0).astype(np.float32)
    found = merged(np.array_split(values, [1, 7, 400]))
    expected = Statistics.of(values)
    for part in ("min", "max", "mean", "std"):
        np.testing.assert_allclose(getattr(found, part), getattr(expected, part), rtol=1e-6)


def test_a_recipe_takes_all_sizes_from_the_embodiment() -> None:
    robot = Embodiment.loads(EMBODIMENT)
    config = recipe_of(*SENSED, "language").policy.for_embodiment(robot, TASKS)
    assert config.modalities == (*SENSED, "language")
    assert config.action_dim == 2
    assert config.shapes == {
        "image": (1, 32, 32, 3), "depth": (1, 16, 16), "state": (4,), "wrench": (6,), "tactile": (2, 4),
        "pointcloud": (1, 24, 3),
    }  # fmt: skip
    assert config.tasks == TASKS
    assert recipe_of("state").policy.for_embodiment(robot, TASKS).tasks == ()


def test_when_the_robot_lacks_a_stems_stream_expect_what_it_has() -> None:
    robot = Embodiment.loads(
        "\n".join(line for line in EMBODIMENT.splitlines() if "tactile" not in line and "length" not in line)
    )
    with pytest.raises(
        RecipeError, match="stem for 'tactile', but embodiment 'many' has streams for image, depth"
    ):
        recipe_of("tactile").policy.for_embodiment(robot)
    silent = Embodiment.loads(EMBODIMENT.replace("fields: [position, velocity]", "fields: [velocity]"))
    with refused(
        EmbodimentError,
        Code.INVALID,
        subject="embodiment 'many'",
        value="j1",
        problem="but no stream has its position",
        remedy="position",
    ):
        recipe_of("actions").policy.for_embodiment(silent)


def test_when_views_differ_in_size_expect_both_sizes() -> None:
    second = """  - {name: side, modality: depth, topic: /side, type: sensor_msgs/msg/Image, rate_hz: 10.0,
     tolerance_s: 0.1, image: {height: 24, width: 16}}
action:"""
    robot = Embodiment.loads(EMBODIMENT.replace("action:", second, 1))
    with pytest.raises(HptError, match="depth streams have the sizes range 16x16, side 24x16"):
        recipe_of("depth").policy.for_embodiment(robot)
