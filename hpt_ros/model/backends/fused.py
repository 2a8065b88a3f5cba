# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Eager torch on a policy prepared for one robot on a CPU. Nothing to install, nothing to compile."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from hpt_ros.model.backends.backend import Backend
from hpt_ros.model.backends.resize import resize_for
from hpt_ros.model.backends.resnet import FoldedResNet18, FusedResNet18
from hpt_ros.model.backends.trunk import FusedTrunk
from hpt_ros.model.config import IMAGE
from hpt_ros.model.encoders import ImageEncoder, ResNet18
from hpt_ros.model.policy import Policy
from hpt_ros.model.trunk import Trunk

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class FusedBackend(Backend):
    """What is constant is computed once, convolutions go through Winograd's algorithm, resizing through two products.

    In bfloat16 it is ResNet-18 (without Winograd, which bfloat16 is too coarse for) and the trunk that are computed so;
    stems, head, other encoders, and the actions' scale stay float32.
    """

    def __init__(self, policy: Policy, name: str, *, precision: str) -> None:
        """Prepare the policy.

        Raises:
            BackendError: the policy is on no CPU.
        """
        super().__init__(policy, name, precision=precision)
        self.require_cpu()
        self._prepared = with_fused_trunk(policy, DTYPES[precision])
        self._encoders = {name: frame_encoder(policy, name, DTYPES[precision]) for name in policy.encoders}

    @torch.inference_mode()
    def encode(self, modality: str, frame: Tensor) -> Tensor:
        """As `Backend.encode`."""
        return self._encoders[modality](frame)

    @torch.inference_mode()
    def act(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """As `Backend.act`."""
        return self._prepared.act(arrays)[0]


def with_fused_trunk(policy: Policy, dtype: torch.dtype) -> Policy:
    """Return a policy that shares all but the trunk, which is prepared for one sample, with `policy`."""
    trunk = policy.trunk["trunk"]
    assert isinstance(trunk, Trunk)
    prepared = copy.copy(policy)
    prepared._modules = {**policy._modules, "trunk": nn.ModuleDict({"trunk": FusedTrunk(trunk, dtype)})}
    return prepared.eval()


def frame_encoder(policy: Policy, name: str, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Return what maps one tick's frames, e.g. (V, H, W, 3), to float32 features (V, cells, width)."""
    encoder = policy.encoders[name]
    if name != IMAGE or not isinstance(encoder, ImageEncoder):
        return lambda frame: encoder(frame[None, None])[0, 0]
    config = policy.config
    height, width = config.image_height, config.image_width
    frames = config.views if len(encoder.nets) == 1 else 1
    parts: list[Callable[[Tensor], Tensor]] = []
    for net in encoder.nets:
        if not isinstance(net, ResNet18):
            return lambda frame: encoder(frame[None, None])[0, 0]
        if dtype == torch.float32:
            parts.append(FusedResNet18(net, frames=frames, height=height, width=width))
        else:
            parts.append(_Resized(net, frames, height, width, FoldedResNet18(net, dtype)))
    if len(parts) == 1:
        return parts[0]
    return lambda frame: torch.cat([part(frame[[view]]) for view, part in enumerate(parts)])


class _Resized:
    """Resizing and colours in float32, then a network."""

    def __init__(self, net: ResNet18, frames: int, height: int, width: int, body: nn.Module) -> None:
        self.resize = resize_for(net, frames, height, width)
        self.body = body

    def __call__(self, frames: Tensor) -> Tensor:
        features: Tensor = self.body(self.resize(frames).permute(0, 3, 1, 2))
        return features
