# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An image encoder: the colours of patches, each through one linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from hpt_ros.model import PolicyConfig
from hpt_ros.model.encoder_config import EncoderKind, ImageEncoderConfig
from hpt_ros.model.encoders import Network
from hpt_ros.model.registry import narrow
from hpt_ros.structured import field


@dataclass(frozen=True, slots=True)
class PatchesConfig(ImageEncoderConfig):
    """Its keys in a recipe, policy.image_encoder, beside its kind."""

    kind: ClassVar[str] = "patches"
    across: int = field("patches along each side of a frame", default=4, minimum=1)
    width: int = field("numbers that stand for a patch", default=8, minimum=1)


class Patches(nn.Module):
    """Frames (N, H, W, 3) uint8 RGB to cells (N, across * across, width)."""

    def __init__(self, config: PatchesConfig) -> None:
        super().__init__()
        self.across = config.across
        self.colours = nn.Linear(3, config.width)

    def forward(self, frames: Tensor) -> Tensor:
        """Return the cells of frames, row by row from the top left."""
        return self.cells_of(self.preprocess(frames))

    def preprocess(self, frames: Tensor) -> Tensor:
        """Scale to [0, 1]: (N, H, W, 3) uint8 to (N, 3, H, W)."""
        return frames.permute(0, 3, 1, 2).to(self.colours.weight.dtype) / 255.0

    def cells_of(self, x: Tensor) -> Tensor:
        """Return the cells of (N, 3, H, W)."""
        means = functional.adaptive_avg_pool2d(x, self.across)
        cells: Tensor = self.colours(means.flatten(2).transpose(1, 2))
        return cells


def _build(config: PolicyConfig) -> nn.Module:
    return Patches(narrow(config.image_encoder, PatchesConfig))


def _shape(config: PolicyConfig) -> tuple[int, int]:
    encoder = narrow(config.image_encoder, PatchesConfig)
    return encoder.across**2, encoder.width


ENCODER = EncoderKind(PatchesConfig, Network(_build, _shape))
