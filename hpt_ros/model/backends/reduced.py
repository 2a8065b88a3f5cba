# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A policy of which the trunk and large convolutional image encoders compute in bfloat16.

Stems, head and the scale of actions stay float32.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from hpt_ros.model.efficientnet import EfficientNetLite0
from hpt_ros.model.encoders import ImageEncoder, ResNet18
from hpt_ros.model.policy import Policy

CONVOLUTIONAL = (ResNet18, EfficientNetLite0)
AnyModule = TypeVar("AnyModule", bound=nn.Module)


def in_precision(policy: Policy, precision: str) -> Policy:
    """Return the policy itself for "float32"; for "bfloat16" one that shares with it all but what is reduced."""
    if precision == "float32":
        return policy
    reduced = _with_modules(policy, trunk=nn.ModuleDict({"trunk": _Trunk(policy.trunk["trunk"])}))
    encoders = {
        name: _with_modules(
            encoder,
            nets=nn.ModuleList(
                _Convolutional(net) if isinstance(net, CONVOLUTIONAL) else net for net in encoder.nets
            ),
        )
        if isinstance(encoder, ImageEncoder)
        else encoder
        for name, encoder in policy.encoders.items()
    }
    return _with_modules(reduced, encoders=nn.ModuleDict(encoders)).eval()


class _Trunk(nn.Module):
    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = copy.deepcopy(trunk).to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.trunk(x.to(torch.bfloat16))
        return tokens.to(torch.float32)


class _Convolutional(nn.Module):
    """Frames are resized and normalised in float32; batch normalisation keeps its float32 statistics."""

    def __init__(self, net: ResNet18 | EfficientNetLite0) -> None:
        super().__init__()
        self.net = copy.deepcopy(net)
        for module in self.net.modules():
            if isinstance(module, nn.Conv2d):
                module.to(torch.bfloat16)

    def forward(self, frames: Tensor) -> Tensor:
        return self.net.cells_of(self.net.preprocess(frames).to(torch.bfloat16)).to(torch.float32)


def _with_modules(module: AnyModule, **modules: nn.Module) -> AnyModule:
    """Return a module that shares all but these submodules with `module`."""
    shared = copy.copy(module)
    shared._modules = {**module._modules, **modules}
    return shared
