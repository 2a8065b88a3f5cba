"""Action heads: features of the trunk to a chunk of normalised actions."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from hpt_ros.model.attention import CrossAttention
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.init import TOKEN_STD, start_cross_attention_, start_mlp_


class MlpHead(nn.Module):
    """MLP with LayerNorm and Tanh; reads one feature per chunk, or one action token per step.

    With the default widths its layers are Linear(d, 256), SiLU, Linear(256, 128), Dropout, LayerNorm, SiLU,
    Linear(128, out), Tanh: the layout and names of the published files.
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        head, per_step = config.head, config.pooling == "action_token"
        self.chunk = (config.action_horizon, config.action_dim)
        layers: list[nn.Module] = [nn.Linear(config.trunk.width, head.widths[0]), nn.SiLU()]
        for before, after in pairwise(head.widths):
            layers += [nn.Linear(before, after), nn.Dropout(head.dropout), nn.LayerNorm(after), nn.SiLU()]
        layers.append(
            nn.Linear(head.widths[-1], config.action_dim * (1 if per_step else config.action_horizon))
        )
        if head.tanh:
            layers.append(nn.Tanh())
        self.net = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Return normalised actions (B, horizon, Da) of features (B, d), or (B, horizon, d) of action tokens."""
        out: Tensor = self.net(features)
        return out.reshape(features.shape[0], *self.chunk)


class DecoderHead(nn.Module):
    """One cross-attention from a learnable query per step to an MLP of the trunk's tokens.

    Names are those of the published files (`tokens`, `mlp.{0,2}`, `cross_attention.*`). The released head ends there,
    so that its output has the trunk's width; `out_proj` maps each step to the action and is ours (see
    `HeadConfig.projection`).
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        head, width = config.head, config.trunk.width
        self.tokens = nn.Parameter(torch.empty(1, config.action_horizon, width).normal_(std=TOKEN_STD))
        self.cross_attention = CrossAttention(width, head.heads, head.head_width, head.dropout)
        self.mlp = nn.Sequential(
            nn.Linear(width, head.hidden_width), nn.SiLU(), nn.Linear(head.hidden_width, width)
        )
        start_mlp_(self.mlp)
        start_cross_attention_(self.cross_attention)
        self.out_proj = nn.Linear(width, config.action_dim) if head.projection else None

    def forward(self, features: Tensor) -> Tensor:
        """Return normalised actions (B, horizon, Da) of tokens (B, N, d); without projection (B, horizon, d)."""
        steps: Tensor = self.cross_attention(self.tokens, self.mlp(features))
        return steps if self.out_proj is None else self.out_proj(steps)


def build_head(config: PolicyConfig) -> MlpHead | DecoderHead:
    """Build the head that the configuration names."""
    return MlpHead(config) if config.head.kind == "mlp" else DecoderHead(config)
