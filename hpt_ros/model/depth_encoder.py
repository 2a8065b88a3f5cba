# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The encoder of depth cameras: distances, and where there were any, to cells of features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hpt_ros.modalities import DEPTH
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.small_cnn import SmallCnn, small_cnn_shape

MM_PER_M = 1000.0


class DepthEncoder(nn.Module):
    """The encoder of all depth cameras, one set of weights, always trained: nothing public fits its two channels.

    The first channel is the distance over `far_m`, at most 1; the second is 1 where something was measured and 0
    where nothing was. So no measurement differs from a short distance. Its state-dict names are `net.` and then
    SmallCnn's.
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.far_mm = config.depth_encoder.far_m * MM_PER_M
        self.net = SmallCnn(*config.image_size(DEPTH), config.depth_encoder.channels, planes=2)

    def forward(self, depth: Tensor) -> Tensor:
        """Return cells (B, T, V, cells, cell_width) of depth (B, T, V, H, W) uint16 in mm, 0 where not measured."""
        cells = self.cells_of(self.preprocess(depth.flatten(0, 2)))
        return cells.reshape(*depth.shape[:3], *cells.shape[1:])

    def preprocess(self, depth: Tensor) -> Tensor:
        """Return the two channels (N, 2, H, W) of depth (N, H, W) uint16 in mm."""
        frames = depth.to(self.net.coordinates.dtype)
        return torch.stack(((frames / self.far_mm).clamp(max=1.0), (frames > 0).to(frames.dtype)), dim=1)

    def cells_of(self, x: Tensor) -> Tensor:
        """Return cells (N, cells, cell_width) of the two channels (N, 2, H, W)."""
        return self.net.cells_of(x)


def depth_feature_shape(config: PolicyConfig) -> tuple[int, int]:
    """Return (cells, cell_width) of one depth picture of one camera as the depth stem reads it."""
    return small_cnn_shape(*config.image_size(DEPTH), config.depth_encoder.channels)
