# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""OpenVINO: compiles the exported graphs for the CPU at hand; in bfloat16 it uses the CPU's matrix units (AMX)."""

from __future__ import annotations

import sys
import threading
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
_cores: list[Any] = []  # the process's only one, once there is one
_lock = threading.Lock()


class OpenVinoBackend(ExportedBackend):
    """Graphs in OpenVINO."""

    def __init__(self, policy: Policy, name: str, *, precision: str) -> None:
        """As `ExportedBackend`.

        Raises:
            BackendError: the head is a diffusion head.
            HptError: OpenVINO is not installed.
        """
        if policy.config.head.kind == "diffusion":
            # OpenVINO 2026.4 ends the entire process (segmentation fault) when it compiles the head's 1-D U-Net.
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
    return _Request(openvino, core().compile_model(model, "CPU", options).create_infer_request())


def core() -> Any:
    """Return the process's only Core of OpenVINO, which is never released.

    With a Core's first model its CPU plugin gives the calling thread an alternate signal stack, and with its last one
    it takes that away again (plugin.cpp, SigAltStackSetup, as of 2026.4). If two Cores go in the order in which they
    came, or one goes in another thread, the thread is left with a stack that is unmapped: the next signal with a
    handler of Python's, as Ctrl-C, SIGTERM, or SIGCHLD once a DataLoader had workers, ends the process by SIGSEGV.
    So the plugin is made in a thread that ends at once, and stays.

    Raises:
        HptError: OpenVINO is not installed.
    """
    openvino = import_openvino()
    with _lock:
        if not _cores:
            made = openvino.Core()
            plugin = threading.Thread(target=made.get_property, args=("CPU", "FULL_DEVICE_NAME"))
            plugin.start()
            plugin.join()
            _cores.append(made)
        return _cores[0]


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
