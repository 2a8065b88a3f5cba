# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Cross-attention from learnable tokens, as in HPT's stems and decoder head."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class CrossAttention(nn.Module):
    """Perceiver cross-attention: learnable queries read a context; no LayerNorm, no residual, no feed-forward.

    Names and shapes are those of the published files: `to_q` and `to_kv` without bias, `to_out` with one; keys are
    the first half of `to_kv`.

    The queries are the same for every sample, so that with many context entries it is cheaper to carry the
    projections to the query side (q W_k^T once, W_v after the weighted sum) than to project each entry. Both ways are
    the same sum in another order; the cheaper one, by count of multiplications, is taken.
    """

    def __init__(self, width: int, heads: int, head_width: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.head_width = head_width
        self.dropout = dropout
        inner = heads * head_width
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """Return (B, n, d) for learnable `queries` (1, n, d) and a `context` (B, K, d)."""
        if self.folding_is_cheaper(queries.shape[1], context.shape[1]):
            return self.attend_folded(queries, context)
        return self.attend_projected(queries, context)

    def folding_is_cheaper(self, queries: int, keys: int) -> bool:
        """Compare the multiplications per sample of `attend_folded` and `attend_projected`."""
        width, inner = self.to_q.in_features, self.to_q.out_features
        folded = 2 * keys * self.heads * queries * width + queries * inner * width
        projected = 2 * keys * inner * width + 2 * keys * queries * inner
        return folded < projected

    def attend_projected(self, queries: Tensor, context: Tensor) -> Tensor:
        """Project every context entry to key and value, then attend: the textbook order."""
        batch, keys, _ = context.shape
        heads, head_width, count = self.heads, self.head_width, queries.shape[1]
        q = self.to_q(queries).reshape(1, count, heads, head_width).transpose(1, 2).expand(batch, -1, -1, -1)
        k, v = self.to_kv(context).reshape(batch, keys, 2, heads, head_width).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(
            q, k, v, dropout_p=self.dropout if self.training else 0.0
        )
        out: Tensor = self.to_out(mixed.transpose(1, 2).reshape(batch, count, heads * head_width))
        return out

    def attend_folded(self, queries: Tensor, context: Tensor) -> Tensor:
        """Fold the key projection into the queries and apply the value projection after the weighted sum."""
        batch, _, width = context.shape
        heads, head_width, count = self.heads, self.head_width, queries.shape[1]
        w_k, w_v = self.to_kv.weight.reshape(2, heads, head_width, width).unbind(0)
        q = self.to_q(queries).reshape(count, heads, head_width).transpose(0, 1)  # (h, n, e)
        folded = (q @ w_k).reshape(heads * count, width) * head_width**-0.5  # (h n, d)
        weights = functional.softmax(functional.linear(context, folded), dim=1)  # (B, K, h n)
        weights = functional.dropout(weights, self.dropout, self.training)
        mixed = (weights.transpose(1, 2) @ context).reshape(batch, heads, count, width)
        values = mixed @ w_v.transpose(1, 2)  # (B, h, n, e)
        out: Tensor = self.to_out(values.transpose(1, 2).reshape(batch, count, heads * head_width))
        return out
