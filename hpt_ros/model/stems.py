# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Stems: one per modality and embodiment; each turns any number of inputs into a fixed number of tokens."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from hpt_ros.model.attention import CrossAttention
from hpt_ros.model.config import StemConfig
from hpt_ros.model.init import TOKEN_STD, start_cross_attention_, start_mlp_


class Stem(nn.Module):
    """MLP over each input entry, then cross-attention from learnable tokens.

    Names are those of the published files: `tokens`, `net.{0,2,...}`, `cross_attention.*`.
    """

    table: Tensor

    def __init__(self, config: StemConfig, *, positions: Tensor, width: int) -> None:
        """Build a stem.

        Args:
            config: sizes of the MLP and of the cross-attention.
            positions: (K, D), added to the entries; K is the most that one sample brings (horizon x views x cells), D
                the numbers in one (a cell of a feature map, a state).
            width: width d of the tokens given to the trunk.
        """
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(positions.shape[1], config.widths[0]), nn.SiLU()]
        for before, after in pairwise(config.widths):
            layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.SiLU()]
        self.net = nn.Sequential(*layers, nn.Linear(config.widths[-1], width))
        self.tokens = nn.Parameter(torch.empty(1, config.tokens, width).normal_(std=TOKEN_STD))
        self.cross_attention = CrossAttention(width, config.heads, config.head_width, config.dropout)
        start_mlp_(self.net)
        start_cross_attention_(self.cross_attention)
        self.register_buffer("table", positions, persistent=False)

    def forward(self, entries: Tensor) -> Tensor:
        """Return tokens (B, n, d) of entries (B, K, D), ordered by time first; fewer of them read the table's start."""
        positioned = entries + self.table[: entries.shape[1]]
        tokens: Tensor = self.cross_attention(self.tokens, self.net(positioned))
        return tokens
