# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The shared transformer trunk, with the parameter names of a published `trunk.pth`.

Source: liruiw/HPT at 549433f (pre-LN blocks, biases on every projection, one learnable key and value per block).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from hpt_ros.model.config import TrunkConfig

LAYER_NORM_EPS = 1e-6
INIT_STD = 0.02  # truncated normal for every Linear of the trunk, as usual for pre-LN transformers


class Attention(nn.Module):
    """Bidirectional multi-head self-attention with one extra learnable key and value.

    The names (`in_proj_weight`, `bias_k`, ...) are those of `torch.nn.MultiheadAttention` with `add_bias_kv`, which
    the published files hold; the computation goes through fused attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.bias_k = nn.Parameter(torch.empty(1, 1, width))
        self.bias_v = nn.Parameter(torch.empty(1, 1, width))
        self.out_proj = nn.Linear(width, width)
        for parameter in (self.in_proj_weight, self.bias_k, self.bias_v):
            nn.init.trunc_normal_(parameter, std=INIT_STD)

    def forward(self, x: Tensor) -> Tensor:
        """Attend among tokens: (B, N, d) to (B, N, d)."""
        batch, tokens, width = x.shape
        split = (batch, -1, self.heads, width // self.heads)
        q, k, v = functional.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        k = torch.cat((k, self.bias_k.expand(batch, 1, width)), dim=1)
        v = torch.cat((v, self.bias_v.expand(batch, 1, width)), dim=1)
        mixed = functional.scaled_dot_product_attention(
            q.reshape(split).transpose(1, 2),
            k.reshape(split).transpose(1, 2),
            v.reshape(split).transpose(1, 2),
        )
        out: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return out


class Mlp(nn.Module):
    """Two-layer perceptron with GELU and ratio 4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, d) to (B, N, d)."""
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """Pre-LN transformer block: x + attention(norm(x)), then x + mlp(norm(x)), each dropped at random in training."""

    def __init__(self, width: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.norm_1 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(width)
        self.norm_2 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, d) to (B, N, d)."""
        x = x + self._drop(self.attn(self.norm_1(x)))
        return x + self._drop(self.mlp(self.norm_2(x)))

    def _drop(self, x: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0.0:
            return x
        keep = 1.0 - self.drop_path
        return x * x.new_empty(x.shape[0], 1, 1).bernoulli_(keep).div_(keep)


class Trunk(nn.Module):
    """The transformer: `depth` blocks and no final LayerNorm. With depth 0 tokens pass as they are.

    Set `checkpointing` to train with less memory: each block's activations are then computed again in the backward
    pass (with the same random numbers), which costs a second forward pass.
    """

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.checkpointing = False
        last = max(config.depth - 1, 1)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.drop_path * index / last)
            for index in range(config.depth)
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=INIT_STD)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, d), positions already added, to tokens (B, N, d)."""
        again = self.checkpointing and torch.is_grad_enabled()
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if again else block(x)
        return x
