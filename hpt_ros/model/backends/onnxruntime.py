# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime: the exported graphs as ONNX, in its CPU kernels."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hpt_ros.extras import require_extra
from hpt_ros.model.backends.exported import ExportedBackend, Graph, plain_example
from hpt_ros.model.policy import Policy


class OnnxRuntimeBackend(ExportedBackend):
    """Graphs in ONNX Runtime.

    In int8 it is the matrix products of what acts that are quantised: weights per output channel, activations by each
    one's range as it comes (dynamic quantisation, no calibration data); encoders stay float32.
    """

    def __init__(self, policy: Policy, name: str, *, precision: str) -> None:
        """As `ExportedBackend`.

        Raises:
            MissingExtraError: ONNX Runtime, or what exports to it, is not installed.
        """
        what = "the backend 'onnxruntime'"
        self._library: Any = require_extra("onnxruntime", extra="onnx", what=what)
        self._onnx: Any = require_extra("onnx", extra="onnx", what=what)
        require_extra("onnxscript", extra="onnx", what=what)
        if precision == "int8":
            self._quantisation: Any = require_extra("onnxruntime.quantization", extra="onnx", what=what)
        super().__init__(policy, name, precision=precision)

    def build(self, module: nn.Module, example: tuple[Tensor, ...], *, encodes: bool) -> Graph:
        """As `ExportedBackend.build`."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "graph.onnx"
            # The exporter reports its progress on standard output, and in the log each library that it does without.
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                with torch.inference_mode(False), torch.no_grad():
                    graph = torch.export.export(module.eval(), plain_example(example))
                program: Any = torch.onnx.export(graph, (), dynamo=True, verbose=False)
            program.save(path, external_data=True)  # large models do not fit into one file of the format
            if self.precision == "int8" and not encodes:
                model = self._onnx.load(path)
                del model.graph.value_info[
                    :
                ]  # shapes that quantisation infers anew, and finds at odds with these
                path = Path(folder) / "int8.onnx"
                self._quantisation.quantize_dynamic(
                    model, path, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True,
                    use_external_data_format=True,
                )  # fmt: skip
            options = self._library.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            # Its threads otherwise spin between calls, on the cores that torch then wants: 67 ms a step instead of 33.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            session = self._library.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return _Session(session)


class _Session:
    def __init__(self, session: Any) -> None:
        self.session = session
        self.names = [given.name for given in session.get_inputs()]

    def __call__(self, arrays: Sequence[Tensor]) -> Tensor:
        feed = {name: array.contiguous().numpy() for name, array in zip(self.names, arrays, strict=True)}
        return torch.from_numpy(self.session.run(None, feed)[0])
