# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Diffusion head: trained by denoising (DDPM), acts by few deterministic steps from noise to chunk (DDIM).

Sources: Ho et al., arXiv 2006.11239 (DDPM); Song et al., arXiv 2010.02502 (DDIM). Levels of noise and the numbers of
each step are those of diffusers' schedulers. Sizes are those of HPT's diffusion head (a 1-D U-Net of widths 64 and
128, kernel 3, 100 noise levels); its layers and names are ours.

What is chosen, and why:

- squared-cosine schedule (Nichol and Dhariwal, arXiv 2102.09672): over 100 levels, the linear one of DDPM leaves more
  than half of the action's amplitude at the noisiest level, so that starting from pure noise is another task than the
  one trained for;
- the network predicts the action, not the noise: at the noisiest level of this schedule noise is all that there is, so
  an action computed from predicted noise is that noise's error multiplied by thousands;
- levels are spaced from the noisiest one ("trailing", Lin et al., arXiv 2305.08891), for the same reason;
- predictions are clipped to [-1, 1] (clip_sample): normalised actions of the training data lie there.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpt_ros.errors import Code
from hpt_ros.extras import require_extra
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.config_error import ConfigError
from hpt_ros.model.head_config import HeadKind, NoiseHeadConfig, check_kernel, kernel_field
from hpt_ros.model.noise import NoiseHead, hold_last
from hpt_ros.model.positions import position_table
from hpt_ros.model.registry import narrow
from hpt_ros.structured import field

GROUPS = 8  # of the group norms


@dataclass(frozen=True, slots=True)
class DiffusionHeadConfig(NoiseHeadConfig):
    """Diffusion, with the figures of HPT's head: down dims 64 and 128, kernel 3, 100 training steps, DDIM."""

    kind: ClassVar[str] = "diffusion"
    kernel: int = kernel_field()
    diffusion_widths: tuple[int, ...] = field(
        "channels of the 1-D U-Net, one per level; multiples of 8", default=(64, 128), minimum=8
    )
    diffusion_train_steps: int = field("noise levels in training (DDPM)", default=100, minimum=2)
    diffusion_steps: int = field(
        "steps from noise to action (DDIM); divides diffusion_train_steps", default=10, minimum=1
    )

    def __post_init__(self) -> None:
        NoiseHeadConfig.__post_init__(self)
        check_kernel(self.kernel)
        if not self.diffusion_widths or any(width % 8 for width in self.diffusion_widths):
            raise ConfigError(
                Code.OUT_OF_RANGE, f"the head's diffusion_widths {list(self.diffusion_widths)}",
                problem="must be one or more multiples of 8 (its GroupNorm has 8 groups)",
            )  # fmt: skip
        if self.diffusion_train_steps % self.diffusion_steps:
            raise ConfigError(
                Code.INVALID, "the head's diffusion_steps", self.diffusion_steps,
                expected=f"a divisor of its diffusion_train_steps {self.diffusion_train_steps}, so that the steps are "
                "equally far apart",
            )  # fmt: skip


class DiffusionHead(NoiseHead):
    """U-Net along the chunk's steps, conditioned on one feature, or on an action token per step."""

    levels: Tensor
    times: Tensor

    def __init__(self, config: PolicyConfig) -> None:
        """Build the head.

        Raises:
            MissingExtraError: diffusers is not installed.
        """
        super().__init__(config)
        head = narrow(config.head, DiffusionHeadConfig)
        schedulers: Any = require_extra("diffusers", extra="diffusion", what="the head 'diffusion'")
        options: dict[str, Any] = {
            "num_train_timesteps": head.diffusion_train_steps,
            "beta_schedule": "squaredcos_cap_v2",
            "prediction_type": "sample",
            "clip_sample": True,
            "timestep_spacing": "trailing",
        }
        self.training_scheduler = schedulers.DDPMScheduler(**options)
        sampler = schedulers.DDIMScheduler(**options)
        sampler.set_timesteps(head.diffusion_steps)
        self.coefficients = tuple(_coefficients(sampler, int(level)) for level in sampler.timesteps)
        widths, width = head.diffusion_widths, head.diffusion_widths[-1]
        self.action_in = nn.Linear(config.action_dim, widths[0])
        # Learnable, so that the weights say for how many steps they were trained.
        self.positions = nn.Parameter(position_table(config.action_horizon, widths[0])[None])
        self.condition = nn.Sequential(nn.LayerNorm(config.trunk.width), nn.Linear(config.trunk.width, width))
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.net = UNet(widths, width, head.kernel)
        self.action_out = nn.Linear(widths[0], config.action_dim)
        # Not stored with the weights: each follows from the configuration.
        self.register_buffer(
            "levels", sampler.timesteps.clone(), persistent=False
        )  # (S,), the noisiest first
        times = position_table(head.diffusion_train_steps, width)
        self.register_buffer("times", times, persistent=False)

    def forward(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return normalised actions (B, horizon, Da): DDIM steps from the configured, or drawn, noise."""
        x = self.start(features.shape[0], generator)
        condition, times = self.embed(features), self.time(self.times[self.levels])
        for (of_noisy, of_clean), time in zip(self.coefficients, times.unbind(0), strict=True):
            clean = self.denoise(x, condition + time).to(torch.float32).clamp(-1.0, 1.0)
            x = of_noisy * x + of_clean * clean
        return x

    def embed(self, features: Tensor) -> Tensor:
        """Return the condition (B, 1 or horizon, w) of features (B, d) or (B, horizon, d)."""
        out: Tensor = self.condition(features if features.ndim == 3 else features[:, None])
        return out

    def denoise(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return the predicted action chunk for a noisy one, both (B, horizon, Da).

        Args:
            x: the noisy chunk.
            condition: of the features and of the noise level, (B, 1 or horizon, w).
        """
        out: Tensor = self.action_out(self.net(self.action_in(x) + self.positions, condition))
        return out

    def loss(self, features: Tensor, target: Tensor, is_real: Tensor) -> Tensor:
        """Return the mean squared error of the predicted action over the real steps.

        Convolutions see the neighbours of a step, so padding is replaced by the last real action before noise is
        added.
        """
        clean = hold_last(target, is_real)
        noise, fraction = self.draw(clean)
        level = (fraction * len(self.times)).long()
        noisy = self.training_scheduler.add_noise(clean, noise, level)
        condition = self.embed(features) + self.time(self.times[level])[:, None]
        predicted = self.denoise(noisy, condition).to(torch.float32)
        return (predicted - clean).square()[is_real].mean()


class UNet(nn.Module):
    """Residual convolutions over steps at full, half, quarter, ... rate, one level per width, and back.

    Any number of steps will do: the last one is repeated until the lowest level's rate divides it, and what was added
    is cut off at the end.
    """

    def __init__(self, widths: tuple[int, ...], condition_width: int, kernel: int) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        self.down = nn.ModuleList(
            Residual(before, after, condition_width, kernel)
            for before, after in pairwise((widths[0], *widths))
        )
        self.shrink = nn.ModuleList(nn.Conv1d(width, width, 3, stride=2, padding=1) for width in widths[:-1])
        self.middle = Residual(widths[-1], widths[-1], condition_width, kernel)
        self.grow = nn.ModuleList(
            nn.ConvTranspose1d(above, below, 4, stride=2, padding=1) for below, above in pairwise(widths)
        )
        self.up = nn.ModuleList(Residual(2 * width, width, condition_width, kernel) for width in widths[:-1])

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map (B, steps, widths[0]) to the same shape, given a condition (B, 1 or steps, w)."""
        steps = x.shape[1]
        x, given = (
            x.transpose(1, 2),
            condition.transpose(1, 2),
        )  # (B, channels, steps), as convolutions want it
        missing = -steps % self.multiple
        if missing:
            x = functional.pad(x, (0, missing), mode="replicate")
            given = functional.pad(given, (0, missing), mode="replicate") if given.shape[2] > 1 else given
        conditions, skips = [given], []
        for level, block in enumerate(self.down):
            x = block(x, conditions[level])
            if level < len(self.shrink):
                skips.append(x)
                x = self.shrink[level](x)
                conditions.append(_halve(conditions[level]))
        x = self.middle(x, conditions[-1])
        for level in range(len(self.up) - 1, -1, -1):
            x = torch.cat((self.grow[level](x), skips[level]), dim=1)
            x = self.up[level](x, conditions[level])
        return x[:, :, :steps].transpose(1, 2)


class Residual(nn.Module):
    """Two convolutions with group norm; between them the condition scales and shifts each channel (FiLM)."""

    def __init__(self, before: int, after: int, condition_width: int, kernel: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv1d(before, after, kernel, padding=kernel // 2)
        self.norm_1 = nn.GroupNorm(GROUPS, after)
        self.film = nn.Conv1d(condition_width, 2 * after, 1)  # a Linear over (B, w, 1 or steps)
        self.conv_2 = nn.Conv1d(after, after, kernel, padding=kernel // 2)
        self.norm_2 = nn.GroupNorm(GROUPS, after)
        self.skip = nn.Conv1d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map (B, before, steps) to (B, after, steps), given a condition (B, w, 1 or steps)."""
        scale, shift = self.film(functional.silu(condition)).chunk(2, dim=1)
        hidden = functional.silu(self.norm_1(self.conv_1(x)) * (1.0 + scale) + shift)
        out: Tensor = functional.silu(self.norm_2(self.conv_2(hidden))) + self.skip(x)
        return out


def _halve(condition: Tensor) -> Tensor:
    return condition if condition.shape[2] == 1 else functional.avg_pool1d(condition, 2)


def _coefficients(sampler: Any, level: int) -> tuple[float, float]:
    """Return how much of the noisy and of the predicted chunk make up the next one, in one DDIM step.

    A step without fresh noise is linear in the two, so the scheduler is asked once, here, and not at every step.
    """
    zero, one = torch.zeros(1), torch.ones(1)
    of_noisy, of_clean = (
        sampler.step(clean, level, noisy, eta=0.0, return_dict=False)[0].item()
        for noisy, clean in ((one, zero), (zero, one))
    )
    return of_noisy, of_clean


HEAD = HeadKind("diffusion", DiffusionHead, DiffusionHeadConfig, loss="squared error of the denoised action")
