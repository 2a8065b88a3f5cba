# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A pooling: the token in the middle stands for all."""

from __future__ import annotations

from torch import Tensor

from hpt_ros.model.config import PoolingKind
from hpt_ros.model.pooling import Pooling


class MiddlePooling(Pooling):
    """Reads one token."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Return features (B, d) of tokens (B, N, d)."""
        return tokens[:, tokens.shape[1] // 2]


POOLING = PoolingKind("outside.middle:MiddlePooling")
