# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Pooling with weights of its own; the other ways to pool need none and are in the policy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hpt_ros.model.attention import CrossAttention
from hpt_ros.model.init import TOKEN_STD, start_cross_attention_


class AttentivePooling(nn.Module):
    """One learnable query reads all tokens through a cross-attention.

    The released code names such a pooling and does not have it, so there is no published layout to follow.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(1, 1, width).normal_(std=TOKEN_STD))
        self.cross_attention = CrossAttention(width, heads, width // heads, dropout=0.0)
        start_cross_attention_(self.cross_attention)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the feature (B, d) of tokens (B, N, d)."""
        pooled: Tensor = self.cross_attention(self.query, tokens)
        return pooled[:, 0]
