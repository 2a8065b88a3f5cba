# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Every head and pooling through the whole way: finetune, checkpoint, and the policy that the robot's node runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hpt_ros.cli import finetune
from hpt_ros.dataset import Dataset
from hpt_ros.learning import open_cache, train
from hpt_ros.learning.recipe import recipe_mapping
from hpt_ros.model import Policy, load_checkpoint
from hpt_ros.policies.hpt import CheckpointPolicy
from hpt_ros.policies.protocol import Observation
from hpt_ros.structured import dump_yaml

from .conftest import make_recipe

# Head kind and pooling.
WAYS = [
    ("mlp", "mean"),
    ("mlp", "attentive"),
    ("conv", "action_token"),
    ("decoder", "no-op"),
    ("gmm", "mean"),
    ("gmm", "action_token"),
    ("flow", "attentive"),
    ("flow", "action_token"),
    ("diffusion", "mean"),
    ("diffusion", "action_token"),
]


SMALLER = {
    "decoder": ["heads=2"],
    "flow": ["heads=2", "flow_width=32"],
    "diffusion": ["diffusion_widths=[16, 32]"],
}


@pytest.mark.parametrize(("kind", "pooling"), WAYS)
def test_a_head_is_finetuned_saved_loaded_and_run(
    dataset: Dataset, dataset_folder: Path, tmp_path: Path, cache_root: Path, kind: str, pooling: str
) -> None:
    if kind == "diffusion":
        pytest.importorskip("diffusers", reason="the extra 'diffusion' is not installed")
    recipe = tmp_path / "recipe.yaml"
    quiet = {"brightness": 0.0, "contrast": 0.0, "colour": 0.0, "shift_px": 0}
    recipe.write_text(dump_yaml(recipe_mapping(make_recipe(lr=4e-3, batch_size=16, augment=quiet))))
    words = [
        *(dataset_folder, "--out", tmp_path / "run", "--cache", cache_root),
        *("--recipe", recipe, "--iterations", 60, "--set", "validation_every=60"),
        *("--set", f"policy.head.kind={kind}", "--set", f"policy.pooling={pooling}"),
        *(word for change in SMALLER.get(kind, ()) for word in ("--set", f"policy.head.{change}")),
    ]
    parser = argparse.ArgumentParser()
    finetune.add_arguments(parser)
    assert finetune.run(parser.parse_args([str(word) for word in words])) == 0

    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert np.isfinite(losses).all()
    # A likelihood has no zero to come near to, so the fall is measured from where the loss began.
    assert np.mean(losses[-5:]) < np.mean(losses[:2]) - 0.2 * abs(np.mean(losses[:2]))

    loaded = load_checkpoint(tmp_path / "run/last")
    assert (loaded.config.head.kind, loaded.config.pooling) == (kind, pooling)
    frames = open_cache(dataset, cache_root).frames
    rows = [[5, 6], [dataset.episodes[1].start + 5, dataset.episodes[1].start + 6]]
    inputs: dict[str, NDArray[Any]] = {"image": frames[rows], "state": dataset.state[rows]}
    chunk = loaded.policy.predict(inputs)
    assert tuple(chunk.shape) == (2, 4, 3)
    assert torch.isfinite(chunk).all()

    robot = CheckpointPolicy(tmp_path / "run/last", "cpu", 1)
    for index in range(2):
        observed = Observation(0, {name: value[index : index + 1] for name, value in inputs.items()})
        on_robot = robot.predict(observed)
        assert (on_robot.shape, on_robot.dtype) == ((4, 3), np.float32)
        np.testing.assert_allclose(on_robot, chunk[index].numpy(), rtol=0, atol=1e-4)


def test_when_a_head_that_draws_is_resumed_expect_the_straight_run_bit_for_bit(
    dataset: Dataset, tmp_path: Path, cache_root: Path
) -> None:
    changes = {"head": {"kind": "flow", "flow_width": 32, "flow_depth": 1}, "pooling": "attentive"}
    recipe = make_recipe(policy=recipe_mapping(make_recipe())["policy"] | changes)
    train(dataset, recipe, tmp_path / "straight", cache_root=cache_root)
    train(dataset, recipe, tmp_path / "parts", cache_root=cache_root, stop_after=7)
    train(dataset, recipe, tmp_path / "parts", cache_root=cache_root, resume=True)
    one, two = (Policy.load(tmp_path / run / "last").state_dict() for run in ("straight", "parts"))
    assert one.keys() == two.keys()
    assert all(torch.equal(value, two[name]) for name, value in one.items())
