# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""OpenVINO: compiles the exported graphs for the CPU at hand; in bfloat16 it uses the CPU's matrix units (AMX)."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from hpt_ros.errors import Code
from hpt_ros.extras import missing_module
from hpt_ros.model.backends.backend import BackendError
from hpt_ros.model.backends.exported import ExportedBackend, Graph, plain_example
from hpt_ros.model.policy import Policy

# What the converter reports each of its uses with, over the network, unless it is absent.
TELEMETRY = "openvino_telemetry"
HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoBackend(ExportedBackend):
    """Graphs in OpenVINO."""

    def __init__(self, policy: Policy, name: str, *, precision: str) -> None:
        """As `ExportedBackend`.

        Raises:
            BackendError: the head is a diffusion head.
            HptError: OpenVINO is not installed.
        """
        if policy.config.head.kind == "diffusion":
            # OpenVINO 2026.4 ends the whole process (segmentation fault) when it compiles the head's 1-D U-Net.
            raise BackendError(
                Code.UNSUPPORTED, f"the backend {name!r}", problem="cannot compile the diffusion head",
                remedy="use the backend 'eager' or 'onnxruntime'",
            )  # fmt: skip
        super().__init__(policy, name, precision=precision)

    def build(self, module: nn.Module, example: tuple[Tensor, ...], *, encodes: bool) -> Graph:
        """As `ExportedBackend.build`."""
        return compile_graph(module, example, self.precision)


def import_openvino() -> Any:
    """Import OpenVINO, without the package by which its converter reports each of its uses: a robot reports to nobody.

    Raises:
        HptError: it is not installed.
    """
    sys.modules.setdefault(TELEMETRY, cast(Any, None))
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise missing_module(error, what="the backend 'openvino'") or error from error
    return openvino


def compile_graph(module: nn.Module, example: tuple[Tensor, ...], precision: str) -> Graph:
    """Compile a module for inputs of the example's shapes, and as many threads as torch has.

    Raises:
        HptError: OpenVINO is not installed.
    """
    openvino = import_openvino()
    options = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about choices by shape, which does not change
        plain = plain_example(example)
        with torch.inference_mode(False), torch.no_grad():
            model = openvino.convert_model(module.eval(), example_input=plain)
    model.reshape({index: list(tensor.shape) for index, tensor in enumerate(example)})
    return _Request(openvino, openvino.Core().compile_model(model, "CPU", options).create_infer_request())


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
