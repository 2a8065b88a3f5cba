# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The policy as graphs that another runtime computes: what the backends onnxruntime and openvino share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from hpt_ros.errors import Code
from hpt_ros.model.backends.backend import Backend, BackendError, example_frame
from hpt_ros.model.encoders import ImageEncoder
from hpt_ros.model.noise import NoiseHead
from hpt_ros.model.policy import Policy

Graph: TypeAlias = Callable[[Sequence[Tensor]], Tensor]


class ExportedBackend(Backend):
    """One graph per encoder, and one to act per set of inputs; shapes are fixed.

    Frames are resized and normalised in torch: OpenVINO's antialiased resizing took 100 ms where torch's took 4 (two
    frames of 640x480, one core).
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
                Code.UNSUPPORTED, f"the backend {self.name!r}",
                problem="cannot draw the noise that head.flow_noise 'random' asks for",
                remedy="set it to 'fixed' or 'zero', or use the backend 'eager'",
            )  # fmt: skip
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
        encoder = self.policy.encoders[name]
        frame = example_frame(self.policy, name)
        nets = list(encoder.nets) if isinstance(encoder, ImageEncoder) else [encoder]
        if len(nets) == 1:
            return self._frame_encoder(nets[0], frame)
        views = [self._frame_encoder(net, frame[[view]]) for view, net in enumerate(nets)]
        return lambda frame: torch.cat([encode(frame[[view]]) for view, encode in enumerate(views)])

    def _frame_encoder(self, net: nn.Module, frame: Tensor) -> Callable[[Tensor], Tensor]:
        graph = self.build(_Cells(net), (_preprocess(net, frame),), encodes=True)
        return lambda frame: graph((_preprocess(net, frame),))


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


class _Cells(nn.Module):
    """What an encoder does after preprocessing."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Map (V, channels, height, width) to (V, cells, width)."""
        cells: Tensor = self.net.cells_of(x)
        return cells


def _preprocess(net: Any, frame: Tensor) -> Tensor:
    x: Tensor = net.preprocess(frame)
    return x.contiguous()
