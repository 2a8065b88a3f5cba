"""Commands that a teleoperator sent, resampled onto ticks: the action half of a dataset's rows (offline only)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Action
from hpt_ros.observation.track import Sample, Track, nanoseconds


@dataclass
class CommandTrack:
    """Commands by their time, and their value at a tick: linear between the commands around it.

    A recording is complete, so a tick may wait for the command after it: `settled` says when waiting is over.
    """

    action: Action
    tick_hz: float
    _track: Track = field(init=False)
    _tolerance_ns: int = field(init=False)

    def __post_init__(self) -> None:
        self._tolerance_ns = nanoseconds(self.action.tolerance_s)
        # Ticks wait for at most the tolerance; commands are sent ahead by at most the latency.
        span_s = 2.0 * self.action.tolerance_s + self.action.latency_s + 2.0 / self.tick_hz
        self._track = Track(64 + 8 * math.ceil(span_s * self.action.rate_hz))

    def push(self, time_ns: int, arrival_ns: int, vector: NDArray[np.float64]) -> None:
        """Add a command, as `decode_command` returns it."""
        self._track.insert(Sample(time_ns, arrival_ns, vector))

    def settled(self, tick_ns: int, now_ns: int) -> bool:
        """True once the value at the tick cannot change any more: a command after it is there, or is overdue."""
        newest = self._track.samples[-1].stamp_ns if self._track.samples else None
        if newest is not None and newest >= tick_ns:
            return True
        return now_ns > tick_ns + self._tolerance_ns + nanoseconds(self.action.latency_s)

    def value_at(self, tick_ns: int) -> NDArray[np.float64] | str:
        """The command at the tick, float64 (dim,); else why there is none. Ticks must be asked for in order."""
        value = self._track.interpolated(tick_ns, self._tolerance_ns)
        self._track.forget_before(tick_ns)
        return value

    def clear(self) -> None:
        """Forget all commands, after a clock jumped."""
        self._track.samples.clear()
