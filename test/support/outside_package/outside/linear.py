# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A head: one linear layer from the trunk's feature to the chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from hpt_ros.model import PolicyConfig
from hpt_ros.model.head_config import FEATURE, HeadConfig, HeadKind
from hpt_ros.model.heads import Head
from hpt_ros.model.registry import narrow
from hpt_ros.structured import field


@dataclass(frozen=True, slots=True)
class LinearConfig(HeadConfig):
    """Its keys in a recipe, policy.head, beside its kind."""

    kind: ClassVar[str] = "linear"
    bias: bool = field("add a learnable constant to each number", default=True)


class LinearHead(Head):
    """Reads one feature per chunk."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.chunk = (config.action_horizon, config.action_dim)
        bias = narrow(config.head, LinearConfig).bias
        self.net = nn.Linear(config.trunk.width, config.action_horizon * config.action_dim, bias=bias)

    def forward(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return normalised actions (B, horizon, Da) of features (B, d)."""
        out: Tensor = self.net(features)
        return out.reshape(features.shape[0], *self.chunk)


HEAD = HeadKind("linear", LinearHead, LinearConfig, reads=(FEATURE,))
