# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An image encoder of ours that is small enough to be trained from scratch on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.encoder_config import EncoderKind, ImageEncoderConfig, channels_field, check_channels
from hpt_ros.model.encoders import Network
from hpt_ros.model.registry import narrow

GROUP_CHANNELS = 8


@dataclass(frozen=True, slots=True)
class SmallCnnConfig(ImageEncoderConfig):
    """A light network that is trained with the policy."""

    kind: ClassVar[str] = "small_cnn"
    channels: tuple[int, ...] = channels_field()

    def __post_init__(self) -> None:
        check_channels("small_cnn's", self.channels)


class SmallCnn(nn.Module):
    """A light trainable network: one stride-2 block (3x3 convolution, GroupNorm, SiLU) per entry of `channels`.

    GroupNorm, not BatchNorm, so that a frame's features depend neither on the batch nor on the mode. Two constant
    channels with each pixel's row and column in [-1, 1] enter with the frame's own (Liu et al., CoordConv, arXiv
    1807.03247): position within a frame is what a manipulation policy needs most from it.
    """

    coordinates: Tensor

    def __init__(self, height: int, width: int, channels: Sequence[int], planes: int = 3) -> None:
        """Build it for frames of `planes` channels and the given size in pixels."""
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, 2, 1, bias=False),
                    nn.GroupNorm(after // GROUP_CHANNELS, after),
                    nn.SiLU(),
                )
                for before, after in pairwise((planes + 2, *channels))
            )
        )
        convert_conv2d_weight_memory_format(self.blocks, torch.channels_last)
        self.cells, self.cell_width = small_cnn_shape(height, width, channels)
        row, column = torch.linspace(-1.0, 1.0, height), torch.linspace(-1.0, 1.0, width)
        grid = torch.stack(torch.meshgrid(row, column, indexing="ij"))[None]
        self.register_buffer("coordinates", grid, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Return cells (N, cells, channels), row by row from the top left, of frames (N, H, W, 3) uint8."""
        return self.cells_of(self.preprocess(frames))

    def preprocess(self, frames: Tensor) -> Tensor:
        """Scale to [-1, 1]: (N, H, W, 3) uint8 to (N, 3, H, W)."""
        return frames.permute(0, 3, 1, 2).to(self.coordinates.dtype) / 127.5 - 1.0

    def cells_of(self, x: Tensor) -> Tensor:
        """Return cells (N, cells, channels) of float planes (N, planes, H, W)."""
        x = torch.cat((x, self.coordinates.expand(x.shape[0], -1, -1, -1)), dim=1)
        grid: Tensor = self.blocks(x)
        return grid.flatten(2).transpose(1, 2)


def small_cnn_shape(height: int, width: int, channels: Sequence[int]) -> tuple[int, int]:
    """Return (cells, cell_width) that a `SmallCnn` makes of a frame of this size in pixels."""
    for _ in channels:
        height, width = (height + 1) // 2, (width + 1) // 2
    return height * width, channels[-1]


def _small_cnn_shape(config: PolicyConfig) -> tuple[int, int]:
    encoder = narrow(config.image_encoder, SmallCnnConfig)
    return small_cnn_shape(*config.image_size(), encoder.channels)


def _small_cnn(config: PolicyConfig) -> nn.Module:
    return SmallCnn(*config.image_size(), narrow(config.image_encoder, SmallCnnConfig).channels)


ENCODER = EncoderKind(SmallCnnConfig, Network(_small_cnn, _small_cnn_shape))
