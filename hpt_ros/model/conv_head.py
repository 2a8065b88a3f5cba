# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A head of convolutions along the action tokens."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.head_config import (
    STEPS,
    HeadConfig,
    HeadKind,
    check_kernel,
    check_widths,
    kernel_field,
    tanh_field,
    widths_field,
)
from hpt_ros.model.heads import Head
from hpt_ros.model.registry import narrow


@dataclass(frozen=True, slots=True)
class ConvHeadConfig(HeadConfig):
    """Convolutions along the action tokens."""

    kind: ClassVar[str] = "conv"
    widths: tuple[int, ...] = widths_field()
    tanh: bool = tanh_field()
    kernel: int = kernel_field()

    def __post_init__(self) -> None:
        check_widths("convolution", self.widths)
        check_kernel(self.kernel)


class ConvHead(Head):
    """Convolutions along the action tokens, so that neighbouring steps shape each other.

    The released head hands tokens (B, horizon, d) to layers that want channels before steps, and cannot run; there
    are no published weights, and this layout is ours.
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        head = narrow(config.head, ConvHeadConfig)
        layers: list[nn.Module] = []
        for before, after in pairwise((config.trunk.width, *head.widths)):
            layers += [nn.Conv1d(before, after, head.kernel, padding=head.kernel // 2), nn.SiLU()]
        layers.append(nn.Conv1d(head.widths[-1], config.action_dim, head.kernel, padding=head.kernel // 2))
        if head.tanh:
            layers.append(nn.Tanh())
        self.net = nn.Sequential(*layers)

    def forward(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return normalised actions (B, horizon, Da) of action tokens (B, horizon, d)."""
        out: Tensor = self.net(features.transpose(1, 2))  # Conv1d wants (B, channels, steps)
        return out.transpose(1, 2)


HEAD = HeadKind("convolution", ConvHead, ConvHeadConfig, (STEPS,))
