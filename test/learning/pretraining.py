# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What tests of training on many robots share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_mixture import mapping_of_recipe, write_robots

from hpt_ros.learning import Recipe, read_recipe
from hpt_ros.learning.mixture import Mixture, open_mixture
from hpt_ros.learning.mixture_config import load_mixture

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture of three robots."""
    return write_robots(tmp_path_factory.mktemp("robots"))


@pytest.fixture(scope="module")
def mixture(file: Path) -> Mixture:
    return open_mixture(load_mixture(file), 0.3, 0)


def recipe_of(**changes: Any) -> Recipe:
    return read_recipe(mapping_of_recipe(**changes), where="test recipe")


def state_of(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / "train_state.pt", weights_only=True)
    return state


def difference(a: Tensors, b: Tensors) -> float:
    """Largest absolute difference between tensors of the same names."""
    assert a.keys() == b.keys()
    return max(float((a[name].float() - b[name].float()).abs().max()) for name in a)
