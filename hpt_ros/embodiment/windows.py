# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which ticks a sample looks at: the one index rule of training and of the live policy.

Ticks of an episode (offline) or since activation (live) are numbered without gaps. Both sides take the last
`horizon` ticks; where the past is shorter than that, its first tick is repeated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def observation_window(tick: ArrayLike, horizon: int, first: ArrayLike = 0) -> NDArray[np.int64]:
    """Ticks that the policy sees at `tick`, oldest first.

    Args:
        tick: the present tick, a number or an array of shape S.
        horizon: ticks in the window, this one included.
        first: the episode's first tick, broadcast against `tick`; the window never goes before it.

    Returns:
        int64 of shape S + (horizon,): ``max(first, tick - horizon + 1 .. tick)``.

    Raises:
        ValueError: `horizon` is below 1, or a tick lies before its `first`.
    """
    now = np.asarray(tick, dtype=np.int64)[..., None]
    start = np.asarray(first, dtype=np.int64)[..., None]
    if horizon < 1 or np.any(now < start):
        raise ValueError(f"horizon {horizon} must be at least 1 and tick {tick!r} at least {first!r}")
    window: NDArray[np.int64] = np.maximum(now + np.arange(1 - horizon, 1), start)
    return window


def action_window(
    tick: ArrayLike, horizon: int, last: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Ticks whose actions form the chunk that begins at `tick`, and which of them lie beyond the end.

    Args:
        tick: the present tick, a number or an array of shape S.
        horizon: length of the chunk in ticks.
        last: the episode's last tick, broadcast against `tick`.

    Returns:
        int64 of shape S + (horizon,): ``min(last, tick .. tick + horizon - 1)``; and bool of the same shape, true
        where the last action is only repeated, so that the loss can leave it out.

    Raises:
        ValueError: `horizon` is below 1, or a tick lies beyond its `last`.
    """
    end = np.asarray(last, dtype=np.int64)[..., None]
    now = np.asarray(tick, dtype=np.int64)[..., None]
    if horizon < 1 or np.any(now > end):
        raise ValueError(f"horizon {horizon} must be at least 1 and tick {tick!r} at most {last!r}")
    wanted = now + np.arange(horizon)
    return np.minimum(wanted, end), wanted > end
