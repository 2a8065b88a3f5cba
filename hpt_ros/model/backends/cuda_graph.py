# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs: each of encoding and acting is recorded once, and replayed as one launch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from hpt_ros.model.backends.backend import Backend, BackendError
from hpt_ros.model.backends.fused import DTYPES, with_fused_trunk
from hpt_ros.model.backends.resnet import FoldedResNet18
from hpt_ros.model.config import IMAGE
from hpt_ros.model.encoders import ImageEncoder, ResNet18
from hpt_ros.model.policy import Policy

WARM_UP_CALLS = 3  # before recording, as torch's documentation asks for


class CudaGraphBackend(Backend):
    """As the backend 'fused' on an NVIDIA GPU, in bfloat16 the same parts, without Winograd, as recorded graphs."""

    def __init__(self, policy: Policy, name: str, *, precision: str) -> None:
        """Prepare the policy; what acts is recorded when it is first asked for.

        Raises:
            BackendError: the policy is on no CUDA device.
        """
        super().__init__(policy, name, precision=precision)
        if policy.device.type != "cuda":
            raise BackendError(
                f"the backend 'cuda_graph' is for NVIDIA GPUs, but the policy is on {str(policy.device)!r}; move it "
                "to 'cuda', or use the backend 'fused' or 'openvino' on a CPU"
            )
        self._prepared = with_fused_trunk(policy, DTYPES[precision])
        self._acts: dict[tuple[str, ...], _Recorded] = {}
        self._encoders: dict[str, _Recorded] = {}
        self._of_frame = {name: self._encoder(name) for name in policy.encoders}

    @torch.inference_mode()
    def encode(self, modality: str, frame: Tensor) -> Tensor:
        """As `Backend.encode`."""
        if modality not in self._encoders:
            encoder = self._of_frame[modality]
            self._encoders[modality] = _Recorded(lambda given: encoder(given[0]), (frame,))
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

    def _encoder(self, name: str) -> Callable[[Tensor], Tensor]:
        encoder, dtype = self.policy.encoders[name], DTYPES[self.precision]
        nets = encoder.nets if isinstance(encoder, ImageEncoder) else ()
        if name != IMAGE or not all(isinstance(net, ResNet18) for net in nets):
            return lambda frame: encoder(frame[None, None])[0, 0]
        parts = [(net, FoldedResNet18(net, dtype).eval()) for net in nets if isinstance(net, ResNet18)]
        if len(parts) == 1:
            ((net, body),) = parts
            return lambda frame: body(net.preprocess(frame))
        return lambda frame: torch.cat(
            [body(net.preprocess(frame[[view]])) for view, (net, body) in enumerate(parts)]
        )


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
