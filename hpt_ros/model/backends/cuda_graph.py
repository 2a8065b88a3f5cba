# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs: each of encoding and acting is recorded once, and replayed as one launch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from hpt_ros.errors import Code
from hpt_ros.model.backends.backend import Backend, BackendError
from hpt_ros.model.backends.reduced import in_precision
from hpt_ros.model.policy import Policy

WARM_UP_CALLS = 3  # before recording, as torch's documentation asks for


class CudaGraphBackend(Backend):
    """The policy's own modules on an NVIDIA GPU, as recorded graphs."""

    def __init__(self, policy: Policy, name: str, *, precision: str) -> None:
        """Prepare the policy; what acts is recorded when it is first asked for.

        Raises:
            BackendError: the policy is on no CUDA device.
        """
        super().__init__(policy, name, precision=precision)
        if policy.device.type != "cuda":
            raise BackendError(
                Code.INVALID, "the backend 'cuda_graph'", str(policy.device),
                problem="is for NVIDIA GPUs, but the policy is on {value}",
                remedy="move it to 'cuda', or use the backend 'auto'",
            )  # fmt: skip
        self._prepared = in_precision(policy, precision)
        self._acts: dict[tuple[str, ...], _Recorded] = {}
        self._encoders: dict[str, _Recorded] = {}

    @torch.inference_mode()
    def encode(self, modality: str, frame: Tensor) -> Tensor:
        """As `Backend.encode`."""
        if modality not in self._encoders:
            encoder = self._prepared.encoders[modality]
            self._encoders[modality] = _Recorded(lambda given: encoder(given[0][None, None])[0, 0], (frame,))
        return self._encoders[modality]((frame,))

    @torch.inference_mode()
    def act(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """As `Backend.act`."""
        names, values = tuple(arrays), tuple(arrays.values())
        if names not in self._acts:
            self._acts[names] = _Recorded(
                lambda given: self._prepared.act(dict(zip(names, given, strict=True)))[0], values
            )
        return self._acts[names](values)


class _Recorded:
    """A function of tensors of fixed shapes, recorded as a CUDA graph."""

    def __init__(self, function: Callable[[Sequence[Tensor]], Tensor], example: Sequence[Tensor]) -> None:
        self.inputs = [tensor.clone() for tensor in example]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_CALLS):
                function(self.inputs)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.output = function(self.inputs)

    def __call__(self, arrays: Sequence[Tensor]) -> Tensor:
        for kept, given in zip(self.inputs, arrays, strict=True):
            kept.copy_(given)
        self.graph.replay()
        return self.output
