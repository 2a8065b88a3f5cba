# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which of a message's times counts: chosen when a bag is converted, checked against the bag, and put in order.

Stamps say when something was measured, log times when it arrived. Both may be wrong: a driver with a clock of its own,
a simulation recorded in wall time, log times made up by a script, a network that delivers in bursts.
"""

from __future__ import annotations

import heapq
import re
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hpt_ros.embodiment import Embodiment, Output, Stream
from hpt_ros.embodiment.messages import header_stamp_ns
from hpt_ros.embodiment.streams import BY_ARRIVAL, BY_STAMP
from hpt_ros.errors import Code
from hpt_ros.observation.track import nanoseconds, seconds
from rosbag_tools.errors import BagError
from rosbag_tools.reading.inspection import (
    AHEAD_S,
    CLOCK_OFF_S,
    CLOCKS_APART_S,
    COARSE_RATIO,
    find_step,
    step_note,
)
from rosbag_tools.reading.reader import Bag, Message
from rosbag_tools.reading.safe_decompress import MOST_HELD_BYTES

# Messages of each topic after which the clocks are compared for the first time; all of them at the end.
ENOUGH, MOST_WAIT = 5, 2000
_CLOCKS_APART_NS = nanoseconds(CLOCKS_APART_S)
# From the first quarter of an episode to the last the delay of a network changes by less.
DRIFT_S = 0.1
MOST_FEW = 20  # messages of which nothing is said of their stamps' grain

_NAME = r"(?P<name>[a-z][a-z0-9_]*)"
_TIME = re.compile(rf"{_NAME}=(?P<time>{BY_STAMP}|{BY_ARRIVAL})?(?P<offset>[+-]\d+(\.\d+)?)?")


@dataclass(frozen=True, slots=True)
class Timing:
    """What says when messages were measured, where it is not what the embodiment file states.

    Attributes:
        times: stream or output (``"action"`` for a file with one) to "stamp" or "arrival".
        offsets_s: stream to what is added to its time.
        ignore_arrival: samples count by their times, however late they arrived.
    """

    times: Mapping[str, str] = field(default_factory=dict)
    offsets_s: Mapping[str, float] = field(default_factory=dict)
    ignore_arrival: bool = False

    @staticmethod
    def parse(texts: Sequence[str], *, ignore_arrival: bool = False) -> Timing:
        """Read ``front=arrival``, ``front=stamp-0.08`` or ``front=-0.08``, as the command line has them.

        Raises:
            BagError: one is something else.
        """
        times: dict[str, str] = {}
        offsets_s: dict[str, float] = {}
        for text in texts:
            match = _TIME.fullmatch(text)
            if match is None or not (match["time"] or match["offset"]):
                raise BagError(
                    Code.INVALID, "--time", text,
                    expected="NAME=stamp, NAME=arrival or either with an offset in seconds, such as front=stamp-0.08",
                )  # fmt: skip
            name = match["name"]
            if (match["time"] and name in times) or (match["offset"] and name in offsets_s):
                raise BagError(
                    Code.DUPLICATE, "--time", name, problem=f"gives {{value}} twice, the second time by {text!r}",
                    remedy="give it once",
                )  # fmt: skip
            if match["time"]:
                times[name] = match["time"]
            if match["offset"]:
                offsets_s[name] = float(match["offset"])
        return Timing(times, offsets_s, ignore_arrival)

    def over(self, robot: Embodiment) -> Embodiment:
        """The robot with these times.

        Raises:
            BagError: a name that it has not.
        """
        streams, outputs = [item.name for item in robot.streams], [item.name for item in robot.action.parts]
        for names, known in ((self.times, [*streams, *outputs]), (self.offsets_s, streams)):
            for name in names:
                if name not in known:
                    raise BagError(Code.UNKNOWN, "--time", name, problem="names {value}", known=known)
        if not (self.times or self.offsets_s):
            return robot
        action = robot.action
        if action.outputs:
            changed = [replace(item, time=self.times.get(item.name, item.time)) for item in action.outputs]
            action = replace(action, outputs=tuple(changed))
        else:
            action = replace(action, time=self.times.get(outputs[0], action.time))
        return replace(robot, streams=tuple(map(self._retime, robot.streams)), action=action)

    def _retime(self, stream: Stream) -> Stream:
        return replace(
            stream,
            time=self.times.get(stream.name, stream.time),
            stamp_offset_s=self.offsets_s.get(stream.name, stream.stamp_offset_s),
        )


def by_arrival(robot: Embodiment, topic: str) -> bool:
    """Whether the stamps of a topic do not count."""
    users: list[Stream | Output] = [item for item in robot.streams if item.topic == topic]
    users += [item for item in robot.action.parts if item.recorded_as.topic == topic]
    return bool(users) and all(item.time == BY_ARRIVAL for item in users)


@dataclass
class ClockCheck:
    """Compares the stamps of an episode's messages with their log times.

    Args:
        path: of the bag, for errors.
        robot: as it is in the bag.
    """

    path: str
    robot: Embodiment
    _delays: dict[str, array[int]] = field(default_factory=dict, init=False)
    _stamps: dict[str, array[int]] = field(default_factory=dict, init=False)
    odd: Counter[str] = field(default_factory=Counter, init=False)
    _count: int = field(default=0, init=False)
    _compared: bool = field(default=False, init=False)

    def take(self, message: Message, topics: Collection[str]) -> bool:
        """Note a message's delay; returns whether its stamp can be one of the others' clock.

        Raises:
            BagError: enough of `topics` were seen, with stamps of another clock.
        """
        topic, log_ns, content = message
        stamp = header_stamp_ns(content)
        if topic not in self._delays:
            self._delays[topic], self._stamps[topic] = array("q"), array("q")
        if stamp:  # 0 says "now"
            self._delays[topic].append(log_ns - stamp)
            self._stamps[topic].append(stamp)
        if not self._compared:
            self._compare_once(topic, topics)
        if stamp and abs(log_ns - stamp) > _CLOCKS_APART_NS and not by_arrival(self.robot, topic):
            self.odd[topic] += 1
            return False
        return True

    def _compare_once(self, topic: str, topics: Collection[str]) -> None:
        self._count += 1
        if self._count >= MOST_WAIT or (
            len(self._delays[topic]) == ENOUGH
            and all(len(self._delays.get(name, ())) >= ENOUGH for name in topics)
        ):
            self._compared = True
            self.compare()

    def notes(self) -> dict[str, str]:
        """What is odd about the stamps of each stream, in words; of those that are not, nothing.

        Raises:
            BagError: as `compare`.
        """
        delays_s = self.compare()
        # All ahead alike are of a recorder whose own clock is behind: that moves nothing against anything.
        alike = bool(delays_s) and max(delays_s.values()) - min(delays_s.values()) <= AHEAD_S
        alike = alike and max(delays_s.values()) < 0
        found = {}
        for stream in self.robot.streams:
            if stream.topic not in delays_s:
                continue
            delays = np.frombuffer(self._delays[stream.topic], np.int64)
            stamps = np.frombuffer(self._stamps[stream.topic], np.int64)
            parts = [seconds(int(np.median(part))) for part in np.array_split(delays, 4) if len(part)]
            drift_s = parts[-1] - parts[0]
            if len(delays) > MOST_FEW and len(np.unique(stamps)) < COARSE_RATIO * len(stamps):
                found[stream.name] = (
                    f"{stream.name}: most messages have the stamp of another, and would be measured at one time: "
                    f"pass --time {stream.name}={BY_ARRIVAL}"
                )
            elif (step := find_step(delays)) is not None:
                found[stream.name] = f"{stream.name}: {step_note(step[0])}"
            elif abs(drift_s) > DRIFT_S and not alike:
                found[stream.name] = (
                    f"{stream.name}: its delay goes from {parts[0]:.3f} to {parts[-1]:.3f} s: its clock drifts; pass "
                    f"--time {stream.name}={BY_ARRIVAL}, or synchronise the machines"
                )
            elif not alike and (note := clock_note(stream.name, delays_s[stream.topic])):
                found[stream.name] = note
            if odd := self.odd[stream.topic]:
                found[stream.name] = (
                    f"{stream.name}: {odd} messages have stamps more than {CLOCKS_APART_S:.0f} s from the log "
                    "times, and do not count"
                )
        return found

    def compare(self) -> dict[str, float]:
        """Median of log time less stamp of each topic that was seen with stamps that count, in seconds.

        Raises:
            BagError: they are of different clocks.
        """
        offsets_s = {item.topic: item.stamp_offset_s for item in self.robot.streams}
        found = {
            topic: seconds(int(np.median(np.frombuffer(delays, np.int64)))) - offsets_s.get(topic, 0.0)
            for topic, delays in self._delays.items()
            if len(delays) and not by_arrival(self.robot, topic)
        }
        apart = {topic: delay_s for topic, delay_s in found.items() if abs(delay_s) > CLOCKS_APART_S}
        if apart:
            raise _two_clocks(self.path, self.robot, found, apart)
        return found


def _two_clocks(
    path: str, robot: Embodiment, found: Mapping[str, float], apart: Mapping[str, float]
) -> BagError:
    topic = max(apart, key=lambda name: abs(apart[name]))
    side = "behind" if apart[topic] > 0 else "ahead of"
    what = (
        f"has messages on {topic!r} whose stamps are {abs(apart[topic]):.0f} s {side} their log times (median), but "
        f"{CLOCKS_APART_S:.0f} s at most were expected"
    )
    if max(found.values()) - min(found.values()) <= CLOCKS_APART_S:  # all alike
        return BagError(
            Code.MISMATCH, f"bag {path!r}", apart[topic],
            problem=f"{what}: the log times are of another clock",
            remedy="pass --ignore-arrival to go by the stamps alone, or record a simulation with use_sim_time",
        )  # fmt: skip
    names = [item.name for item in robot.streams if item.topic in apart]
    names += [item.name for item in robot.action.parts if item.recorded_as.topic in apart]
    options = " ".join(f"{name}={BY_ARRIVAL}" for name in names) or f"NAME={BY_ARRIVAL}"
    return BagError(
        Code.MISMATCH, f"bag {path!r}", apart[topic],
        problem=f"{what}, as of other topics: its driver has a clock of its own",
        remedy=f"pass --time {options}, or state time: arrival in the embodiment file",
    )  # fmt: skip


def in_order_of_time(
    bag: Bag, robot: Embodiment, topics: Collection[str], start_ns: int, stop_ns: int
) -> Iterator[Message]:
    """Messages in the order of the times that count, which stand in place of their log times.

    A first pass reads heads alone and finds how long a message must wait for earlier ones, so that memory holds no more
    than what is out of order.

    Args:
        bag: an open bag.
        robot: as it is in the bag.
        topics: to read.
        start_ns, stop_ns: log times; the second is exclusive.

    Raises:
        BagError: the times of topics are of different clocks, or too much is out of order.
    """
    records = list(bag.records(topics, start_ns=start_ns, stop_ns=stop_ns))
    clocked = {entry.topic for entry in records if entry.stamp_ns is not None}
    clocked -= {topic for topic in clocked if by_arrival(robot, topic)}
    offsets_ns = {item.topic: nanoseconds(item.stamp_offset_s) for item in robot.streams}
    observed = set(offsets_ns)
    times: list[int | None] = []
    for entry in records:
        counts = entry.topic in clocked
        if counts and entry.stamp_ns is None and entry.topic in observed:
            times.append(None)  # a stamp of 0 among others is none
            continue
        said = entry.stamp_ns if counts and entry.stamp_ns is not None else entry.log_ns
        times.append(said + offsets_ns.get(entry.topic, 0))
    _check_same_clock(bag, [entry.topic for entry in records], times, clocked)
    later = [0] * len(times)
    least = 1 << 64
    for index in range(len(times) - 1, -1, -1):
        later[index] = least
        at = times[index]
        least = least if at is None else min(least, at)
    heap: list[tuple[int, int, Message]] = []
    held = 0
    for index, message in enumerate(bag.messages(topics, start_ns=start_ns, stop_ns=stop_ns)):
        at = times[index]
        if at is not None:
            heapq.heappush(heap, (at, index, message))
            held += records[index].size_bytes
        if held > MOST_HELD_BYTES:
            raise BagError(
                Code.OUT_OF_RANGE, f"bag {str(bag.path)!r}", MOST_HELD_BYTES,
                problem="has more than {value} bytes of messages whose stamps are out of order",
                remedy="convert it without --ignore-arrival, or sort it first",
            )  # fmt: skip
        while heap and heap[0][0] <= later[index]:
            time_ns, number, ready = heapq.heappop(heap)
            held -= records[number].size_bytes
            yield ready._replace(log_ns=time_ns)


def _check_same_clock(
    bag: Bag, topics: Sequence[str], times: Sequence[int | None], clocked: Collection[str]
) -> None:
    spans: dict[str, tuple[int, int]] = {}
    for topic, at in zip(topics, times, strict=True):
        if at is not None:
            first, last = spans.get(topic, (at, at))
            spans[topic] = (min(first, at), max(last, at))
    if not clocked:
        return
    counts = Counter(topics)
    reference = max(clocked & spans.keys(), key=lambda topic: (counts[topic], topic))
    for topic, (first, last) in spans.items():
        apart_s = seconds(max(first - spans[reference][1], spans[reference][0] - last))
        if apart_s > CLOCKS_APART_S:
            raise BagError(
                Code.MISMATCH, f"bag {str(bag.path)!r}", apart_s,
                problem=f"has messages on {topic!r} whose times are {apart_s:.0f} s from the stamps of {reference!r}",
                expected=f"{CLOCKS_APART_S:.0f} s at most with --ignore-arrival",
                remedy="let its driver stamp with the same clock, or leave it out of the embodiment file",
            )  # fmt: skip


def without_offsets(robot: Embodiment) -> Embodiment:
    """The robot for messages of `in_order_of_time`, in whose times the offsets of streams by arrival are already."""
    return replace(
        robot,
        streams=tuple(
            replace(item, stamp_offset_s=0.0) if item.time == BY_ARRIVAL else item for item in robot.streams
        ),
    )


def clock_note(name: str, delay_s: float) -> str | None:
    """Return what is odd about a stream's median delay, in words; None if nothing is."""
    if delay_s < -AHEAD_S:
        return (
            f"{name}: stamps are {-delay_s:.3f} s ahead of their arrival, which one clock cannot give; its images or "
            f"values count too late by that: pass --time {name}={BY_STAMP}{delay_s:+.3f}, or synchronise the machines"
        )
    if delay_s > CLOCK_OFF_S:
        return (
            f"{name}: stamps are {delay_s:.3f} s behind their arrival; if its driver has a clock of its own, pass "
            f"--time {name}={BY_ARRIVAL}; if the network delivers late, --ignore-arrival"
        )
    return None
