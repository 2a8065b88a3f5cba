# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How each stream really comes: rate, jitter, delay and gaps, for /diagnostics; and whether its driver stamps it."""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment, Stream
from hpt_ros.embodiment.streams import BY_ARRIVAL
from hpt_ros.errors import Code, Refusal
from hpt_ros.nodes.common.publishers import transport_hint
from hpt_ros.nodes.policy.kinds import Kind
from hpt_ros.observation.image_size import has_colours, image_size
from hpt_ros.observation.stamps import NS_PER_S, measured_ns, time_ns

KEPT = 100  # newest messages that figures are of
# Our choice: below this part of its rate a stream is slow, even where it is not stale; cameras fall to half at night.
SLOW = 0.8
# Width by height differs by less between sensors of one shape (1280x960 binned, 1292x964 in full).
DISTORTED = 0.02
REFUSED_FOR_S = 3.0  # a stream whose last refused message is older sends nothing any more
SLOW_AFTER = 10  # intervals that a rate is judged by: fewer are a beginning
# A stamp this far ahead of the clock is another clock; below lies what clocks on one network differ by.
AHEAD_S = 0.02
# A robot's states come within a millisecond or two, so their stamps tell clocks apart better. What is ahead is another
# clock's: commands stamped by this machine's lie in the past of that robot's controller, which may drop them.
STATE_AHEAD_S = 0.002
# ... and behind: no network that a robot is driven over takes this long, ours. Commands then lie in its future.
STATE_BEHIND_S = 0.1
# So many messages with one stamp are a driver's that does not stamp each, ours: drivers of parts of a robot that share
# a topic may share a stamp, too.
REPEATED_STAMPS = 5


@dataclass(slots=True)
class _Seen:
    received: int = 0
    unusable: int = 0
    unstamped: int = 0
    header: bool = True  # whether its type has a stamp
    problem: Refusal | None = None  # why the newest message that could not be used could not
    problem_s: float = -math.inf  # steady time of it
    size: tuple[int, int] | None = None  # height and width of its images as they come
    colours: bool | None = None  # whether they have any
    stamp_ns: int | None = None  # of the newest message, by its driver
    repeated: int = 0  # messages in a row before it that had the same
    arrivals_ns: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT))
    delays_s: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))


class StreamMonitor:
    """Notified of each message. Not thread-safe: the node locks."""

    def __init__(
        self, embodiment: Embodiment, trained: Mapping[str, Sequence[tuple[int, int]]] | None = None
    ) -> None:
        """Start with nothing seen.

        Args:
            embodiment: the robot.
            trained: camera's stream name to sizes (height, width) that its images had in the policy's training data.
        """
        self._trained = trained or {}
        self._streams = {stream.name: stream for stream in embodiment.streams}
        self.reset()

    def reset(self) -> None:
        """Forget all."""
        self._seen = {name: _Seen() for name in self._streams}

    def clock_jumped(self) -> None:
        """Forget times; what came is still counted."""
        for seen in self._seen.values():
            seen.arrivals_ns.clear()
            seen.delays_s.clear()

    def saw(self, stream: Stream, message: Any, arrival_ns: int) -> Refusal | None:
        """Note a message.

        Returns:
            What an operator should know of it; None if nothing. The same each time: say it once.
        """
        seen = self._seen[stream.name]
        seen.received += 1
        if seen.arrivals_ns and arrival_ns < seen.arrivals_ns[-1]:
            seen.arrivals_ns.clear()  # the clock went back
        seen.arrivals_ns.append(arrival_ns)
        header = getattr(message, "header", None)
        if stream.time != BY_ARRIVAL and header is not None:
            before, seen.stamp_ns = seen.stamp_ns, time_ns(header.stamp)
            seen.repeated = seen.repeated + 1 if seen.stamp_ns and seen.stamp_ns == before else 0
        if stream.time == BY_ARRIVAL or (header is not None and time_ns(header.stamp)):
            seen.delays_s.append((arrival_ns - measured_ns(stream, message, arrival_ns)) / NS_PER_S)
            return None
        seen.unstamped += 1
        seen.header = header is not None
        if header is None:
            return None  # its type has no stamp, which the embodiment file's author knows
        return Refusal(
            Code.MISSING, f"stream {stream.name!r} (topic {stream.topic})",
            problem="has messages without a time stamp; their arrival is taken for it, which is later",
            remedy="let the driver stamp them, or state time: arrival for the stream, and how late it is in "
            "stamp_offset_s",
        )  # fmt: skip

    def changed(self, stream: Stream, message: Any) -> Refusal | None:
        """Look at the size and the colours of an image; returns why the robot must stop, if they changed.

        A driver that was started again with another profile, digital zoom, or a camera that went over to infrared,
        shows the policy another view. A driver that begins may send images without pixels, which show nothing.
        """
        if stream.image is None or (size := image_size(message)) is None or not all(size):
            return None
        seen, problem = self._seen[stream.name], ""
        before, seen.size = seen.size, size
        if before is not None and size != before:
            problem = f"changed from {before[1]}x{before[0]} to {size[1]}x{size[0]} pixels"
        # What the embodiment file gives as encoding counts in place of the message's.
        if not stream.encoding and (colours := has_colours(message)) is not None:
            had, seen.colours = seen.colours, colours
            if had is not None and colours is not had:
                lost = "have no colours any more" if had else "have colours, and had none before"
                problem = f"{problem} and {lost}" if problem else lost
        if not problem:
            return None
        return Refusal(
            Code.MISMATCH, f"the images of stream {stream.name!r} (topic {stream.topic})", size, problem=problem,
            remedy="restore the camera's profile, or clear the fault if the view is the same",
        )  # fmt: skip

    def unlike(self, stream: Stream) -> Refusal | None:
        """Return how a stream's images differ from those that the policy was trained on; None if not.

        Where their size is not known, the shape that they are resized to is taken for it.
        """
        size, wanted = self._seen[stream.name].size, stream.image
        if size is None or wanted is None or not min(size):
            return None
        known = self._trained.get(stream.name, ())
        if size in known:
            return None
        stretches = [
            (wide / high) / (size[1] / size[0]) for high, wide in known or [(wanted.height, wanted.width)]
        ]
        stretch = min(stretches, key=lambda value: abs(value - 1.0))
        if abs(stretch - 1.0) > DISTORTED:
            side = "wide" if stretch > 1.0 else "high"
            differs = f"what they show is {max(stretch, 1.0 / stretch) - 1.0:.0%} too {side}"
        elif known:
            differs = "they are of the same shape, but may show another part of the scene, or be sharper or less sharp"
        else:
            return None
        problem = f"are {size[1]}x{size[0]} pixels"
        if known:
            sizes = " and ".join(f"{wide}x{high}" for high, wide in known)
            problem += f", but the policy was trained on {sizes}: {differs}"
            remedy = "set the camera's profile to that"
        else:
            problem += f" and become {wanted.width}x{wanted.height}: {differs}"
            remedy = "the policy must have been trained on images of the same shape"
        images = f"the images of stream {stream.name!r}"
        return Refusal(Kind.IMAGE, images, size, problem=problem, remedy=remedy)

    def unusable(self, name: str, problem: Refusal) -> None:
        """Note that a message could not be used, and why."""
        if name in self._seen:
            self._seen[name].unusable += 1
            self._seen[name].problem, self._seen[name].problem_s = problem, time.monotonic()

    def received(self, name: str) -> int:
        """How many messages came."""
        return self._seen[name].received

    def refused(self, name: str) -> Refusal | None:
        """Return why the newest messages of a stale stream could not be used; None if they could, or none come."""
        seen = self._seen[name]
        return seen.problem if time.monotonic() - seen.problem_s < REFUSED_FOR_S else None

    def one_stamp(self, name: str) -> int:
        """How many of the newest messages have one and the same stamp; 0 where that is not too many."""
        repeated = self._seen[name].repeated
        return repeated + 1 if repeated + 1 >= REPEATED_STAMPS else 0

    def since_s(self, name: str, now_ns: int) -> float:
        """Time since the newest message came, usable or not; infinite if none did."""
        arrivals_ns = self._seen[name].arrivals_ns
        return (now_ns - arrivals_ns[-1]) / NS_PER_S if arrivals_ns else math.inf

    def delay_s(self, name: str) -> float:
        """Median time from stamp to arrival of the newest messages; NaN if that is not known."""
        delays_s = self._seen[name].delays_s
        return float(np.median(delays_s)) if delays_s else math.nan

    def warnings(self) -> dict[str, Refusal]:
        """Return what an operator should know although the robot may move, by stream; codes are of `Kind`."""
        found = {name: self._warning(stream) for name, stream in self._streams.items()}
        return {name: warning for name, warning in found.items() if warning is not None}

    def _warning(self, stream: Stream) -> Refusal | None:
        for look in (self._clocks, self._ahead, self._slow, self.unlike):
            if (warning := look(stream)) is not None:
                return warning
        return None

    def _clocks(self, stream: Stream) -> Refusal | None:
        """Return how the robot's clock differs from ours, as its states' stamps tell; None if it does not."""
        ahead_s = -self.delay_s(stream.name)
        if stream.modality != "state" or not (ahead_s > STATE_AHEAD_S or ahead_s < -STATE_BEHIND_S):
            return None
        if ahead_s > 0.0:
            problem = (
                f"is stamped {ahead_s:.3f} s in the future: the robot's clock is ahead of this machine's, and its "
                "controller may drop commands as late"
            )
        else:
            problem = (
                f"is stamped {-ahead_s:.3f} s before it comes: the robot's clock is behind this machine's, and its "
                "controller obeys commands as much later, or its driver is late"
            )
        remedy = "synchronise the clocks, or set outputs.stamp_zero"
        return Refusal(Kind.CLOCKS, f"stream {stream.name!r}", ahead_s, problem=problem, remedy=remedy)

    def _ahead(self, stream: Stream) -> Refusal | None:
        ahead_s = -self.delay_s(stream.name)
        if not ahead_s > AHEAD_S:
            return None
        return Refusal(
            Kind.AHEAD, f"stream {stream.name!r}", ahead_s, problem=f"is stamped {ahead_s:.3f} s in the future",
            remedy="synchronise the clocks",
        )  # fmt: skip

    def _slow(self, stream: Stream) -> Refusal | None:
        intervals_s = self._intervals_s(stream.name)
        if stream.kind.holds or stream.holding or len(intervals_s) < SLOW_AFTER:
            return None
        rate_hz = _rate_hz(intervals_s)
        if not rate_hz < SLOW * stream.rate_hz:
            return None
        return Refusal(
            Kind.SLOW, f"stream {stream.name!r} (topic {stream.topic})", rate_hz,
            problem=f"comes at {rate_hz:.1f} Hz", expected=f"{stream.rate_hz:g} Hz",
            remedy=f"look at the driver, the network and this machine's load{transport_hint(stream)}",
        )  # fmt: skip

    def _intervals_s(self, name: str) -> NDArray[np.float64]:
        arrivals = self._seen[name].arrivals_ns
        return np.array([(b - a) / NS_PER_S for a, b in itertools.pairwise(arrivals)], dtype=np.float64)

    def statuses(
        self,
        node_name: str,
        ages_s: Mapping[str, float],
        stale: Mapping[str, str],
        optional: Mapping[str, Refusal],
    ) -> list[Any]:
        """diagnostic_msgs/DiagnosticStatus of each stream.

        Args:
            node_name: in front of their names.
            ages_s: of all streams; empty: the node does not listen now.
            stale: streams that stop the robot, and why.
            optional: streams that it does without now, and why.
        """
        return [
            self._status(node_name, stream, ages_s.get(name), stale.get(name, ""), optional.get(name))
            for name, stream in self._streams.items()
        ]

    def _status(
        self, node_name: str, stream: Stream, age_s: float | None, stale: str, absent: Refusal | None
    ) -> Any:
        seen = self._seen[stream.name]
        status = DiagnosticStatus(
            level=DiagnosticStatus.OK, name=f"{node_name}: stream {stream.name}", hardware_id=stream.topic
        )
        intervals_s = self._intervals_s(stream.name)
        rate_hz, delay_s = _rate_hz(intervals_s), self.delay_s(stream.name)
        status.message = f"{rate_hz:.1f} Hz" if rate_hz == rate_hz else "nothing yet"
        if age_s is None:
            status.message = "not subscribed: the node is not active"
        elif stale:
            status.level, status.message = DiagnosticStatus.ERROR, stale
        elif absent is not None:
            status.level, status.message = DiagnosticStatus.WARN, f"absent: {absent}; the policy does without"
        elif (warning := self._warning(stream)) is not None:
            status.level, status.message = DiagnosticStatus.WARN, str(warning)
        elif seen.unstamped and seen.header:
            status.level = DiagnosticStatus.WARN
            status.message = f"{seen.unstamped} messages without a time stamp; their arrival was taken for it"
        values: dict[str, float | int | str] = {
            "topic": stream.topic,
            "rate [Hz]": rate_hz,
            "expected rate [Hz]": stream.rate_hz,
            "jitter p99 [s]": _high(np.abs(intervals_s - 1.0 / stream.rate_hz)),
            "age [s]": math.nan if age_s is None else age_s,
            "delay median [s]": delay_s,
            "messages": seen.received,
            "unusable": seen.unusable,
            "missing among the newest": _missing(intervals_s, stream.rate_hz),
            "without a stamp": seen.unstamped,
        }
        status.values = [
            KeyValue(key=key, value=f"{value:.6g}" if isinstance(value, float) else str(value))
            for key, value in values.items()
        ]
        return status


def _rate_hz(intervals_s: NDArray[np.float64]) -> float:
    return float(1.0 / intervals_s.mean()) if intervals_s.size and intervals_s.mean() > 0.0 else math.nan


def _high(values: Any) -> float:
    return float(np.percentile(values, 99)) if values.size else math.nan


def _missing(intervals_s: Any, rate_hz: float) -> int:
    """Messages that did not come among the newest, as far as the expected rate tells."""
    return int(np.maximum(np.round(intervals_s * rate_hz) - 1.0, 0.0).sum())
