# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Ways to compute a policy's step, behind one interface; `load_backend` makes one by name.

| name | what it is | needs | float32 actions differ from eager's |
| --- | --- | --- | --- |
| eager | the policy's own modules, as trained | - | not at all |
| openvino | the policy exported to OpenVINO | - | by rounding |
| onnxruntime | the policy exported to ONNX | extra onnx | by rounding |
| compile | the policy through torch.compile | a C++ compiler | by rounding |
| cuda_graph | the policy, recorded once as a CUDA graph | an NVIDIA GPU | by rounding |

"auto" is the quickest of those that the policy's device and precision leave, measured when it is loaded (`selection`).
To add one: a file with a subclass of `Backend`, and its line in `KINDS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch

from hpt_ros.errors import Code, did_you_mean
from hpt_ros.model.backends.backend import PRECISIONS, Backend, BackendError
from hpt_ros.model.backends.selection import select_backend
from hpt_ros.model.policy import Policy

__all__ = [
    "AUTO",
    "BACKENDS",
    "PRECISIONS",
    "Backend",
    "BackendError",
    "auto_candidates",
    "did_you_mean",
    "load_backend",
]


@dataclass(frozen=True, slots=True)
class BackendKind:
    """Where a backend is, imported when it is named, and what it can do.

    Attributes:
        location: module of this package and class.
        precisions: that it has.
        auto_on: types of devices on which "auto" measures it.
    """

    location: str
    precisions: tuple[str, ...]
    auto_on: tuple[str, ...]

    def build(self, policy: Policy, name: str, precision: str) -> Backend:
        """Make a warm backend; errors as `load_backend`."""
        module, _, class_name = self.location.partition(":")
        backend_class: type[Backend] = getattr(importlib.import_module(f"{__name__}.{module}"), class_name)
        with torch.inference_mode():
            backend = backend_class(policy, name, precision=precision)
            backend.warm_up()
        return backend


# In the order in which "auto" builds them.
KINDS: Mapping[str, BackendKind] = MappingProxyType(
    {
        "eager": BackendKind("eager:EagerBackend", ("float32",), ("cpu", "cuda", "mps")),
        "openvino": BackendKind("openvino:OpenVinoBackend", ("float32", "bfloat16"), ("cpu",)),
        "onnxruntime": BackendKind("onnxruntime:OnnxRuntimeBackend", ("float32", "int8"), ("cpu",)),
        # Its first build on a machine takes minutes, which nothing can interrupt: only by name.
        "compile": BackendKind("compiled:CompileBackend", ("float32", "bfloat16"), ()),
        "cuda_graph": BackendKind("cuda_graph:CudaGraphBackend", ("float32", "bfloat16"), ("cuda",)),
    }
)
BACKENDS = tuple(KINDS)
AUTO = "auto"


def auto_candidates(device: torch.device, precision: str) -> tuple[str, ...]:
    """Return the backends that "auto" measures, in the order in which it builds them.

    Args:
        device: where the policy is.
        precision: one of `PRECISIONS`.
    """
    return tuple(
        name for name, kind in KINDS.items() if device.type in kind.auto_on and precision in kind.precisions
    )


def load_backend(name: str, policy: Policy, *, precision: str = "float32", threads: int = 0) -> Backend:
    """Make a backend, built for this policy and warm: its first call is as fast as the others.

    Args:
        name: one of `BACKENDS`, which is taken without any measurement, or "auto".
        policy: in evaluation mode, with statistics, on the device that it is to run on. Its weights must not change
            afterwards, since most backends take a copy.
        precision: one of `PRECISIONS`; not every backend has every one.
        threads: of the CPU; 0 leaves torch's number. Torch has one number for the whole process.

    Raises:
        BackendError: an unknown name or precision, or one that cannot run this policy or on this device.
        MissingExtraError: a library of an optional extra is not installed.
    """
    if precision not in PRECISIONS:
        raise BackendError(Code.UNKNOWN, "the precision", precision, known=PRECISIONS)
    if name not in (*BACKENDS, AUTO):
        raise BackendError(Code.UNKNOWN, "the backend", name, known=(*BACKENDS, AUTO))
    if name != AUTO and precision not in KINDS[name].precisions:
        can = [other for other, kind in KINDS.items() if precision in kind.precisions]
        raise BackendError(
            Code.UNSUPPORTED, f"the backend {name!r}", precision,
            problem=f"computes in {' or '.join(KINDS[name].precisions)}, not in {{value}}",
            remedy=f"choose another precision, or for this one the backend {' or '.join(can)}",
        )  # fmt: skip
    if threads < 0:
        raise BackendError(
            Code.OUT_OF_RANGE, f"{threads} threads", problem="were asked for",
            expected="0 (torch's choice) or more",
        )  # fmt: skip
    if threads:
        torch.set_num_threads(threads)
    policy.require_ready()
    if name != AUTO:
        return KINDS[name].build(policy, name, precision)
    candidates: dict[str, Callable[[], Backend]] = {
        name: partial(KINDS[name].build, policy, name, precision)
        for name in auto_candidates(policy.device, precision)
    }
    selection = select_backend(policy, precision, candidates)
    selection.backend.selection = str(selection)
    return selection.backend
