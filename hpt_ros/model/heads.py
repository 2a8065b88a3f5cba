# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Action heads: features of the trunk to a chunk of normalised actions, and the loss that each is trained with."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpt_ros.model.attention import CrossAttention
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.head_config import HEADS, ConvHeadConfig, DecoderHeadConfig, GmmHeadConfig, MlpHeadConfig
from hpt_ros.model.init import TOKEN_STD, start_cross_attention_, start_mlp_
from hpt_ros.model.registry import narrow
from hpt_ros.registry import load_location

SMOOTH_L1_BETA = 0.05  # liruiw/HPT at 549433f; the paper says Huber


class Head(nn.Module, ABC):
    """What every head does. Features are (B, d), or one token per step (B, horizon, d), or all tokens (B, N, d)."""

    @abstractmethod
    def forward(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return normalised actions (B, horizon, Da); `generator` is for heads that start from noise."""

    def loss(self, features: Tensor, target: Tensor, is_real: Tensor) -> Tensor:
        """Return the scalar loss; smooth L1 unless a head has its own.

        Args:
            features: of the trunk.
            target: normalised actions, float32 (B, horizon, Da).
            is_real: bool (B, horizon); steps without it do not count, whatever their values.
        """
        predicted = self(features).to(torch.float32)
        losses = functional.smooth_l1_loss(predicted, target, beta=SMOOTH_L1_BETA, reduction="none")
        return losses[is_real].mean()


def make_hidden_layers(head: MlpHeadConfig | GmmHeadConfig, width: int) -> list[nn.Module]:
    """Layers of the published MLP head, but for its last: Linear, SiLU, then Linear, Dropout, LayerNorm, SiLU."""
    layers: list[nn.Module] = [nn.Linear(width, head.widths[0]), nn.SiLU()]
    for before, after in pairwise(head.widths):
        layers += [nn.Linear(before, after), nn.Dropout(head.dropout), nn.LayerNorm(after), nn.SiLU()]
    return layers


class MlpHead(Head):
    """MLP with LayerNorm and Tanh; reads one feature per chunk, or one action token per step.

    With the default widths its layers are Linear(d, 256), SiLU, Linear(256, 128), Dropout, LayerNorm, SiLU,
    Linear(128, out), Tanh: the layout and names of the published files.
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        head, steps = narrow(config.head, MlpHeadConfig), _steps_per_feature(config)
        self.chunk = (config.action_horizon, config.action_dim)
        layers = make_hidden_layers(head, config.trunk.width)
        layers.append(nn.Linear(head.widths[-1], config.action_dim * steps))
        if head.tanh:
            layers.append(nn.Tanh())
        self.net = nn.Sequential(*layers)

    def forward(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return normalised actions (B, horizon, Da) of features (B, d), or (B, horizon, d) of action tokens."""
        out: Tensor = self.net(features)
        return out.reshape(features.shape[0], *self.chunk)


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


class DecoderHead(Head):
    """One cross-attention from a learnable query per step to an MLP of the trunk's tokens.

    Names are those of the published files (`tokens`, `mlp.{0,2}`, `cross_attention.*`). The released head ends there,
    so that its output has the trunk's width; `out_proj` maps each step to the action and is ours (see
    `DecoderHeadConfig.projection`).
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        head, width = narrow(config.head, DecoderHeadConfig), config.trunk.width
        self.tokens = nn.Parameter(torch.empty(1, config.action_horizon, width).normal_(std=TOKEN_STD))
        self.cross_attention = CrossAttention(width, head.heads, head.head_width, head.dropout)
        self.mlp = nn.Sequential(
            nn.Linear(width, head.hidden_width), nn.SiLU(), nn.Linear(head.hidden_width, width)
        )
        start_mlp_(self.mlp)
        start_cross_attention_(self.cross_attention)
        self.out_proj = nn.Linear(width, config.action_dim) if head.projection else None

    def forward(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return normalised actions (B, horizon, Da) of tokens (B, N, d); without projection (B, horizon, d)."""
        steps: Tensor = self.cross_attention(self.tokens, self.mlp(features))
        return steps if self.out_proj is None else self.out_proj(steps)


class MixtureHead(Head):
    """Mixture of Gaussians over whole chunks: each mode is one way to act, with a mean and a spread per number.

    Five modes, tanh on the means and a least standard deviation of 1e-4 are HPT's. The mixture is over chunks, not
    over single steps, so that the most probable mode is one coherent motion.
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        head, steps = narrow(config.head, GmmHeadConfig), _steps_per_feature(config)
        self.modes, self.min_std = head.modes, head.min_std
        self.chunk = (config.action_horizon, config.action_dim)
        self.net = nn.Sequential(*make_hidden_layers(head, config.trunk.width))
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


def build_head(config: PolicyConfig) -> Head:
    """Build the head that the configuration names."""
    head: Head = load_location(HEADS[config.head.kind].location)(config)
    return head


def _steps_per_feature(config: PolicyConfig) -> int:
    return 1 if config.pooling == "action_token" else config.action_horizon
