"""Watches that topics come at the rate that the embodiment file promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hpt_ros.observation.track import nanoseconds, seconds

# Below this share of the promised rate a topic is pointed out.
SLOW_SHARE = 0.8


@dataclass
class RateWatch:
    """Counts messages over windows of log time.

    Args:
        expected_hz: topic name to its promised rate.
        start_ns: when counting begins.
        window_s: how long to count before comparing.
    """

    expected_hz: Mapping[str, float]
    start_ns: int
    window_s: float
    _counts: dict[str, int] = field(default_factory=dict, init=False)

    def count(self, topic: str) -> None:
        """One message came."""
        self._counts[topic] = self._counts.get(topic, 0) + 1

    def check(self, now_ns: int) -> list[str]:
        """Once a window is over: a sentence for each topic that was too slow in it; a new window begins."""
        span_ns = now_ns - self.start_ns
        if span_ns < nanoseconds(self.window_s):
            return []
        rates = {topic: self._counts.get(topic, 0) / seconds(span_ns) for topic in self.expected_hz}
        self.start_ns = now_ns
        self._counts.clear()
        return [
            f"{topic} comes at {rates[topic]:.1f} Hz, but the embodiment file says {expected:g} Hz; check its "
            "node and the network"
            for topic, expected in self.expected_hz.items()
            if rates[topic] < SLOW_SHARE * expected
        ]
