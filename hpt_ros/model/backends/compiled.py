# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""torch.compile: the policy becomes C++ for this CPU, built at the first load on a machine, cached for the next."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from hpt_ros.errors import Code
from hpt_ros.model.backends.backend import Backend, BackendError
from hpt_ros.model.backends.reduced import in_precision
from hpt_ros.model.policy import Policy

COMPILERS = ("g++", "c++", "clang++")
OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {"freezing": True}  # weights become constants


class CompileBackend(Backend):
    """Encoders, and stems, trunk and head, through torch.compile with constants frozen."""

    def __init__(self, policy: Policy, name: str, *, precision: str) -> None:
        """Compile.

        Raises:
            BackendError: the policy is on no CPU, or there is no C++ compiler.
        """
        super().__init__(policy, name, precision=precision)
        self.require_cpu()
        wanted = os.environ.get("CXX")
        if not any(shutil.which(compiler) for compiler in ((wanted,) if wanted else COMPILERS)):
            raise BackendError(
                Code.INVALID, "the backend 'compile'",
                problem=f"needs a C++ compiler, but {wanted or ', '.join(COMPILERS)} is not on the path",
                remedy="install g++, or use the backend 'auto'",
            )  # fmt: skip
        prepared = in_precision(policy, precision)
        self._encoders = {
            name: torch.compile(encoder, dynamic=False, fullgraph=True, options=OPTIONS)
            for name, encoder in prepared.encoders.items()
        }
        self._act = torch.compile(prepared.act, dynamic=False, fullgraph=True, options=OPTIONS)

    def encode(self, modality: str, frame: Tensor) -> Tensor:
        """As `Backend.encode`."""
        with torch.inference_mode(False), torch.no_grad():
            features: Tensor = self._encoders[modality](frame[None, None])
        return features[0, 0]

    def act(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """As `Backend.act`."""
        with torch.inference_mode(False), torch.no_grad():
            actions: Tensor = self._act(dict(arrays))
        return actions[0]
