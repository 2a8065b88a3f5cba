# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""OpenVINO: compiles the exported graphs for the CPU at hand; in bfloat16 it uses the CPU's matrix units (AMX)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpt_ros.extras import require_extra
from hpt_ros.model.backends.backend import BackendError
from hpt_ros.model.backends.exported import ExportedBackend, Graph, plain_example
from hpt_ros.model.policy import Policy

HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoBackend(ExportedBackend):
    """Graphs in OpenVINO."""

    def __init__(self, policy: Policy, name: str, *, precision: str) -> None:
        """As `ExportedBackend`.

        Raises:
            BackendError: the head is a diffusion head.
            MissingExtraError: OpenVINO is not installed.
        """
        if policy.config.head.kind == "diffusion":
            # OpenVINO 2026.4 ends the whole process (segmentation fault) when it compiles the head's 1-D U-Net.
            raise BackendError(
                f"the backend {name!r} cannot compile the diffusion head; use the backend 'fused' or 'onnxruntime'"
            )
        self._library: Any = require_extra("openvino", extra="openvino", what="the backend 'openvino'")
        self._core = self._library.Core()
        self._options = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        super().__init__(policy, name, precision=precision)

    def build(self, module: nn.Module, example: tuple[Tensor, ...], *, encodes: bool) -> Graph:
        """As `ExportedBackend.build`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about choices by shape, which does not change
            plain = plain_example(example)
            with torch.inference_mode(False), torch.no_grad():
                model = self._library.convert_model(module.eval(), example_input=plain)
        model.reshape({index: list(tensor.shape) for index, tensor in enumerate(example)})
        request = self._core.compile_model(model, "CPU", self._options).create_infer_request()
        return _Request(self._library, request)


class _Request:
    """Runs a compiled graph on the caller's arrays, without copies."""

    def __init__(self, library: Any, request: Any) -> None:
        self.library = library
        self.request = request
        self.places: list[int] = []
        self.kept: list[Any] = []

    def __call__(self, arrays: Sequence[Tensor]) -> Tensor:
        arrays = [array.contiguous() for array in arrays]
        places = [array.data_ptr() for array in arrays]
        if places != self.places:
            self.kept = [self.library.Tensor(array.numpy(), shared_memory=True) for array in arrays]
            for index, tensor in enumerate(self.kept):
                self.request.set_input_tensor(index, tensor)
            self.places = places
        self.request.infer()
        return torch.from_numpy(np.asarray(self.request.get_output_tensor(0).data))
