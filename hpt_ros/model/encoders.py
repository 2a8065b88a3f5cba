# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Image encoders: uint8 frames to cells of features.

`ResNet18` follows He et al., "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), table 1, with the
state-dict names of torchvision, so that a public ImageNet file fits. The other networks have files of their own, which
the registry names (`hpt_ros.model.encoder_config.IMAGE_ENCODERS`).

Frames come as (N, H, W, 3), which is what convolutions take fastest on a CPU; the weights are retained in the same
channels-last order (in memory only; names and shapes are the usual).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.efficientnet import EfficientNetLite0, efficientnet_shape
from hpt_ros.model.encoder_config import (
    IMAGE_ENCODERS,
    EfficientNetConfig,
    LibraryEncoderConfig,
    NoEncoderConfig,
)
from hpt_ros.model.pretrained import library_encoder, require_architecture
from hpt_ros.model.registry import narrow
from hpt_ros.registry import load_location

# Mean and standard deviation of ImageNet's RGB channels in [0, 1], as torchvision's published weights expect.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
RESNET_SIDE_PX = 224


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y)) + shortcut
        return functional.relu(y, inplace=True)


class ResNet18(nn.Module):
    """ResNet-18 without pooling and classifier: (N, H, W, 3) uint8 to (N, 49, 512), resized to 224 x 224 inside."""

    mean: Tensor
    std: Tensor
    cells = 49
    cell_width = 512

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).reshape(1, 3, 1, 1), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # He et al., arXiv 1502.01852
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        convert_conv2d_weight_memory_format(self, torch.channels_last)

    def preprocess(self, frames: Tensor) -> Tensor:
        """Scale to [0, 1], resize (bilinear, antialiased), and normalise: (N, H, W, 3) to (N, 3, 224, 224)."""
        x = frames.permute(0, 3, 1, 2).to(self.mean.dtype) / 255.0
        if x.shape[-2:] != (RESNET_SIDE_PX, RESNET_SIDE_PX):
            side = (RESNET_SIDE_PX, RESNET_SIDE_PX)
            x = functional.interpolate(x, side, mode="bilinear", align_corners=False, antialias=True)
        return (x - self.mean) / self.std

    def forward(self, frames: Tensor) -> Tensor:
        """Return cells (N, 49, 512), row by row from the top left, of frames (N, H, W, 3) uint8."""
        return self.cells_of(self.preprocess(frames))

    def cells_of(self, x: Tensor) -> Tensor:
        """Return cells (N, 49, 512) of preprocessed frames (N, 3, 224, 224)."""
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        x = functional.max_pool2d(x, 3, 2, 1)
        grid: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (N, 512, 7, 7)
        return grid.flatten(2).transpose(1, 2)


class ImageEncoder(nn.Module):
    """The encoders of all views: one shared set of weights, or really one set per view.

    Its state-dict names are `nets.{i}.` and then the network's own; i is 0 when shared, else the view.
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.trainable = config.image_encoder.trainable
        self.nets = nn.ModuleList(
            network_of(config).build(config)
            for _ in range(1 if config.image_encoder.shared else config.views)
        )
        self.requires_grad_(self.trainable)
        # A module begins in training mode, in which a frozen BatchNorm would learn from whatever is encoded.
        self.train()

    def train(self, mode: bool = True) -> ImageEncoder:
        """Enter training mode; a frozen encoder stays in evaluation mode (its BatchNorm statistics too)."""
        super().train(mode and self.trainable)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return cells (B, T, V, cells, cell_width) of images (B, T, V, H, W, 3) uint8 RGB."""
        with torch.set_grad_enabled(self.trainable and torch.is_grad_enabled()):
            batch, horizon, views = images.shape[:3]
            if len(self.nets) == 1:
                cells: Tensor = self.nets[0](images.flatten(0, 2))
                return cells.reshape(batch, horizon, views, *cells.shape[1:])
            per_view = [net(images[:, :, view].flatten(0, 1)) for view, net in enumerate(self.nets)]
            return torch.stack([cells.reshape(batch, horizon, *cells.shape[1:]) for cells in per_view], dim=2)


@dataclass(frozen=True, slots=True)
class Network:
    """The network of a kind of image encoder, which has `preprocess`, `cells_of` and `forward` as ResNet18 has.

    Attributes:
        build: makes the network of a policy's configuration.
        shape: (cells, cell_width) of one frame of one view.
    """

    build: Callable[[PolicyConfig], nn.Module]
    shape: Callable[[PolicyConfig], tuple[int, int]]


def _efficientnet_shape(config: PolicyConfig) -> tuple[int, int]:
    return efficientnet_shape(*config.image_size(), narrow(config.image_encoder, EfficientNetConfig).stage)


def _library_shape(config: PolicyConfig) -> tuple[int, int]:
    architecture = require_architecture(narrow(config.image_encoder, LibraryEncoderConfig))
    return architecture.cells, architecture.cell_width


RESNET18 = Network(lambda _: ResNet18(), lambda _: (ResNet18.cells, ResNet18.cell_width))
EFFICIENTNET = Network(
    lambda config: EfficientNetLite0(narrow(config.image_encoder, EfficientNetConfig).stage),
    _efficientnet_shape,
)
LIBRARY = Network(
    lambda config: library_encoder(narrow(config.image_encoder, LibraryEncoderConfig)), _library_shape
)


def network_of(config: PolicyConfig) -> Network:
    """Return the network of the image encoder that the configuration names, which must have one."""
    network: Network = load_location(IMAGE_ENCODERS[config.image_encoder.kind].location)
    return network


def feature_shape(config: PolicyConfig) -> tuple[int, int]:
    """Return (cells, cell_width) of one frame of one view as the image stem reads it."""
    encoder = config.image_encoder
    if isinstance(encoder, NoEncoderConfig):
        return encoder.cells, encoder.cell_width
    return network_of(config).shape(config)
