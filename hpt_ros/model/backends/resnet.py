# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""ResNet-18 prepared for one number of frames of one size on a CPU: what does not depend on the picture, done once.

Batch normalisation is folded into the convolutions, resizing and colour normalisation are two matrix products, and
convolutions of stride 1 go through Winograd's algorithm. In that, biases are carried through to the end of each layer:
max(y + b, 0) = max(y, -b) + b, so that the convolution and its bias and ReLU are one pass, and b, being constant, joins
the next bias.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from hpt_ros.model.backends.resize import resize_for
from hpt_ros.model.backends.winograd import Scratch, Tiling, WinogradConv
from hpt_ros.model.encoders import BasicBlock, ResNet18

# Tile side m by side of the map. 4 needs the fewest multiplications; on small maps with many channels its kernels, four
# times the usual size, take longer to fetch than to multiply.
TILE_BY_SIDE = {56: 4, 28: 4, 14: 2, 7: 2}


class FusedResNet18:
    """As `ResNet18`, for `frames` frames of one size: (N, H, W, 3) uint8 to (N, 49, 512) float32."""

    def __init__(self, net: ResNet18, *, frames: int, height: int, width: int) -> None:
        """Prepare a network in evaluation mode; its weights are copied."""
        self.resize = resize_for(net, frames, height, width)
        self.conv1 = _fuse(net.conv1, net.bn1)
        layers = ((net.layer1, 56), (net.layer2, 28), (net.layer3, 14), (net.layer4, 7))
        self.layers = [_Layer(layer, Tiling(side, TILE_BY_SIDE[side], frames)) for layer, side in layers]

    def __call__(self, frames: Tensor) -> Tensor:
        """Return cells (N, 49, 512), row by row from the top left."""
        x = self.conv1(self.resize(frames).permute(0, 3, 1, 2))
        x = functional.max_pool2d(x, 3, 2, 1)
        for layer in self.layers:
            x = layer(x)
        return x.flatten(2).transpose(1, 2)


class FoldedResNet18(nn.Module):
    """As `ResNet18` with batch normalisation folded into the convolutions, computed in `dtype`, for any device."""

    def __init__(self, net: ResNet18, dtype: torch.dtype) -> None:
        """Prepare a network in evaluation mode; its weights are copied."""
        super().__init__()
        self.dtype = dtype
        self.conv1 = _fuse(net.conv1, net.bn1)
        self.layers = nn.Sequential(
            *(
                _folded(block)
                for layer in (net.layer1, net.layer2, net.layer3, net.layer4)
                for block in layer
                if isinstance(block, BasicBlock)
            )
        )
        self.to(dtype)
        convert_conv2d_weight_memory_format(self, torch.channels_last)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return cells (N, 49, 512) of pictures (N, 3, 224, 224) as `ResNet18.preprocess` makes them."""
        x = functional.relu(self.conv1(pictures.to(self.dtype)))
        grid: Tensor = self.layers(functional.max_pool2d(x, 3, 2, 1))
        return grid.flatten(2).transpose(1, 2).to(torch.float32)


def _fuse(conv: nn.Module, norm: nn.Module) -> nn.Conv2d:
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(conv, norm)


def _folded(block: BasicBlock) -> BasicBlock:
    folded = copy.deepcopy(block)
    folded.conv1, folded.conv2 = _fuse(block.conv1, block.bn1), _fuse(block.conv2, block.bn2)
    folded.add_module("bn1", nn.Identity())
    folded.add_module("bn2", nn.Identity())
    if isinstance(block.downsample, nn.Sequential):
        folded.downsample = _fuse(block.downsample[0], block.downsample[1])
    return folded


class _Layer:
    """Two basic blocks on maps of one size: (N, C, H, W), channels last, before a ReLU, to (N, C', H', W') after one.

    A map is kept as rows of channels, the last of which stands for what lies outside, and a constant per channel that
    is to be added to all of them; outside, where zero is meant, the row is its negative.
    """

    def __init__(self, layer: nn.Sequential, tiling: Tiling) -> None:
        first, second = layer
        assert isinstance(first, BasicBlock)
        assert isinstance(second, BasicBlock)
        channels = second.conv2.out_channels
        self.shape = (tiling.frames, tiling.side, tiling.side, channels)
        self.entry: nn.Conv2d | None = None
        self.shortcut: nn.Conv2d | None = None
        blocks = [[(block.conv1, block.bn1), (block.conv2, block.bn2)] for block in (first, second)]
        if first.downsample is not None:
            assert isinstance(first.downsample, nn.Sequential)
            self.entry = _fuse(*blocks[0].pop(0))
            self.shortcut = _fuse(first.downsample[0], first.downsample[1])
        plain = self.entry is not None  # an entry's maps come in plain order
        constant, scratch = torch.zeros(channels), Scratch(tiling, channels)
        self.blocks: list[list[tuple[WinogradConv, Tensor]]] = []
        for block in blocks:
            convs, inner = [], constant if len(block) == 2 else torch.zeros(channels)
            for index, (conv, norm) in enumerate(block):
                fused = _fuse(conv, norm)
                assert fused.bias is not None
                inner = fused.bias + fused.weight.sum((2, 3)) @ inner
                if index == len(block) - 1:
                    constant = inner = inner + constant
                convs.append((WinogradConv(fused.weight, tiling, scratch, tiled=not plain), -inner))
                plain = False
            self.blocks.append(convs)
        self.constant = constant
        self.to_tiles, self.to_pixels = tiling.outputs_of_tiles(), tiling.pixels()
        if self.shortcut is not None:
            # Tiles may reach beyond the map; there they take any pixel's value, and no convolution reads it.
            self.to_tiles.clamp_(max=tiling.frames * tiling.side**2 - 1)
        self.plain = torch.zeros(tiling.frames * tiling.side**2 + 1, channels)
        self.main, self.inner = (torch.zeros(tiling.rows + 1, channels) for _ in range(2))
        self.out = torch.empty(len(self.to_pixels), channels)

    def __call__(self, x: Tensor) -> Tensor:
        """Compute the layer."""
        torch.clamp_min(_rows(x if self.entry is None else self.entry(x)), 0.0, out=self.plain[:-1])
        if self.shortcut is None:
            torch.index_select(self.plain, 0, self.to_tiles, out=self.main[:-1])
            self.main[-1].zero_()  # the last call left its constant there
        else:
            torch.index_select(_rows(self.shortcut(x)), 0, self.to_tiles, out=self.main[:-1])
        for convs in self.blocks:
            *before, (last, floor) = convs
            rows = self.main if before or self.shortcut is None else self.plain
            for conv, inner_floor in before:
                conv(self.main, self.inner[:-1])
                _rectify(self.inner, inner_floor)
                rows = self.inner
            last(rows, self.main[:-1], add=True)
            _rectify(self.main, floor)
        torch.index_select(self.main, 0, self.to_pixels, out=self.out).add_(self.constant)
        return self.out.view(self.shape).permute(0, 3, 1, 2)


def _rows(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def _rectify(rows: Tensor, floor: Tensor) -> None:
    """Take max(y, -constant) of each pixel, and write -constant, which means zero, into the row outside."""
    torch.maximum(rows, floor, out=rows)
    rows[-1].copy_(floor)
