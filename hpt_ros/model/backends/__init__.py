# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Ways to compute a policy's step, behind one interface; `load_backend` makes one by name.

Which there are, and what each can do, says `hpt_ros.backends.BACKENDS`.
"auto" is the quickest of those that the policy's device and precision leave, measured when it is loaded (`selection`).
To add one: a file with a subclass of `Backend`, and its line in `hpt_ros.backends.BACKENDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from hpt_ros.backends import AUTO, BACKENDS, PRECISIONS
from hpt_ros.errors import Code
from hpt_ros.model.backends.backend import Backend, BackendError
from hpt_ros.model.backends.selection import select_backend
from hpt_ros.model.policy import Policy
from hpt_ros.registry import load_location

__all__ = [
    "AUTO",
    "BACKENDS",
    "PRECISIONS",
    "Backend",
    "BackendError",
    "auto_candidates",
    "load_backend",
]


def _build(policy: Policy, name: str, precision: str) -> Backend:
    """Make a warm backend; errors as `load_backend`."""
    backend_class: type[Backend] = load_location(BACKENDS[name].location)
    with torch.inference_mode():
        backend = backend_class(policy, name, precision=precision)
        backend.warm_up()
    return backend


def auto_candidates(device: torch.device, precision: str) -> tuple[str, ...]:
    """Return the backends that "auto" measures, in the order in which it builds them.

    Args:
        device: where the policy is.
        precision: one of `PRECISIONS`.
    """
    return tuple(
        name
        for name, kind in BACKENDS.items()
        if device.type in kind.auto_on and precision in kind.precisions
    )


def load_backend(name: str, policy: Policy, *, precision: str = "float32", threads: int = 0) -> Backend:
    """Make a backend, built for this policy and warm: its first call is as fast as the others.

    Args:
        name: one of `BACKENDS`, which is taken without any measurement, or "auto".
        policy: in evaluation mode, with statistics, on the device that it is to run on. Its weights must not change
            afterwards, since most backends take a copy.
        precision: one of `PRECISIONS`; not every backend has every one.
        threads: of the CPU; 0 leaves torch's number. Torch has one number for the entire process.

    Raises:
        BackendError: an unknown name or precision, or one that cannot run this policy or on this device.
        MissingExtraError: a library of an optional extra is not installed.
    """
    if precision not in PRECISIONS:
        raise BackendError(Code.UNKNOWN, "the precision", precision, known=PRECISIONS)
    if name not in (*BACKENDS, AUTO):
        raise BackendError(Code.UNKNOWN, "the backend", name, known=(*BACKENDS, AUTO))
    if name != AUTO and precision not in BACKENDS[name].precisions:
        can = [other for other, kind in BACKENDS.items() if precision in kind.precisions]
        raise BackendError(
            Code.UNSUPPORTED, f"the backend {name!r}", precision,
            problem=f"computes in {' or '.join(BACKENDS[name].precisions)}, not in {{value}}",
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
        return _build(policy, name, precision)
    candidates: dict[str, Callable[[], Backend]] = {
        name: partial(_build, policy, name, precision) for name in auto_candidates(policy.device, precision)
    }
    selection = select_backend(policy, precision, candidates)
    selection.backend.selection = str(selection)
    return selection.backend
