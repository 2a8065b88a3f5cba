# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Watches that topics come at the rate that the embodiment file promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hpt_ros.observation.time_series import nanoseconds, seconds

# Below this fraction of the promised rate a topic is pointed out, and above that one: two publishers, for example.
SLOW_RATIO, FAST_RATIO = 0.8, 1.5
# A topic is silent after so many periods without a message, and not before so many seconds: nodes pause for a moment.
SILENT_PERIODS, SILENT_S = 5.0, 0.5


@dataclass
class RateWatch:
    """Counts messages over windows of log time, and notices at once when a topic falls silent.

    Args:
        expected_hz: topic name to its promised rate.
        start_ns: when counting begins.
        window_s: how long to count before comparing.
    """

    expected_hz: Mapping[str, float]
    start_ns: int
    window_s: float
    _counts: dict[str, int] = field(default_factory=dict, init=False)
    _last_ns: dict[str, int] = field(default_factory=dict, init=False)
    _silent: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._last_ns = dict.fromkeys(self.expected_hz, self.start_ns)

    def count(self, topic: str, at_ns: int) -> None:
        """One message came."""
        self._counts[topic] = self._counts.get(topic, 0) + 1
        self._last_ns[topic] = at_ns

    def check(self, now_ns: int) -> list[str]:
        """A sentence for each topic that fell silent, came back, or had another rate over an entire window."""
        return self._silence(now_ns) + self._rates(now_ns)

    def _silence(self, now_ns: int) -> list[str]:
        found = []
        for topic, expected in self.expected_hz.items():
            quiet_s = seconds(now_ns - self._last_ns[topic])
            silent = quiet_s > max(SILENT_PERIODS / expected, SILENT_S)
            if silent and topic not in self._silent:
                self._silent.add(topic)
                found.append(f"{topic} is silent for {quiet_s:.1f} s; check its node and the network")
            elif not silent and topic in self._silent:
                self._silent.discard(topic)
                found.append(f"{topic} comes again")
        return found

    def _rates(self, now_ns: int) -> list[str]:
        span_ns = now_ns - self.start_ns
        if span_ns < nanoseconds(self.window_s):
            return []
        rates = {topic: self._counts.get(topic, 0) / seconds(span_ns) for topic in self.expected_hz}
        self.start_ns = now_ns
        self._counts.clear()
        return [
            f"{topic} comes at {rates[topic]:.1f} Hz, but the embodiment file says {expected:g} Hz; check its "
            f"node{' and the network' if rates[topic] < expected else ', or whether two nodes publish it'}"
            for topic, expected in self.expected_hz.items()
            if not SLOW_RATIO * expected <= rates[topic] <= FAST_RATIO * expected
            and topic not in self._silent
        ]
