# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""torch.compile: what acts becomes C++ for this CPU, built at the first load on a machine and kept for the next."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

import torch
from torch import Tensor

from hpt_ros.model.backends.backend import Backend, BackendError
from hpt_ros.model.backends.fused import DTYPES, frame_encoder, with_fused_trunk
from hpt_ros.model.policy import Policy

COMPILERS = ("g++", "c++", "clang++")


class CompileBackend(Backend):
    """Encoders as in the backend 'fused'; stems, trunk and head through torch.compile with constants frozen."""

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
                f"the backend 'compile' needs a C++ compiler, but {wanted or ', '.join(COMPILERS)} is not on the path; "
                "install g++, or use the backend 'fused'"
            )
        self._encoders = {name: frame_encoder(policy, name, DTYPES[precision]) for name in policy.encoders}
        prepared = policy if precision == "float32" else with_fused_trunk(policy, DTYPES[precision])
        self._act = torch.compile(prepared.act, dynamic=False, fullgraph=True, options={"freezing": True})

    @torch.inference_mode()
    def encode(self, modality: str, frame: Tensor) -> Tensor:
        """As `Backend.encode`."""
        return self._encoders[modality](frame)

    def act(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """As `Backend.act`."""
        with torch.inference_mode(False), torch.no_grad():
            actions: Tensor = self._act(dict(arrays))
        return actions[0]
