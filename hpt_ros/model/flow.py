# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Flow matching head: noise is carried to an action chunk along a learned velocity field.

Linear path of Lipman et al. (arXiv 2210.02747, with no noise left at the end): x_t = (1 - t) x_0 + t x_1 with noise
x_0 ~ N(0, 1) and the action x_1; the network learns the velocity x_1 - x_0, and Euler steps follow it from t = 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from hpt_ros.errors import Code
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.config_error import ConfigError
from hpt_ros.model.head_config import HeadKind, NoiseHeadConfig, heads_field
from hpt_ros.model.noise import NoiseHead, hold_last
from hpt_ros.model.positions import position_table
from hpt_ros.model.registry import narrow
from hpt_ros.model.trunk import Block
from hpt_ros.structured import field

TIME_SCALE = (
    1000.0  # t in [0, 1] is spread over as many positions of the sinusoidal table as diffusion has steps
)


@dataclass(frozen=True, slots=True)
class FlowHeadConfig(NoiseHeadConfig):
    """Flow matching."""

    kind: ClassVar[str] = "flow"
    heads: int = heads_field()
    flow_width: int = field("width of the velocity network", default=128, minimum=2)
    flow_depth: int = field("transformer blocks of the velocity network", default=3, minimum=1)
    flow_steps: int = field("Euler steps from noise to action", default=10, minimum=1)

    def __post_init__(self) -> None:
        NoiseHeadConfig.__post_init__(self)
        if self.flow_width % self.heads or self.flow_width % 2:
            raise ConfigError(
                Code.UNSUPPORTED, f"a velocity network of width {self.flow_width} and {self.heads} heads",
                problem="cannot be built", remedy="choose an even head.flow_width that head.heads divides",
            )  # fmt: skip


class FlowHead(NoiseHead):
    """Velocity network over the chunk's steps, conditioned on one feature, or on an action token per step.

    Not part of the released code; layout and names are ours.
    """

    frequencies: Tensor

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__(config)
        head = narrow(config.head, FlowHeadConfig)
        width = head.flow_width
        self.steps = head.flow_steps
        self.action_in = nn.Linear(config.action_dim, width)
        self.condition = nn.Sequential(nn.LayerNorm(config.trunk.width), nn.Linear(config.trunk.width, width))
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, head.heads, drop_path=0.0) for _ in range(head.flow_depth))
        self.norm = nn.LayerNorm(width)
        self.velocity_out = nn.Linear(width, config.action_dim)
        # Learnable, so that the weights say for how many steps they were trained.
        self.positions = nn.Parameter(position_table(config.action_horizon, width)[None])
        frequencies = TIME_SCALE ** -torch.linspace(0.0, 1.0, width // 2)
        self.register_buffer("frequencies", frequencies, persistent=False)  # follows from the configuration

    def forward(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return normalised actions (B, horizon, Da): the end of the flow from the configured, or drawn, noise."""
        x = self.start(features.shape[0], generator)
        condition = self.embed(features)
        for step in range(self.steps):
            t = x.new_full((x.shape[0],), step / self.steps)
            x = x + self.velocity(x, t, condition).to(torch.float32) / self.steps
        return x

    def embed(self, features: Tensor) -> Tensor:
        """Return the condition (B, 1 or horizon, w) of features (B, d) or (B, horizon, d)."""
        out: Tensor = self.condition(features if features.ndim == 3 else features[:, None])
        return out

    def velocity(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """Return the velocity (B, horizon, Da) at the chunk `x` (B, horizon, Da) and the times `t` (B,)."""
        angle = TIME_SCALE * t[:, None] * self.frequencies
        time = self.time(torch.cat((angle.sin(), angle.cos()), dim=1))[:, None]
        tokens = self.action_in(x) + self.positions + time + condition
        for block in self.blocks:
            tokens = block(tokens)
        out: Tensor = self.velocity_out(self.norm(tokens))
        return out

    def loss(self, features: Tensor, target: Tensor, is_real: Tensor) -> Tensor:
        """Return the mean squared error of the velocity over the real steps.

        Steps attend to each other, so padding is replaced by the last real action before the path is drawn.
        """
        end = hold_last(target, is_real)
        start, t = self.draw(end)
        x = torch.lerp(start, end, t[:, None, None])
        velocity = self.velocity(x, t, self.embed(features)).to(torch.float32)
        return (velocity - (end - start)).square()[is_real].mean()


HEAD = HeadKind("flow matching", FlowHead, FlowHeadConfig, loss="squared error of the velocity")
