# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Angles of joints that turn without end, as numbers: the short way round, and turns counted on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TURN = 2.0 * np.pi


def shortest(angles: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The same angles within half a turn of 0, rad; what is there already stays as it is, bit for bit."""
    values = np.asarray(angles, dtype=np.float64)
    return np.asarray(values - TURN * np.round(values / TURN))


def unwrap(angles: NDArray[np.floating[Any]], start: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The same angles (..., H, n) counted on: each within half a turn of the one before, the first of `start` (..., n).

    What has no seam stays as it is, bit for bit.
    """
    values = np.asarray(angles, dtype=np.float64)
    before = np.concatenate([np.asarray(start, dtype=np.float64)[..., None, :], values[..., :-1, :]], axis=-2)
    # Full turns add up exactly.
    return np.asarray(values - TURN * np.cumsum(np.round((values - before) / TURN), axis=-2))
