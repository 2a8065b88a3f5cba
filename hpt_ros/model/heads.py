# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Action heads: features of the trunk to a chunk of normalised actions, and the loss that each is trained with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpt_ros.model.attention import CrossAttention
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.head_config import HEADS, DecoderHeadConfig, MlpHeadConfig
from hpt_ros.model.init import TOKEN_STD, start_cross_attention_, start_mlp_
from hpt_ros.model.registry import narrow
from hpt_ros.registry import load_location

SMOOTH_L1_BETA = 0.05  # liruiw/HPT at 549433f; the paper says Huber


class Head(nn.Module, ABC):
    """What every head does. Features are (B, d), or one token per step (B, horizon, d), or all tokens (B, N, d)."""

    @abstractmethod
    def forward(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return normalised actions (B, horizon, Da); `generator` is for heads that start from noise."""

    def loss(self, features: Tensor, target: Tensor, is_real: Tensor) -> Tensor:
        """Return the scalar loss; smooth L1 unless a head has its own.

        Args:
            features: of the trunk.
            target: normalised actions, float32 (B, horizon, Da).
            is_real: bool (B, horizon); steps without it do not count, whatever their values.
        """
        predicted = self(features).to(torch.float32)
        losses = functional.smooth_l1_loss(predicted, target, beta=SMOOTH_L1_BETA, reduction="none")
        return losses[is_real].mean()


def hidden_layers(width: int, widths: Sequence[int], dropout: float) -> list[nn.Module]:
    """Layers of the published MLP head, but for its last: Linear, SiLU, then Linear, Dropout, LayerNorm, SiLU."""
    layers: list[nn.Module] = [nn.Linear(width, widths[0]), nn.SiLU()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.Dropout(dropout), nn.LayerNorm(after), nn.SiLU()]
    return layers


class MlpHead(Head):
    """MLP with LayerNorm and Tanh; reads one feature per chunk, or one action token per step.

    With the default widths its layers are Linear(d, 256), SiLU, Linear(256, 128), Dropout, LayerNorm, SiLU,
    Linear(128, out), Tanh: the layout and names of the published files.
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        head, steps = narrow(config.head, MlpHeadConfig), steps_per_feature(config)
        self.chunk = (config.action_horizon, config.action_dim)
        layers = hidden_layers(config.trunk.width, head.widths, head.dropout)
        layers.append(nn.Linear(head.widths[-1], config.action_dim * steps))
        if head.tanh:
            layers.append(nn.Tanh())
        self.net = nn.Sequential(*layers)

    def forward(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return normalised actions (B, horizon, Da) of features (B, d), or (B, horizon, d) of action tokens."""
        out: Tensor = self.net(features)
        return out.reshape(features.shape[0], *self.chunk)


class DecoderHead(Head):
    """One cross-attention from a learnable query per step to an MLP of the trunk's tokens.

    Names are those of the published files (`tokens`, `mlp.{0,2}`, `cross_attention.*`). The released head ends there,
    so that its output has the trunk's width; `out_proj` maps each step to the action and is ours (see
    `DecoderHeadConfig.projection`).
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        head, width = narrow(config.head, DecoderHeadConfig), config.trunk.width
        self.tokens = nn.Parameter(torch.empty(1, config.action_horizon, width).normal_(std=TOKEN_STD))
        self.cross_attention = CrossAttention(width, head.heads, head.head_width, head.dropout)
        self.mlp = nn.Sequential(
            nn.Linear(width, head.hidden_width), nn.SiLU(), nn.Linear(head.hidden_width, width)
        )
        start_mlp_(self.mlp)
        start_cross_attention_(self.cross_attention)
        self.out_proj = nn.Linear(width, config.action_dim) if head.projection else None

    def forward(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return normalised actions (B, horizon, Da) of tokens (B, N, d); without projection (B, horizon, d)."""
        steps: Tensor = self.cross_attention(self.tokens, self.mlp(features))
        return steps if self.out_proj is None else self.out_proj(steps)


def build_head(config: PolicyConfig) -> Head:
    """Build the head that the configuration names."""
    head: Head = load_location(HEADS[config.head.kind].location)(config)
    return head


def steps_per_feature(config: PolicyConfig) -> int:
    """Return how many steps a head makes of one feature."""
    return 1 if config.pooling == "action_token" else config.action_horizon
