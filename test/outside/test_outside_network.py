# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A package outside the tree adds an image encoder, a pooling and a backend, which make one network with its head."""

from __future__ import annotations

from pathlib import Path

from support.outside import run

SCRIPT = """
import numpy as np
import torch
from hpt_ros.json_schema import json_schema
from hpt_ros.model import Policy, PolicyConfig, Statistics
from hpt_ros.model.backends import load_backend
from hpt_ros.model.backends.backend import example_arrays
from hpt_ros.runtime.policy_config import PolicyChoice

config = PolicyConfig.from_mapping(
    {
        "embodiment": "outsider", "action_dim": 2, "action_horizon": 4, "observation_horizon": 1,
        "shapes": {"image": [1, 32, 32, 3], "state": [3]}, "trunk": {"width": 32, "depth": 1, "heads": 2},
        "image_encoder": {"kind": "patches", "across": 2}, "pooling": "middle", "head": {"kind": "linear"},
    },
    where="the outsider's policy",
)
named = str(json_schema(PolicyConfig, title="policy"))
assert all(f"'{name}'" in named for name in ("patches", "middle", "linear"))
assert "plain" in PolicyChoice.__dataclass_fields__["backend"].metadata["choices"]
policy = Policy(config).eval()
policy.set_statistics(
    {name: Statistics.of(np.random.default_rng(0).normal(size=(9, size))) for name, size in
     policy.statistics_needed.items()}
)
eager, plain = load_backend("eager", policy), load_backend("plain", policy)
frame = torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8)
assert plain.encode("image", frame).shape == (1, 4, 8)
arrays = {name: array.normal_() for name, array in example_arrays(policy).items()}
assert torch.equal(plain.act(arrays), eager.act(arrays))
"""


def test_one_network_is_made_of_what_the_package_adds(outside_site: Path) -> None:
    run("-c", SCRIPT, site=outside_site)
