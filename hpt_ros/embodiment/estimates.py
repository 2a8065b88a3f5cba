# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What an embodiment file that is made from data takes where the data says nothing: limits, horizon, names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Position limits lie this fraction of the range seen beyond it on either side, and at least that far, in the unit.
MARGIN_RATIO, MARGIN_LEAST = 0.1, 0.05
# A joint that stood still gives no speed; limits must be above 0.
SLOWEST = 0.01
# A chunk of about 1.6 s, as ACT and HPT use for manipulation, at least four ticks.
CHUNK_S, CHUNK_LEAST, CHUNK_MOST = 1.6, 4, 256


def widen_range(low: Any, high: Any) -> tuple[Any, Any]:
    """Return position limits for a range that was seen; numbers, or arrays of them."""
    margin = np.maximum(MARGIN_RATIO * (high - low), MARGIN_LEAST)
    return low - margin, high + margin


def default_horizon(tick_hz: float) -> int:
    """Return the ticks of a chunk, for want of a better choice."""
    return min(max(round(CHUNK_S * tick_hz), CHUNK_LEAST), CHUNK_MOST)


def make_unique(names: Sequence[str]) -> list[str]:
    """Return the names, with a number behind those that stand more than once."""
    found: list[str] = []
    for name in names:
        number, candidate = 1, name
        while candidate in found:
            number += 1
            candidate = f"{name}_{number}"
        found.append(candidate)
    return found
