# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Starting weights of what is trained from scratch: stems and the decoder head.

The released code starts tokens at a standard deviation of 0.02 and leaves PyTorch's Linear default, which shrinks a
signal at every layer; stems have no LayerNorm to make up for it. From such a start the tokens of an image stem vary by
less than 0.01 between pictures and by 0.06 in all, and a policy learns first to ignore the camera. Here every layer
keeps the variance of what it is given and queries start apart from each other. Nothing changes for loaded weights.
"""

from __future__ import annotations

import math

from torch import nn

from hpt_ros.model.attention import CrossAttention

TOKEN_STD = 1.0  # queries as large as the entries that they are compared with
MODALITY_STD = 0.02  # a hint beside the tokens that it is added to, as usual for learnable embeddings
QUERY_GAIN = 2.0  # so that attention is uneven from the start, and different for each query
SILU_GAIN = 1.677  # 1 / sqrt(E[silu(x)^2]) for x of the standard normal distribution


def keep_variance_(linear: nn.Linear, gain: float = 1.0) -> None:
    """Start a Linear so that inputs of variance 1 / gain^2 give outputs of variance 1; no bias."""
    nn.init.normal_(linear.weight, std=gain / math.sqrt(linear.in_features))
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)


def start_mlp_(layers: nn.Sequential) -> None:
    """Start an MLP whose Linears are each, but for the first, fed by a SiLU."""
    linears = [layer for layer in layers if isinstance(layer, nn.Linear)]
    for index, linear in enumerate(linears):
        keep_variance_(linear, SILU_GAIN if index else 1.0)


def start_cross_attention_(attention: CrossAttention) -> None:
    """Start the projections of a cross-attention."""
    keep_variance_(attention.to_q, QUERY_GAIN)
    keep_variance_(attention.to_kv)
    keep_variance_(attention.to_out)
