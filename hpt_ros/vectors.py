# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of the few numbers of a robot, for which NumPy's own functions cost more than what they compute."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def clip(
    values: NDArray[np.float64], lower: NDArray[np.float64], upper: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`np.clip`, which costs several times what it does where arrays are short."""
    return np.asarray(np.minimum(np.maximum(values, lower), upper))


def all_finite(values: NDArray[Any]) -> bool:
    """Whether no value of a vector (n,) is infinite or NaN.

    A sum of finite numbers is finite but for overflow; of so few it is quicker than looking at each.
    """
    return math.isfinite(sum(values.tolist())) or bool(np.isfinite(values).all())
