# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What heads that make an action chunk out of noise have in common."""

from __future__ import annotations

import torch
from torch import Tensor

from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.head_config import NoiseHeadConfig
from hpt_ros.model.heads import Head
from hpt_ros.model.registry import narrow

NOISE_SEED = 0  # of "fixed" noise and of the loss in evaluation mode


class NoiseHead(Head):
    """A head that starts from noise of the chunk's shape; `NoiseHeadConfig.flow_noise` says from which."""

    noise: Tensor

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        noise = narrow(config.head, NoiseHeadConfig).flow_noise
        self.draws = noise == "random"
        chunk = (1, config.action_horizon, config.action_dim)
        start = torch.zeros(chunk) if noise == "zero" else _draw_seeded_noise(chunk)
        # Not stored with the weights: it follows from the configuration.
        self.register_buffer("noise", start, persistent=False)

    def start(self, batch: int, generator: torch.Generator | None) -> Tensor:
        """Return the chunks (B, horizon, Da) that the way to the actions starts from.

        They are drawn from `generator` (on the CPU) if there is one, else from torch's random numbers if the
        configuration says random, else they are the same for every sample.
        """
        shape = (batch, *self.noise.shape[1:])
        if generator is not None:
            return torch.randn(shape, generator=generator).to(self.noise.device)
        if self.draws:
            return torch.randn(shape, device=self.noise.device)
        return self.noise.expand(shape)

    def draw(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return noise as `like` (B, horizon, Da) and one uniform number in [0, 1) per sample (B,), for the loss.

        In training they are torch's random numbers; in evaluation mode they are the same at every call, so that
        validation losses compare.
        """
        if self.training:
            return torch.randn_like(like), torch.rand(like.shape[0], device=like.device)
        generator = torch.Generator().manual_seed(NOISE_SEED)
        noise = torch.randn(like.shape, generator=generator).to(like.device)
        return noise, torch.rand(like.shape[0], generator=generator).to(like.device)


def hold_last(target: Tensor, is_real: Tensor) -> Tensor:
    """Return `target` (B, horizon, Da) with each unreal step replaced by the real one before it (or the first)."""
    steps = torch.arange(target.shape[1], device=target.device)
    before = torch.where(is_real, steps, -1).cummax(dim=1).values
    first = is_real.to(torch.int8).argmax(dim=1, keepdim=True)
    index = torch.where(before < 0, first, before)
    return target.gather(1, index[:, :, None].expand_as(target))


def _draw_seeded_noise(shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator(device="cpu").manual_seed(NOISE_SEED)
    return torch.randn(shape, generator=generator, device="cpu")
