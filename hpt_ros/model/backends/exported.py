# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The policy as graphs that another runtime computes: what the backends onnxruntime and openvino share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from hpt_ros.model.backends.backend import Backend, BackendError
from hpt_ros.model.backends.resize import resize_for
from hpt_ros.model.backends.resnet import FoldedResNet18, FusedResNet18
from hpt_ros.model.config import IMAGE
from hpt_ros.model.encoders import ImageEncoder, ResNet18
from hpt_ros.model.noise import NoiseHead
from hpt_ros.model.policy import Policy

Graph: TypeAlias = Callable[[Sequence[Tensor]], Tensor]


class ExportedBackend(Backend):
    """One graph per encoder, and one to act per set of inputs; shapes are fixed.

    ResNet-18 in float32 is computed as by the backend 'fused': its Winograd convolutions took 22 ms for two frames
    where the runtimes' took 24 and 27 (two cores with AVX-512). In bfloat16 it is a graph, and pictures are resized in
    torch, since the runtimes' antialiased resizing is slower or missing.
    """

    def __init__(self, policy: Policy, name: str, *, precision: str) -> None:
        """Export the encoders; what acts is exported when it is first asked for.

        Raises:
            BackendError: the policy is on no CPU, or its head draws random noise.
        """
        super().__init__(policy, name, precision=precision)
        self.require_cpu()
        if isinstance(policy.head, NoiseHead) and policy.head.draws:
            raise BackendError(
                f"the backend {self.name!r} cannot draw the noise that head.flow_noise 'random' asks for; set it to "
                "'fixed' or 'zero', or use the backend 'eager' or 'fused'"
            )
        self._graphs: dict[tuple[str, ...], Graph] = {}
        self._encoders = {name: self._encoder(name) for name in policy.encoders}

    @abstractmethod
    def build(self, module: nn.Module, example: tuple[Tensor, ...], *, encodes: bool) -> Graph:
        """Return the graph of a module; `encodes` says whether it is an encoder."""

    @torch.inference_mode()
    def encode(self, modality: str, frame: Tensor) -> Tensor:
        """As `Backend.encode`."""
        return self._encoders[modality](frame)

    @torch.inference_mode()
    def act(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """As `Backend.act`."""
        names = tuple(arrays)
        if names not in self._graphs:
            self._graphs[names] = self.build(_Act(self.policy, names), tuple(arrays.values()), encodes=False)
        return self._graphs[names](tuple(arrays.values()))[0]

    def _encoder(self, name: str) -> Callable[[Tensor], Tensor]:
        policy, encoder = self.policy, self.policy.encoders[name]
        config = policy.config
        if name != IMAGE:
            example = torch.zeros(config.depth_views, config.depth_height, config.depth_width)
            graph = self.build(_Encode(encoder), (example,), encodes=True)
            return lambda frame: graph((frame.to(torch.float32),))
        assert isinstance(encoder, ImageEncoder)
        height, width, shared = config.image_height, config.image_width, len(encoder.nets) == 1
        frames = config.views if shared else 1
        parts: list[Callable[[Tensor], Tensor]] = []
        for net in encoder.nets:
            if isinstance(net, ResNet18) and self.precision != "bfloat16":
                parts.append(FusedResNet18(net, frames=frames, height=height, width=width))
            elif isinstance(net, ResNet18):
                resize = resize_for(net, frames, height, width)
                body = FoldedResNet18(net, torch.float32).eval()
                graph = self.build(body, (resize.out.permute(0, 3, 1, 2).contiguous(),), encodes=True)
                parts.append(_after(resize, graph))
            else:
                frame = torch.zeros(frames, height, width, 3, dtype=torch.uint8)
                graph = self.build(net, (frame,), encodes=True)
                parts.append(_alone(graph))
        if shared:
            return parts[0]
        return lambda frame: torch.cat([part(frame[[view]]) for view, part in enumerate(parts)])


def plain_example(example: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return zeros of the example's shapes that are no inference tensors: tracers want none."""
    with torch.inference_mode(False):
        return tuple(torch.zeros(tensor.shape, dtype=tensor.dtype) for tensor in example)


class _Act(nn.Module):
    """`Policy.act` with arrays in a fixed order."""

    def __init__(self, policy: Policy, names: tuple[str, ...]) -> None:
        super().__init__()
        self.policy = policy
        self.names = names

    def forward(self, *arrays: Tensor) -> Tensor:
        """Return the chunk (1, horizon, Da)."""
        return self.policy.act(dict(zip(self.names, arrays, strict=True)))


class _Encode(nn.Module):
    """An encoder of one tick's frames."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, frame: Tensor) -> Tensor:
        """Map (V, ...) to (V, cells, width)."""
        features: Tensor = self.encoder(frame[None, None])
        return features[0, 0]


def _after(resize: Callable[[Tensor], Tensor], graph: Graph) -> Callable[[Tensor], Tensor]:
    return lambda frame: graph((resize(frame).permute(0, 3, 1, 2),))


def _alone(graph: Graph) -> Callable[[Tensor], Tensor]:
    return lambda frame: graph((frame,))
