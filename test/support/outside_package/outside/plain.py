# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A backend: the policy's own modules, called as they are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hpt_ros.backends import BackendKind
from hpt_ros.model.backends import Backend


class PlainBackend(Backend):
    """Computes a step of one robot, in float32."""

    @torch.inference_mode()
    def encode(self, modality: str, frame: Tensor) -> Tensor:
        """As `Backend.encode`."""
        features: Tensor = self.policy.encoders[modality](frame[None, None])
        return features[0, 0]

    @torch.inference_mode()
    def act(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """As `Backend.act`."""
        return self.policy.act(arrays)[0]


BACKEND = BackendKind("plain", PlainBackend, auto_on=("cpu",))
