# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The last so many durations and their percentiles."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

WINDOW = 100  # LeRobot looks at its last 100 latencies too
PERCENTILE = 95.0  # LeRobot takes the maximum, which one hiccup spoils for the next 100 chunks


class LatencyWindow:
    """Durations in seconds, the newest `WINDOW` of them."""

    def __init__(self) -> None:
        """Start empty."""
        self._values: deque[float] = deque(maxlen=WINDOW)
        self._high_s: float | None = (
            0.0  # None: to be worked out; it is asked for far more often than it changes
        )

    def add(self, duration_s: float) -> None:
        """Add a duration; what is not finite or negative is a clock's fault and is left out."""
        if math.isfinite(duration_s) and duration_s >= 0.0:
            self._values.append(duration_s)
            self._high_s = None

    @property
    def high_s(self) -> float:
        """The 95th percentile; 0 as long as nothing is known."""
        if self._high_s is None:
            self._high_s = float(np.percentile(list(self._values), PERCENTILE))
        return self._high_s
