# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What backends are compared on."""

from __future__ import annotations

import torch

from hpt_ros.model import Policy
from hpt_ros.model.backends.backend import example_arrays


def random_arrays(policy: Policy, absent: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
    """Return normally distributed arrays of the shapes that a backend's `act` takes."""
    return {name: array.normal_() for name, array in example_arrays(policy, absent).items()}
