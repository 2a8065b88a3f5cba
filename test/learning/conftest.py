# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A small dataset, made once per session and copied by tests that damage it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tiny_dataset import dataset, dataset_folder, own_folder  # noqa: F401 - fixtures

from hpt_ros.learning import Recipe, read_recipe

from .pretraining import file, mixture  # noqa: F401 - fixtures


@pytest.fixture
def cache_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all training tests of the session."""
    return tmp_path_factory.getbasetemp() / "cache"


def make_recipe(**changes: object) -> Recipe:
    """A network of a few thousand parameters that trains in seconds."""
    mapping: dict[str, object] = {
        "policy": {
            "stems": [
                {"modality": "image", "widths": [16], "tokens": 4, "heads": 2, "head_width": 8},
                {"modality": "state", "widths": [16], "tokens": 2, "heads": 2, "head_width": 8},
            ],
            "trunk": {"width": 32, "depth": 2, "heads": 2},
            "image_encoder": {"kind": "small_cnn", "trainable": True, "channels": [8, 8, 16]},
            "head": {"kind": "mlp", "widths": [32, 32]},
        },
        "iterations": 12,
        "batch_size": 8,
        "lr": 1e-3,
        "validation_ratio": 0.3,
        "validation_every": 6,
        "log_every": 2,
        "threads": 1,
    }
    return read_recipe({**mapping, **changes}, where="test recipe")
