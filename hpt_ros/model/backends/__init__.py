# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Ways to compute a policy's step, behind one interface; `load_backend` makes one by name.

| name | what it is | needs | float32 actions differ from eager's |
| --- | --- | --- | --- |
| eager | the policy's own modules, as trained | - | not at all |
| fused | the same in eager torch, prepared: constants folded, convolutions by Winograd | - | by rounding |
| compile | the prepared policy through torch.compile | a C++ compiler | by rounding |
| onnxruntime | the prepared policy exported to ONNX | extra onnx | by rounding |
| openvino | the same, run by OpenVINO | extra openvino | by rounding |
| cuda_graph | the prepared policy, recorded once as a CUDA graph | an NVIDIA GPU | by rounding |

"auto" is one of these by what can be known before anything is tried: the device and the precision (`choose_backend`).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

import torch

from hpt_ros.errors import did_you_mean
from hpt_ros.model.backends.backend import PRECISIONS, Backend, BackendError
from hpt_ros.model.policy import Policy

__all__ = ["AUTO", "BACKENDS", "PRECISIONS", "Backend", "BackendError", "choose_backend", "load_backend"]

# Name to the module and class (imported when named), and the precisions that it has.
_KNOWN: Mapping[str, tuple[str, str, tuple[str, ...]]] = MappingProxyType(
    {
        "eager": ("eager", "EagerBackend", ("float32",)),
        "fused": ("fused", "FusedBackend", ("float32", "bfloat16")),
        "compile": ("compiled", "CompileBackend", ("float32", "bfloat16")),
        "onnxruntime": ("onnxruntime", "OnnxRuntimeBackend", ("float32", "int8")),
        "openvino": ("openvino", "OpenVinoBackend", ("float32", "bfloat16")),
        "cuda_graph": ("cuda_graph", "CudaGraphBackend", ("float32", "bfloat16")),
    }
)
BACKENDS = tuple(_KNOWN)
AUTO = "auto"


def choose_backend(device: torch.device, precision: str) -> str:
    """Return the backend that "auto" stands for.

    It does not depend on what is installed: a checkpoint gives the same actions on every machine with such a device,
    and a missing extra is an error that names it. docs/decisions/0010-backends.md says why these.

    Args:
        device: where the policy is.
        precision: one of `PRECISIONS`.
    """
    if precision == "int8":
        return "onnxruntime"
    if device.type == "cpu":
        return "fused"
    return "eager" if precision == "float32" else "cuda_graph"


def load_backend(name: str, policy: Policy, *, precision: str = "float32", threads: int = 0) -> Backend:
    """Make a backend, built for this policy and warm: its first call is as fast as the others.

    Args:
        name: one of `BACKENDS`, or "auto".
        policy: in evaluation mode, with statistics, on the device that it is to run on. Its weights must not change
            afterwards, since most backends take a copy.
        precision: one of `PRECISIONS`; not every backend has every one.
        threads: of the CPU; 0 leaves torch's number. Torch has one number for the whole process.

    Raises:
        BackendError: an unknown name or precision, or one that cannot run this policy or on this device.
        MissingExtraError: a library of an optional extra is not installed.
    """
    if precision not in PRECISIONS:
        raise BackendError(
            f"the precision {precision!r} is unknown; use one of {', '.join(PRECISIONS)}"
            f"{did_you_mean(precision, PRECISIONS)}"
        )
    if name == AUTO:
        name = choose_backend(policy.device, precision)
    if name not in _KNOWN:
        raise BackendError(
            f"the backend {name!r} is unknown; use one of {', '.join((*BACKENDS, AUTO))}"
            f"{did_you_mean(name, (*BACKENDS, AUTO))}"
        )
    module, kind, precisions = _KNOWN[name]
    if precision not in precisions:
        can = [other for other, (_, _, these) in _KNOWN.items() if precision in these]
        raise BackendError(
            f"the backend {name!r} computes in {' or '.join(precisions)}, not in {precision!r}; choose another "
            f"precision, or for this one the backend {' or '.join(can)}"
        )
    if threads < 0:
        raise BackendError(f"{threads} threads were asked for, but 0 (torch's choice) or more was expected")
    if threads:
        torch.set_num_threads(threads)
    policy.require_ready()
    backend_class: type[Backend] = getattr(importlib.import_module(f"{__name__}.{module}"), kind)
    with torch.inference_mode():
        backend = backend_class(policy, name, precision=precision)
        backend.warm_up()
    return backend
