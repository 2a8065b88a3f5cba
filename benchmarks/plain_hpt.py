# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""HPT's forward pass written down plainly in eager PyTorch, as the yardstick of `policy_step.py`.

It follows the paper's computation step by step with stock modules, nothing done for speed, except that it keeps
the features of past frames, as a rollout of the released code does. It takes its weights from one of our policies, so
that both must give the same actions.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hpt_ros.model import Policy

HEADS_OF_STEM, HEAD_WIDTH = 8, 64


class PlainBlock(nn.Module):
    """Pre-LN block round `nn.MultiheadAttention`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, add_bias_kv=True, batch_first=True)
        self.norm_1 = nn.LayerNorm(width, eps=1e-6)
        self.norm_2 = nn.LayerNorm(width, eps=1e-6)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        out: Tensor = x + self.fc2(functional.gelu(self.fc1(self.norm_2(x))))
        return out


class PlainHpt:
    """One observation in, one chunk out; MLP head, mean pooling, ResNet-18."""

    def __init__(self, policy: Policy) -> None:
        """Take weights and settings of `policy`, which must be of the kind above."""
        config = policy.config
        self.config, self.name, self.device = config, config.embodiment, policy.device
        self.weights = {name: tensor.detach().clone() for name, tensor in policy.state_dict().items()}
        self.blocks = nn.ModuleList(
            PlainBlock(config.trunk.width, config.trunk.heads) for _ in range(config.trunk.depth)
        )
        self.blocks.to(self.device).eval()
        for index, block in enumerate(self.blocks):
            prefix = f"trunk.trunk.blocks.{index}."
            renamed = {
                key.removeprefix(prefix).replace("mlp.", ""): value
                for key, value in self.weights.items()
                if key.startswith(prefix)
            }
            block.load_state_dict(renamed)
        self.past: deque[Tensor] = deque(maxlen=config.observation_horizon)
        self.states: deque[Tensor] = deque(maxlen=config.observation_horizon)

    @torch.no_grad()
    def step(self, images: np.ndarray, state: np.ndarray) -> Tensor:
        """Return the chunk (horizon, Da) after one more observation: images (V, H, W, 3) uint8 and state (D,)."""
        w, config = self.weights, self.config
        self.past.append(self._encode(images))
        self.states.append(torch.from_numpy(state).to(self.device))
        while len(self.past) < config.observation_horizon:
            self.past.appendleft(self.past[0])
            self.states.appendleft(self.states[0])
        norm = f"normalizer.{self.name}.params_dict."
        states = torch.stack(list(self.states)) * w[norm + "state.scale"] + w[norm + "state.offset"]
        cells = torch.stack(list(self.past)).reshape(1, -1, 512)
        entries = {"image": cells, "state": states[None]}
        tokens = torch.cat([self._stem(name, entries[name]) for name in config.modalities], dim=1)
        x = tokens + _sinusoids(tokens.shape[1], tokens.shape[2]).to(self.device)
        for block in self.blocks:
            x = block(x)
        action = self._head(x.mean(dim=1)).reshape(config.action_horizon, config.action_dim)
        raw: Tensor = (action - w[norm + "action.offset"]) / w[norm + "action.scale"]
        return raw

    def _stem(self, modality: str, entries: Tensor) -> Tensor:
        key = f"stems.{self.name}_{modality}."
        w = self.weights
        x = entries + _sinusoids(entries.shape[1], entries.shape[2]).to(self.device)
        x = functional.linear(x, w[key + "net.0.weight"], w[key + "net.0.bias"])
        x = functional.linear(functional.silu(x), w[key + "net.2.weight"], w[key + "net.2.bias"])
        q = functional.linear(w[key + "tokens"], w[key + "cross_attention.to_q.weight"])
        k, v = functional.linear(x, w[key + "cross_attention.to_kv.weight"]).chunk(2, dim=-1)
        q, k, v = (t.reshape(1, -1, HEADS_OF_STEM, HEAD_WIDTH).transpose(1, 2) for t in (q, k, v))
        attention = torch.softmax(q @ k.transpose(-2, -1) * HEAD_WIDTH**-0.5, dim=-1)
        mixed = (attention @ v).transpose(1, 2).reshape(1, -1, HEADS_OF_STEM * HEAD_WIDTH)
        out = key + "cross_attention.to_out."
        return functional.linear(mixed, w[out + "weight"], w[out + "bias"])

    def _head(self, x: Tensor) -> Tensor:
        w, key = self.weights, f"heads.{self.name}.net."
        x = functional.silu(functional.linear(x, w[key + "0.weight"], w[key + "0.bias"]))
        x = functional.linear(x, w[key + "2.weight"], w[key + "2.bias"])
        x = functional.layer_norm(x, x.shape[-1:], w[key + "4.weight"], w[key + "4.bias"])
        return torch.tanh(functional.linear(functional.silu(x), w[key + "6.weight"], w[key + "6.bias"]))

    def _encode(self, images: np.ndarray) -> Tensor:
        x = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float() / 255.0
        x = functional.interpolate(x, (224, 224), mode="bilinear", align_corners=False, antialias=True)
        colours = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], device=self.device)
        mean, std = colours
        x = (x - mean[:, None, None]) / std[:, None, None]
        x = functional.relu(self._norm("bn1", self._conv("conv1", x, 2, 3)))
        x = functional.max_pool2d(x, 3, 2, 1)
        for layer in (1, 2, 3, 4):
            for index in (0, 1):
                x = self._residual(f"layer{layer}.{index}", x, 2 if layer > 1 and index == 0 else 1)
        return x.flatten(2).transpose(1, 2)  # (V, 49, 512)

    def _residual(self, key: str, x: Tensor, stride: int) -> Tensor:
        y = functional.relu(self._norm(f"{key}.bn1", self._conv(f"{key}.conv1", x, stride, 1)))
        y = self._norm(f"{key}.bn2", self._conv(f"{key}.conv2", y, 1, 1))
        if self._name(f"{key}.downsample.0.weight") in self.weights:
            x = self._norm(f"{key}.downsample.1", self._conv(f"{key}.downsample.0", x, stride, 0))
        return functional.relu(x + y)

    def _conv(self, key: str, x: Tensor, stride: int, padding: int) -> Tensor:
        kernel = self.weights[self._name(f"{key}.weight")].contiguous()
        return functional.conv2d(x, kernel, None, stride, padding)

    def _norm(self, key: str, x: Tensor) -> Tensor:
        names = ("running_mean", "running_var", "weight", "bias")
        mean, var, weight, bias = (self.weights[self._name(f"{key}.{name}")] for name in names)
        return functional.batch_norm(x, mean, var, weight, bias)

    def _name(self, key: str) -> str:
        return f"encoders.image.nets.0.{key}"


def _sinusoids(positions: int, width: int) -> Tensor:
    position = np.arange(positions)[:, None] / np.power(10000, 2 * (np.arange(width) // 2) / width)
    position[:, 0::2], position[:, 1::2] = np.sin(position[:, 0::2]), np.cos(position[:, 1::2])
    return torch.from_numpy(position).float()
