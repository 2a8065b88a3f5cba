# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which backends compute a policy's step, one object each: `BACKENDS`. Packages outside add theirs.

A leaf, so that parameters and help can name them without importing torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpt_ros.registry import Registry

PRECISIONS = ("float32", "bfloat16", "int8")
AUTO = "auto"  # the quickest of those that fit, measured


@dataclass(frozen=True, slots=True)
class BackendKind:
    """A backend that there is, and what it can do.

    Attributes:
        name: its name in the registry, which must be that of the entry point.
        location: of its subclass of `hpt_ros.model.backends.Backend`, or that.
        precisions: of `PRECISIONS`.
        auto_on: types of devices on which "auto" measures it.
    """

    name: str
    location: str | type[Any]
    precisions: tuple[str, ...] = ("float32",)
    auto_on: tuple[str, ...] = ()


# In the order in which "auto" builds them. To add one: a file with a subclass of `Backend`, and its line.
BACKENDS: Registry[BackendKind] = Registry("backend", "hpt_ros.backends", BackendKind, {
    kind.name: kind
    for kind in (
        # The policy's own modules, as trained: the actions of the others differ from its by rounding.
        BackendKind("eager", "hpt_ros.model.backends.eager:EagerBackend", auto_on=("cpu", "cuda", "mps")),
        # The policy exported, for the library's own convolutions; onnxruntime is the extra onnx.
        BackendKind(
            "openvino", "hpt_ros.model.backends.openvino:OpenVinoBackend", ("float32", "bfloat16"), ("cpu",)
        ),
        BackendKind(
            "onnxruntime", "hpt_ros.model.backends.onnxruntime:OnnxRuntimeBackend", ("float32", "int8"), ("cpu",)
        ),
        # Through torch.compile, with a C++ compiler.
        # Its first build on a machine takes minutes, which nothing can interrupt: only by name.
        BackendKind("compile", "hpt_ros.model.backends.compiled:CompileBackend", ("float32", "bfloat16")),
        # Recorded once as a CUDA graph.
        BackendKind(
            "cuda_graph", "hpt_ros.model.backends.cuda_graph:CudaGraphBackend", ("float32", "bfloat16"), ("cuda",)
        ),
    )
})  # fmt: skip
