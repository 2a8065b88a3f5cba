# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Small policies and inputs for the tests of the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from support.sizes import policy_config

from hpt_ros.model import (
    DecoderHeadConfig,
    MlpHeadConfig,
    NoEncoderConfig,
    Policy,
    PolicyConfig,
    Statistics,
    StemConfig,
    TrunkConfig,
)
from hpt_ros.model.encoder_config import LanguageConfig
from hpt_ros.model.small_cnn import SmallCnnConfig

REFERENCE = Path(__file__).parents[1] / "data" / "reference"


@dataclass(frozen=True)
class Reference:
    """What the public HPT code computed with random weights; see README.md in the folder."""

    config: PolicyConfig
    weights: Path
    arrays: dict[str, npt.NDArray[np.float32]]

    def inputs(self) -> dict[str, npt.NDArray[np.float32]]:
        return {"image_features": self.arrays["in_image"], "state": self.arrays["in_state"]}


@pytest.fixture(autouse=True)
def _fixed_torch() -> Iterator[None]:
    """One thread (tests share the machine) and a fixed seed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def _config(**changes: Any) -> PolicyConfig:
    values: dict[str, Any] = {
        "embodiment": "arm",
        "action_dim": 2,
        "action_horizon": 4,
        "observation_horizon": 3,
        "state_dim": 3,
        "views": 2,
        "image_height": 32,
        "image_width": 48,
        "trunk": TrunkConfig(width=32, depth=2, heads=4),
        "image_encoder": SmallCnnConfig(channels=(8, 16, 16), trainable=True),
    }
    return policy_config(**(values | changes))


@pytest.fixture
def make_config() -> Callable[..., PolicyConfig]:
    """Build a configuration: two views of 32x48 pixels through a small CNN, three joints, two actions, four ticks."""
    return _config


ALL = ("image", "depth", "state", "wrench", "tactile", "pointcloud", "actions", "language")


@pytest.fixture
def every_modality() -> dict[str, Any]:
    """Changes to the small configuration that give it a stem for every modality there is, two tasks, two arrays."""
    return {
        "stems": tuple(StemConfig(name, widths=(24,), tokens=2, heads=2, head_width=8) for name in ALL),
        "depth_views": 1,
        "depth_height": 16,
        "depth_width": 24,
        "wrench_dim": 6,
        "tactile_arrays": 2,
        "tactile_values": 5,
        "clouds": 2,
        "cloud_points": 7,
        "tasks": ("feed the dog", "fetch the bowl"),
        "language": LanguageConfig(kind="none", tokens=4, width=6),
    }


@pytest.fixture
def make_policy() -> Callable[..., Policy]:
    """Build a small policy with statistics, in evaluation mode."""

    def make(**changes: Any) -> Policy:
        policy = Policy(_config(**changes))
        rng = np.random.default_rng(7)
        samples = {
            name: rng.normal(size=(50, policy.normaliser[name].dim)) for name in policy.normaliser.params_dict
        }
        samples["action"] = samples["action"] * 3.0 + 1.0
        policy.set_statistics({name: Statistics.of(values) for name, values in samples.items()})
        if policy.language is not None:
            policy.set_task_embeddings(torch.randn(policy.language.embeddings.shape))
        return policy.eval()

    return make


@pytest.fixture
def make_inputs() -> Callable[..., dict[str, Any]]:
    """Build random inputs of a configuration's shapes."""

    def make(
        config: PolicyConfig, *, batch: int = 2, seed: int = 0, steps: int | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        rng = np.random.default_rng(seed)
        head = (batch, steps or config.observation_horizon)
        shapes = {**config.shapes, "actions": (config.action_dim,)}
        kinds = {"image": (256, np.uint8), "depth": (4000, np.uint16)}
        inputs: dict[str, npt.NDArray[Any]] = {}
        for name, tail in shapes.items():
            if name in kinds and name in config.modalities:
                top, dtype = kinds[name]
                inputs[name] = rng.integers(0, top, (*head, *tail), dtype=dtype)
            elif name in config.modalities:
                inputs[name] = rng.normal(size=(*head, *tail)).astype(np.float32)
        if "language" in config.modalities:
            inputs["task"] = rng.permutation(max(batch, len(config.tasks)))[:batch] % len(config.tasks)
        return inputs

    return make


@pytest.fixture
def reference() -> Callable[[str], Reference]:
    """Load a folder of test/data/reference: its configuration as ours, the weight file, the arrays."""

    def load(name: str) -> Reference:
        folder = REFERENCE / name
        given = json.loads((folder / "config.json").read_text())
        stems = tuple(
            StemConfig(
                modality,
                widths=tuple(given["stem"][modality]["widths"]),
                tokens=given["stem"]["crossattn_latent"][modality],
                heads=given["stem"]["crossattn_heads"],
                head_width=given["stem"]["crossattn_dim_head"],
            )
            for modality in given["modalities"]
        )
        decoder = given["head"]["_target_"].endswith("TransformerDecoder")
        config = policy_config(
            embodiment="arm",
            action_dim=given["action_dim"],
            action_horizon=given["action_horizon"],
            observation_horizon=given["observation_horizon"],
            state_dim=given["stem"]["state"]["input_dim"],
            views=2,
            trunk=TrunkConfig(given["embed_dim"], given["num_blocks"], given["num_heads"]),
            stems=stems,
            image_encoder=NoEncoderConfig(cells=49, cell_width=given["stem"]["image"]["input_dim"]),
            pooling=given["token_postprocessing"],
            head=DecoderHeadConfig(projection=False) if decoder else MlpHeadConfig(),
        )
        with np.load(folder / "io.npz") as arrays:
            return Reference(config, folder / "model.pth", dict(arrays))

    return load
