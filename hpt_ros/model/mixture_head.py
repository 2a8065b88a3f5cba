# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A head that says several ways to act: a mixture of Gaussians over chunks, of which the most probable is taken."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.head_config import (
    HeadConfig,
    HeadKind,
    check_dropout,
    check_widths,
    dropout_field,
    widths_field,
)
from hpt_ros.model.heads import Head, make_hidden_layers, steps_per_feature
from hpt_ros.model.registry import narrow
from hpt_ros.structured import field


@dataclass(frozen=True, slots=True)
class GmmHeadConfig(HeadConfig):
    """A mixture of Gaussians over chunks."""

    kind: ClassVar[str] = "gmm"
    widths: tuple[int, ...] = widths_field()
    dropout: float = dropout_field("after the second layer")
    modes: int = field("Gaussians in the mixture", default=5, minimum=1)
    min_std: float = field("least standard deviation of a normalised action", default=1e-4, above=0.0)

    def __post_init__(self) -> None:
        check_widths("Gaussian mixture", self.widths)
        check_dropout(self.dropout)


class MixtureHead(Head):
    """Mixture of Gaussians over complete chunks: each mode is one way to act, with a mean and a spread per number.

    Five modes, tanh on the means and a least standard deviation of 1e-4 are HPT's. The mixture is over chunks, not
    over single steps, so that the most probable mode is one coherent motion.
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        head, steps = narrow(config.head, GmmHeadConfig), steps_per_feature(config)
        self.modes, self.min_std = head.modes, head.min_std
        self.chunk = (config.action_horizon, config.action_dim)
        self.net = nn.Sequential(*make_hidden_layers(config.trunk.width, head.widths, head.dropout))
        self.logits = nn.Linear(head.widths[-1], head.modes)
        self.mean = nn.Linear(head.widths[-1], steps * head.modes * config.action_dim)
        self.std = nn.Linear(head.widths[-1], steps * head.modes * config.action_dim)

    def forward(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the mean (B, horizon, Da) of the most probable mode."""
        logits, mean, _ = self.mixture(features)
        return mean[torch.arange(mean.shape[0], device=mean.device), logits.argmax(dim=1)]

    def mixture(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return float32 logits (B, M) of the modes, and mean and standard deviation (B, M, horizon, Da) of each."""
        hidden: Tensor = self.net(features)
        logits = self.logits(hidden if hidden.ndim == 2 else hidden.mean(dim=1)).to(torch.float32)
        horizon, dim = self.chunk
        shape = (features.shape[0], horizon, self.modes, dim)
        mean = torch.tanh(self.mean(hidden).to(torch.float32)).reshape(shape).transpose(1, 2)
        raw = self.std(hidden).to(torch.float32).reshape(shape).transpose(1, 2)
        return logits, mean, functional.softplus(raw) + self.min_std

    def loss(self, features: Tensor, target: Tensor, is_real: Tensor) -> Tensor:
        """Return the negative log-likelihood of the real steps, divided by how many numbers they are."""
        logits, mean, std = self.mixture(features)
        real = is_real[:, None, :, None]
        wanted = torch.where(real, target[:, None], mean.detach())  # no overflow from nonsense in padding
        log_density = -0.5 * ((wanted - mean) / std).square() - std.log() - 0.5 * math.log(2.0 * math.pi)
        per_mode = (log_density * real).sum(dim=(2, 3))  # (B, M)
        likelihood = torch.logsumexp(functional.log_softmax(logits, dim=1) + per_mode, dim=1)
        return -likelihood.sum() / (is_real.sum() * target.shape[-1])


HEAD = HeadKind("Gaussian mixture", MixtureHead, GmmHeadConfig, loss="negative log-likelihood per number")
