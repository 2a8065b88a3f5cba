# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The trunk prepared for one sample at a time: the same sums in fewer steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpt_ros.model.trunk import LAYER_NORM_EPS, Block, Trunk


class FusedTrunk(nn.Module):
    """As `Trunk` in evaluation mode, for one sample.

    Weights are kept transposed: with few tokens, a product with a weight in that order is a third faster than
    `functional.linear`. Key and value are concatenated with their learnable ones in one step.
    """

    def __init__(self, trunk: Trunk, dtype: torch.dtype = torch.float32) -> None:
        """Prepare a trunk that computes in `dtype`; its weights are copied."""
        super().__init__()
        self.dtype = dtype
        self.blocks = nn.ModuleList(
            _FusedBlock(block, dtype) for block in trunk.blocks if isinstance(block, Block)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens float32 (1, N, d), positions already added, to tokens float32 (1, N, d)."""
        rows = x[0].to(self.dtype)
        for block in self.blocks:
            rows = block(rows)
        return rows[None].to(torch.float32)


class _FusedBlock(nn.Module):
    extra: Tensor
    qkv: Tensor
    qkv_bias: Tensor
    out: Tensor
    out_bias: Tensor
    fc1: Tensor
    fc1_bias: Tensor
    fc2: Tensor
    fc2_bias: Tensor
    norm_1_scale: Tensor
    norm_1_bias: Tensor
    norm_2_scale: Tensor
    norm_2_bias: Tensor

    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        super().__init__()
        attention, mlp = block.attn, block.mlp
        self.heads = attention.heads

        def keep(name: str, weight: Tensor) -> None:
            self.register_buffer(name, weight.detach().to(dtype, copy=True).contiguous(), persistent=False)

        keep("extra", torch.cat((attention.bias_k, attention.bias_v), dim=-1)[0])  # (1, 2 d)
        for name, weight, bias in (
            ("qkv", attention.in_proj_weight, attention.in_proj_bias),
            ("out", attention.out_proj.weight, attention.out_proj.bias),
            ("fc1", mlp.fc1.weight, mlp.fc1.bias),
            ("fc2", mlp.fc2.weight, mlp.fc2.bias),
        ):
            keep(name, weight.T)
            keep(f"{name}_bias", bias)
        for name, norm in (("norm_1", block.norm_1), ("norm_2", block.norm_2)):
            keep(f"{name}_scale", norm.weight)
            keep(f"{name}_bias", norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows (N, d) to rows (N, d)."""
        tokens, width = x.shape
        normed = functional.layer_norm(x, (width,), self.norm_1_scale, self.norm_1_bias, LAYER_NORM_EPS)
        qkv = torch.addmm(self.qkv_bias, normed, self.qkv)
        kv = torch.cat((qkv[:, width:], self.extra))
        q = qkv[:, :width].reshape(1, tokens, self.heads, -1).transpose(1, 2)
        k, v = kv.reshape(1, tokens + 1, 2, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        x = x + torch.addmm(self.out_bias, mixed.transpose(1, 2).reshape(tokens, width), self.out)
        normed = functional.layer_norm(x, (width,), self.norm_2_scale, self.norm_2_bias, LAYER_NORM_EPS)
        hidden = functional.gelu(torch.addmm(self.fc1_bias, normed, self.fc1))
        return x + torch.addmm(self.fc2_bias, hidden, self.fc2)
