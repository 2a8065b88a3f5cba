"""What is in a bag: topics, rates and gaps, and what an embodiment file would use of it."""

from __future__ import annotations

from dataclasses import dataclass

from hpt_ros.embodiment import Embodiment
from hpt_ros.observation.track import seconds
from rosbag_tools.reader import Bag


@dataclass
class TopicTimes:
    """One topic's log times.

    Attributes:
        type: message type.
        count: messages read.
        first_ns, last_ns: log times; -1 if there is no message.
        largest_gap_s: longest time between two messages, in seconds; 0 with fewer than two.
        used_by: what the embodiment file takes it for; empty if it does not.
        note: what is wrong with it for that use; empty if nothing is.
    """

    type: str
    count: int = 0
    first_ns: int = -1
    last_ns: int = -1
    largest_gap_s: float = 0.0
    used_by: str = ""
    note: str = ""

    @property
    def rate_hz(self) -> float:
        """Messages a second between the first and the last; 0 with fewer than two."""
        span_ns = self.last_ns - self.first_ns
        return (self.count - 1) / seconds(span_ns) if self.count > 1 and span_ns > 0 else 0.0


# A topic slower than this share of the file's rate is pointed out; UMI's and rosbag2's own jitter stay above it.
SLOW_SHARE = 0.9


def inspect(bag: Bag, embodiment: Embodiment | None = None) -> dict[str, TopicTimes]:
    """Topics of a bag by name; with an embodiment also the topics that it wants and the bag lacks."""
    found = {name: TopicTimes(topic.type) for name, topic in bag.topics.items()}
    for name, log_ns in bag.log_times():
        entry = found[name]
        if entry.count:
            entry.largest_gap_s = max(entry.largest_gap_s, seconds(log_ns - entry.last_ns))
        else:
            entry.first_ns = log_ns
        entry.last_ns = log_ns
        entry.count += 1
    if embodiment is not None:
        for stream in embodiment.streams:
            _claim(found, stream.topic, stream.type, stream.rate_hz, f"stream {stream.name}")
        action = embodiment.action
        for output in action.parts:
            rate_hz = 0.0 if action.grips_only(output) else action.rate_hz
            _claim(found, output.topic, output.type, rate_hz, output.name)
    return found


def _claim(found: dict[str, TopicTimes], topic: str, type_: str, rate_hz: float, purpose: str) -> None:
    if topic not in found:
        found[topic] = TopicTimes(type_, used_by=purpose, note="missing")
        return
    entry = found[topic]
    entry.used_by = f"{entry.used_by}, {purpose}" if entry.used_by else purpose
    if entry.type != type_:
        entry.note = f"type, but {type_} is expected"
    elif entry.count == 0:
        entry.note = "no messages"
    elif entry.rate_hz < SLOW_SHARE * rate_hz:
        entry.note = f"slower than {rate_hz:g} Hz"
