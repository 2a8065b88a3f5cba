# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Antialiased bilinear resizing as products with narrow bands of the matrix that it is.

Resizing is linear along each axis, and each output pixel reads few neighbours, so that a group of output pixels reads a
short run of inputs. The product of such a group's weights with its run is what `functional.interpolate` computes, with
the same weights (they are got from it), in about a third of the time; scaling the colours comes with it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hpt_ros.model.encoders import RESNET_SIDE_PX, ResNet18

# Output pixels that share a product: wide enough for a matrix product to be fast, narrow enough that little of the
# band is zero. Measured for 640x480 to 224x224.
GROUP_ROWS_PX = 28
GROUP_COLUMNS_PX = 16


class BandedResize:
    """Frames (N, H, W, C) uint8 to (N, side, side, C) float32, resized, each channel scaled and shifted.

    The result is at the same place at every call.
    """

    def __init__(self, frames: int, height: int, width: int, side: int, scale: Tensor, shift: Tensor) -> None:
        """Prepare for `frames` frames of `height` x `width`; the result is resized * scale + shift, both (C,)."""
        channels = len(scale)
        self.rows = _bands(_weights(height, side), GROUP_ROWS_PX)
        # The last axis holds (column, channel): a pixel's weight times its channel's scale.
        columns = torch.kron(_weights(width, side), torch.diag(scale.to(torch.float64)))
        self.columns = [
            (inputs, outputs, band.T.contiguous(), shift.float().repeat(len(band) // channels))
            for inputs, outputs, band in _bands(columns, GROUP_COLUMNS_PX * channels)
        ]
        self.flat = torch.empty(frames, height, width * channels)
        self.short = torch.empty(frames, side, width * channels)
        self.out = torch.empty(frames, side, side, channels)

    def __call__(self, frames: Tensor) -> Tensor:
        """Resize (N, H, W, C) uint8."""
        self.flat.copy_(frames.reshape(self.flat.shape))
        for index in range(len(frames)):
            for inputs, outputs, band in self.rows:
                torch.mm(band, self.flat[index, inputs], out=self.short[index, outputs])
        short, out = self.short.flatten(0, 1), self.out.view(-1, self.out.shape[2] * self.out.shape[3])
        for inputs, outputs, band, shift in self.columns:
            torch.addmm(shift, short[:, inputs], band, out=out[:, outputs])
        return self.out


def resize_for(net: ResNet18, frames: int, height: int, width: int) -> BandedResize:
    """Return what does as `ResNet18.preprocess`."""
    scale, shift = 1.0 / (255.0 * net.std.flatten()), (-net.mean / net.std).flatten()
    return BandedResize(frames, height, width, RESNET_SIDE_PX, scale, shift)


def _bands(weights: Tensor, group: int) -> list[tuple[slice, slice, Tensor]]:
    """Cut a matrix (out, in) into groups of rows; of each: the inputs it reads, its rows, and these weights."""
    bands = []
    for start in range(0, len(weights), group):
        rows = weights[start : start + group]
        used = rows.abs().sum(0).nonzero().flatten()
        inputs = slice(int(used[0]), int(used[-1]) + 1)
        bands.append((inputs, slice(start, start + len(rows)), rows[:, inputs].float().contiguous()))
    return bands


def _weights(size: int, side: int) -> Tensor:
    """Return the matrix (side, size) that resizes an axis of `size` pixels to `side`."""
    pictures = torch.eye(size, dtype=torch.float64)[None, None]  # column i is a picture of pixel i alone
    resized = functional.interpolate(
        pictures, (side, size), mode="bilinear", align_corners=False, antialias=True
    )
    return resized[0, 0]
