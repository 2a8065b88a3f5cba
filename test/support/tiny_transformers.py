# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Tiny random models of transformers in folders, as a hub would give the published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="make setup EXTRAS=transformers")

# As facebook/dinov2-small's preprocessor_config.json, but smaller.
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PREPROCESSOR: dict[str, Any] = {
    "crop_size": {"height": 42, "width": 42},
    "do_center_crop": True,
    "do_resize": True,
    "image_mean": MEAN,
    "image_std": STD,
    "resample": 3,
    "size": {"shortest_edge": 48},
}


def save_model(folder: Path, model, preprocessor=PREPROCESSOR) -> Path:
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def tiny_dinov2(**changes):
    torch.manual_seed(3)
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
    }
    return transformers.Dinov2Model(transformers.Dinov2Config(**sizes | changes)).eval()


def assert_same(net, folder: Path) -> None:
    """The library itself reads the same weights from the folder; names in files and in memory may differ."""
    expected = transformers.AutoModel.from_pretrained(folder).state_dict()
    actual = net.network.state_dict()
    assert actual.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in actual.items())
