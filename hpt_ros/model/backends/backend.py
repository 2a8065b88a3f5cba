# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a backend is: the two halves of a policy step, encoding a frame and acting on a window, computed somehow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from hpt_ros.errors import Code, HptError
from hpt_ros.model.inputs import INTEGERS
from hpt_ros.model.modalities import Pictures
from hpt_ros.model.policy import Policy


class BackendError(HptError):
    """A backend cannot run this policy, here, as asked."""


class Backend(ABC):
    """Computes a policy's steps for one robot: batches of one, shapes that never change.

    What comes back belongs to the backend and holds until its next call; copy what is to last longer.

    Attributes:
        selection: what "auto" measured before it took this one; empty for a backend taken by name.
    """

    selection = ""

    def __init__(self, policy: Policy, name: str, *, precision: str) -> None:
        """Take a policy in evaluation mode, with statistics, and the backend's own name."""
        self.policy = policy
        self.name = name
        self.precision = precision

    @property
    def device(self) -> torch.device:
        """Where arrays must be, and where results are."""
        return self.policy.device

    @abstractmethod
    def encode(self, modality: str, frame: Tensor) -> Tensor:
        """Return features float32 (V, cells, width) of one tick's frames.

        Args:
            modality: "image" or "depth".
            frame: uint8 (V, H, W, 3) RGB, or uint16 (V, H, W) in mm.
        """

    @abstractmethod
    def act(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Return the action chunk (horizon, Da), float32, raw units.

        Args:
            arrays: as `Policy.check` returns them, batch 1, with features in place of pictures.
        """

    def require_cpu(self) -> None:
        """Raise BackendError where the policy is on another device than the CPU."""
        if self.device.type != "cpu":
            raise BackendError(
                Code.INVALID, f"the backend {self.name!r}", str(self.device),
                problem="is for the CPU, but the policy is on {value}",
                remedy="use the backend 'eager' or 'cuda_graph' there",
            )  # fmt: skip

    def warm_up(self) -> None:
        """Compute one step of zeros, and one without each modality that may be missing, so that no later call is slow.

        What is built at a first call (a graph of these shapes) is built here.
        """
        policy = self.policy
        for name in policy.encoders:
            self.encode(name, example_frame(policy, name))
        for absent in ((), *((name,) for name in policy.config.optional_modalities)):
            arrays = example_arrays(policy, absent)
            if any(policy.modalities[name].in_time for name in policy.modalities if name not in absent):
                self.act(arrays)


def example_frame(policy: Policy, name: str) -> Tensor:
    """Return zeros as an encoder takes them for one tick.

    Args:
        policy: whose encoder it is.
        name: "image" or "depth".
    """
    modality = policy.modalities[name]
    assert isinstance(modality, Pictures)
    return torch.zeros(modality.frame, dtype=INTEGERS[modality.dtype], device=policy.device)


def example_arrays(policy: Policy, absent: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Return zeros as `Policy.act` takes them for a robot: batch 1, full horizon, features in place of pictures.

    Args:
        policy: whose inputs they are.
        absent: modalities to leave out.
    """
    horizon, arrays = policy.config.observation_horizon, {}
    for name, modality in policy.modalities.items():
        if name in absent:
            continue
        spec = modality.inputs[0] if isinstance(modality, Pictures) else modality.inputs[-1]
        lead = (1, horizon) if modality.in_time else (1,)
        arrays[spec.name] = torch.zeros((*lead, *spec.tail), device=policy.device)
    return arrays
