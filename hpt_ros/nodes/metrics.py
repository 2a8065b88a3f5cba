"""Timings that the node keeps for reports; bounded, oldest forgotten."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

KEPT = 100_000  # about 17 minutes of commands at 100 Hz, 1 MB
RECENT = 100  # what status messages look at

NAMES = (
    "image_delay_s",
    "inference_s",
    "image_to_command_s",
    "image_to_command_steady_s",
    "command_interval_s",
    "command_interval_steady_s",
    "command_jitter_s",
    "control_s",
)


class Metrics:
    """Arrays of durations in seconds.

    | name | from | to | clock |
    | --- | --- | --- | --- |
    | image_delay_s | header stamp of an image | its arrival | ROS |
    | inference_s | policy called | policy returned | steady |
    | image_to_command_s | header stamp of the newest image | first command with that chunk in it | ROS |
    | image_to_command_steady_s | arrival of that image | the same | steady |
    | command_interval_s | a command sent | the next command sent | ROS |
    | command_interval_steady_s | a command sent | the next command sent | steady |
    | command_jitter_s | that interval | less the period, without sign | steady |
    | control_s | control timer called | control timer done | steady |
    """

    def __init__(self) -> None:
        """Start empty."""
        self._values: dict[str, deque[float]] = {name: deque(maxlen=KEPT) for name in NAMES}

    def add(self, name: str, value_s: float) -> None:
        """Add a duration."""
        self._values[name].append(value_s)

    def clear(self) -> None:
        """Forget all."""
        for values in self._values.values():
            values.clear()

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """A copy of everything kept."""
        return {name: np.array(list(values), dtype=np.float64) for name, values in self._values.items()}

    def newest(self, name: str) -> float:
        """The newest value; NaN if there is none."""
        values = self._values[name]
        return values[-1] if values else math.nan

    def recent(self, name: str, percentile: float = 50.0) -> float:
        """A percentile of the newest `RECENT` values; NaN if there are none."""
        values = self._values[name]
        if not values:
            return math.nan
        newest = [values[index] for index in range(max(0, len(values) - RECENT), len(values))]
        return float(np.percentile(newest, percentile))
