# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The policy's own modules, as they were trained; the measure of the other backends."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hpt_ros.model.backends.backend import Backend


class EagerBackend(Backend):
    """Gives bit for bit what `Policy.predict` gives of the same features."""

    @torch.inference_mode()
    def encode(self, modality: str, frame: Tensor) -> Tensor:
        """As `Backend.encode`."""
        features: Tensor = self.policy.encoders[modality](frame[None, None])
        return features[0, 0]

    @torch.inference_mode()
    def act(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """As `Backend.act`."""
        return self.policy.act(arrays)[0]
