# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How the trunk's tokens (B, N, d) become features; `POOLINGS` in `hpt_ros.model.config` names them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hpt_ros.model.attention import CrossAttention
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.init import TOKEN_STD, start_cross_attention_


class Pooling(nn.Module):
    """All tokens, as they are; what other poolings derive from."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.horizon = config.action_horizon

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the features of tokens (B, N, d)."""
        return tokens


class MeanPooling(Pooling):
    """The mean of all tokens."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the feature (B, d)."""
        return tokens.mean(dim=1)


class MaxPooling(Pooling):
    """The largest value of each channel."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the feature (B, d)."""
        return tokens.amax(dim=1)


class LastPooling(Pooling):
    """The last token."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the feature (B, d)."""
        return tokens[:, -1]


class ActionTokenPooling(Pooling):
    """The learnable tokens, one per step of the chunk, that the policy appends to the others."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Return one feature per step (B, horizon, d)."""
        return tokens[:, -self.horizon :]


class AttentivePooling(Pooling):
    """One learnable query reads all tokens through a cross-attention.

    The released code names such a pooling and does not have it, so there is no published layout to follow.
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__(config)
        width, heads = config.trunk.width, config.trunk.heads
        self.query = nn.Parameter(torch.empty(1, 1, width).normal_(std=TOKEN_STD))
        self.cross_attention = CrossAttention(width, heads, width // heads, dropout=0.0)
        start_cross_attention_(self.cross_attention)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the feature (B, d)."""
        pooled: Tensor = self.cross_attention(self.query, tokens)
        return pooled[:, 0]
