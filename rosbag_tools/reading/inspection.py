# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is in a bag: topics, rates, gaps, sizes, times between streams, and what an embodiment file would use of it."""

from __future__ import annotations

import dataclasses
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.streams import BY_ARRIVAL
from hpt_ros.errors import did_you_mean
from hpt_ros.observation.time_series import nanoseconds, seconds
from rosbag_tools.bag_schema import EMBODIMENT_TOPIC, EVENTS_TOPIC
from rosbag_tools.reading.decodable import IMAGE_TYPES, look, look_at_command
from rosbag_tools.reading.reader import Bag

Integers = NDArray[np.int64]

# A topic slower than this fraction of the file's rate is pointed out; UMI's and rosbag2's own jitter stay above it.
SLOW_RATIO = 0.9
# Two messages further apart than this many usual intervals have lost at least one between them.
GAP_PERIODS = 2.5
# A clock that is this far off is no delay of a network or a driver.
CLOCK_OFF_S = 1.0
# A message cannot arrive before it was stamped. Machines that keep their clocks by NTP agree within a few milliseconds.
AHEAD_S = 0.02
# More than this behind its stamp, a sample is often not there when its tick is resolved (0.02 s after it).
LATE_S = 0.1
# A topic that begins or ends this much within the bag was started late, or was lost.
SILENT_S = 1.0
# Log times that pass so many times faster than the stamps are no times.
ODD_LOG_RATIO = 3.0
# Stamps further from the log time than this are nonsense of one message, if others are not.
CLOCKS_APART_S = 60.0
# With fewer different stamps than this fraction of the messages they do not tell when each was measured.
COARSE_RATIO = 0.4
# A silence of so many periods, and of at least so many seconds, is a pause or a clock that was set, and no rate.
PAUSE_PERIODS, PAUSE_S = 20.0, 10.0
# Messages before and after a leap of a clock that set it apart from the nonsense of one message.
STEADY_MESSAGES = 5
# Below this rate a topic is events, of which no skew can be said.
STEADY_HZ = 1.0


@dataclass
class TopicTimes:
    """One topic's messages. Times between messages are of header stamps where there are any, else of log times; those
    of an embodiment's streams are corrected as it states.

    Attributes:
        type: message type.
        count: messages read.
        size_bytes: of all of them, uncompressed.
        first_ns, last_ns: log times; -1 if there is no message.
        period_s: median time between two messages; 0 with fewer than two.
        jitter_s: standard deviation of that time, of intervals without a gap.
        largest_gap_s: longest time between two messages; 0 with fewer than two.
        gap_at_s: when it began, since the bag's first message, by the topic's own clock.
        gaps: how often two messages were further apart than `GAP_PERIODS` periods.
        delay_s: median of log time less header stamp; None without stamps.
        late_s: 95th percentile of the same.
        step: by how much log times leap against the stamps, s, and when, s after the bag's start; None if they do not.
        span_s: from the earliest to the latest of the times between messages, pauses left out.
        repeated: messages with the stamp of another.
        coarse: stamps do not tell when a message was measured, since most are those of others; times are log times.
        pauses: silences that are no gaps, which rates leave out.
        skew_s, worst_skew_s: median and 95th percentile of the distance from a message of the reference topic to the
            nearest one of this topic; None where there is nothing to compare.
        unreadable: why its messages cannot be read; empty if they can be. Its times are then log times.
        used_by: what the embodiment file takes it for; empty if it does not.
        useless: the embodiment file takes it, and it is missing, empty, of another type, or unreadable.
        notes: what is wrong with it.
    """

    type: str
    count: int = 0
    size_bytes: int = 0
    first_ns: int = -1
    last_ns: int = -1
    period_s: float = 0.0
    jitter_s: float = 0.0
    largest_gap_s: float = 0.0
    gap_at_s: float = 0.0
    gaps: int = 0
    delay_s: float | None = None
    late_s: float | None = None
    step: tuple[float, float] | None = None
    span_s: float = 0.0
    repeated: int = 0
    coarse: bool = False
    pauses: int = 0
    skew_s: float | None = None
    worst_skew_s: float | None = None
    unreadable: str = ""
    used_by: str = ""
    useless: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def rate_hz(self) -> float:
        """Messages a second between the first and the last; 0 with fewer than two.

        By stamps, unless they say something else altogether than the log times: then by those of the two that fit the
        usual time between messages. Scripts write counters as log times, or one time; drivers stamp with nonsense.
        """
        if self.count < 2:
            return 0.0
        logged_s, between = seconds(self.last_ns - self.first_ns), self.count - 1
        if self.repeated or self.pauses:
            between = self.count - 1 - self.pauses - (0 if self.coarse else self.repeated)
            return between / self.span_s if between > 0 and self.span_s > 0 else 0.0
        if self.step is not None and self.span_s > 0:
            return between / self.span_s
        if self.span_s <= 0 or logged_s <= 0:
            span_s = max(self.span_s, logged_s)
        elif logged_s / ODD_LOG_RATIO <= self.span_s <= logged_s * ODD_LOG_RATIO:
            span_s = self.span_s
        else:
            span_s = logged_s if between * self.period_s <= ODD_LOG_RATIO * logged_s else self.span_s
        return between / span_s if span_s > 0 else 0.0


@dataclass
class Inspection:
    """A complete bag.

    Attributes:
        topics: by name; with an embodiment also those that it wants and the bag lacks.
        reference: the topic that skews are measured from; empty if there is none.
        unused: topics with messages that the embodiment file does not take; empty without one.
        notes: what is wrong with the bag.
    """

    topics: dict[str, TopicTimes]
    reference: str = ""
    unused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def lacks(self) -> bool:
        """Whether something that the embodiment file wants is missing, empty or of another type."""
        return any(entry.useless for entry in self.topics.values() if entry.used_by)

    def as_mapping(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        topics = {
            name: {**dataclasses.asdict(entry), "rate_hz": entry.rate_hz}
            for name, entry in self.topics.items()
        }
        return {"topics": topics, "reference": self.reference, "unused": self.unused, "notes": self.notes}


def inspect(bag: Bag, embodiment: Embodiment | None = None) -> Inspection:
    """Measure every topic of a bag, and compare with what an embodiment file wants."""
    found = {
        name: TopicTimes(topic.type, unreadable=str(bag.unreadable(name) or ""))
        for name, topic in bag.topics.items()
    }
    damaged = Counter[str]()
    times = {name: array("q") for name in found}
    unstamped = {name: array("q") for name in found}
    logged = {name: array("q") for name in found}
    odd = Counter[str]()
    delays = {name: array("q") for name in found}
    streams = {stream.topic: stream for stream in embodiment.streams} if embodiment else {}
    for record in bag.records():
        entry = found[record.topic]
        if not entry.count:
            entry.first_ns = record.log_ns
        entry.last_ns = record.log_ns
        entry.count += 1
        entry.size_bytes += record.size_bytes
        damaged[record.topic] += record.damaged
        stream, stamp_ns = streams.get(record.topic), record.stamp_ns
        if stream is not None and stream.time == BY_ARRIVAL:
            stamp_ns = None
        logged[record.topic].append(record.log_ns)
        measured_ns = record.log_ns if stamp_ns is None else stamp_ns
        if stream is not None:
            measured_ns += nanoseconds(stream.stamp_offset_s)
        # A stamp of 0 among others is none; where all are 0, log times count.
        (unstamped if record.stamped and stamp_ns is None else times)[record.topic].append(measured_ns)
        if stamp_ns is not None:
            delays[record.topic].append(record.log_ns - measured_ns)
    stamps = {
        name: np.frombuffer(values or unstamped[name], np.int64)
        for name, values in times.items()
        if values or unstamped[name]
    }
    set_backs = bag.set_backs()
    for name, values in list(stamps.items()):
        delay_ns = np.frombuffer(delays[name], np.int64)
        if len(delay_ns) == len(values):
            # The nonsense of a few messages is none of the clock.
            sane = np.abs(delay_ns - int(np.median(delay_ns))) <= nanoseconds(CLOCKS_APART_S)
            odd[name] = int((~sane).sum())
            stamps[name] = values = values[sane]
        if len(np.unique(values)) < COARSE_RATIO * len(values) and len(delay_ns):
            found[name].coarse, stamps[name] = True, np.frombuffer(logged[name], np.int64)
            found[name].repeated = len(values) - len(np.unique(values))
        _intervals(found[name], stamps[name], bag.start_ns)
        if len(delays[name]):
            middle, late = np.percentile(delays[name], (50, 95))
            found[name].delay_s, found[name].late_s = float(middle) * 1e-9, float(late) * 1e-9
            if (step := find_step(np.frombuffer(delays[name], np.int64))) is not None:
                place_ns = logged[name][len(logged[name]) - len(delays[name]) + step[1]]
                found[name].step = (step[0], seconds(place_ns - bag.start_ns))
        if odd[name]:
            found[name].notes.append(
                f"{odd[name]} messages have stamps more than {CLOCKS_APART_S:.0f} s from the others' clock: they "
                "do not count"
            )
        if found[name].coarse:
            found[name].notes.append(
                f"{found[name].repeated} of {found[name].count} messages have the stamp of another: the driver stamps "
                "too coarsely; state time: arrival for the stream (hpt convert --time NAME=arrival)"
            )
        elif found[name].repeated:
            cause = "the clock was set back" if set_backs else "two publishers, or recorded twice"
            found[name].notes.append(
                f"{found[name].repeated} of {found[name].count} messages have the stamp of another: {cause}"
            )
        if damaged[name]:
            found[name].notes.append(f"{damaged[name]} messages are damaged: shorter than their header")
    result = Inspection(found, notes=[item.sentence(bag.start_ns) for item in set_backs])
    if embodiment is not None:
        _claims(found, embodiment, bag)
        own = (EMBODIMENT_TOPIC, EVENTS_TOPIC)  # the recorder's
        result.unused = [
            name for name, entry in found.items() if entry.count and not entry.used_by and name not in own
        ]
    _point_out_undecodable(found, embodiment, bag)
    result.reference = _reference(found)
    if result.reference:
        for name, values in stamps.items():
            if found[name].rate_hz >= STEADY_HZ:
                _skew(found[name], stamps[result.reference], values)
    _point_out_clocks(found)
    return result


def find_step(delays_ns: Integers) -> tuple[float, int] | None:
    """Where log times leap against the stamps once, and not before and after.

    Args:
        delays_ns: log time less stamp of each message, in order.

    Returns:
        By how much, in seconds, and the first message after it; None if they do not.
    """
    if len(delays_ns) < 2 * STEADY_MESSAGES:
        return None
    place = int(np.abs(np.diff(delays_ns)).argmax()) + 1
    if not STEADY_MESSAGES <= place <= len(delays_ns) - STEADY_MESSAGES:
        return None
    parts = [delays_ns[:place], delays_ns[place:]]
    leap_s = seconds(int(np.median(parts[1])) - int(np.median(parts[0])))
    drift_s = max(seconds(abs(int(part[-1]) - int(part[0]))) for part in parts)
    return (leap_s, place) if abs(leap_s) > CLOCK_OFF_S and drift_s < abs(leap_s) / 2 else None


def step_note(leap_s: float) -> str:
    """What it means that log times leap against the stamps, and what to do."""
    if leap_s > 0:
        return (
            f"log times leap ahead of the stamps by {leap_s:.3g} s: the simulation or the driver was paused while the "
            "recording went on, or the recorder's clock was set; hpt convert --ignore-arrival goes by the stamps"
        )
    return (
        f"stamps leap ahead of the log times by {-leap_s:.3g} s: a clock was set while it was recorded; convert "
        "what is before and after apart, or synchronise the machines"
    )


def _intervals(entry: TopicTimes, stamps_ns: Integers, start_ns: int) -> None:
    if len(stamps_ns) < 2:
        return
    ordered = np.sort(stamps_ns)  # messages of two publishers may overtake one another
    if not entry.coarse:
        distinct = np.unique(ordered)
        entry.repeated, ordered = len(ordered) - len(distinct), distinct
    if len(ordered) < 2:
        return
    between = np.diff(ordered) * 1e-9
    pauses = between > max(PAUSE_PERIODS * float(np.median(between)), PAUSE_S)
    entry.pauses = int(pauses.sum())
    entry.span_s = float(between[~pauses].sum())
    entry.period_s = float(np.median(between))
    whole = between <= GAP_PERIODS * entry.period_s
    entry.gaps = int((~whole).sum()) if entry.period_s > 0 else 0
    entry.jitter_s = float(between[whole].std()) if whole.any() else 0.0
    largest = int(between.argmax())
    entry.largest_gap_s = float(between[largest])
    entry.gap_at_s = float(ordered[largest] - ordered[0]) * 1e-9 + max(
        seconds(entry.first_ns - start_ns), 0.0
    )


def _reference(found: Mapping[str, TopicTimes]) -> str:
    """The slowest camera, which sets the ticks; without one the slowest topic that comes at least once a second."""
    steady = [name for name, entry in found.items() if entry.rate_hz >= STEADY_HZ]
    used = [name for name in steady if found[name].used_by] or steady
    cameras = [name for name in used if found[name].type in IMAGE_TYPES]
    return min(cameras or used, key=lambda name: (found[name].rate_hz, name), default="")


def _skew(entry: TopicTimes, reference_ns: Integers, stamps_ns: Integers) -> None:
    ordered = np.sort(stamps_ns)
    after = np.searchsorted(ordered, reference_ns).clip(1, len(ordered) - 1)
    distance = np.minimum(np.abs(reference_ns - ordered[after - 1]), np.abs(ordered[after] - reference_ns))
    entry.skew_s = float(np.median(distance)) * 1e-9
    entry.worst_skew_s = float(np.percentile(distance, 95)) * 1e-9


def _claims(found: dict[str, TopicTimes], embodiment: Embodiment, bag: Bag) -> None:
    for stream in embodiment.streams:
        tolerance_s = None if stream.kind.holds else stream.tolerance_s
        rate_hz = 0.0 if stream.kind.holds or stream.holding else stream.rate_hz
        _claim(found, stream.topic, stream.type, rate_hz, tolerance_s, f"stream {stream.name}")
        if tolerance_s is not None:
            _point_out_silence(found[stream.topic], bag)
    action = embodiment.action
    for output in action.parts:
        held = action.gripper_only(output)
        rate_hz = 0.0 if held else action.rate_hz
        purpose = output.name if output.name == "action" else f"output {output.name}"
        recorded = output.recorded_as
        _claim(found, recorded.topic, recorded.type, rate_hz, None if held else output.tolerance_s, purpose)
        if not held:
            _point_out_silence(found[recorded.topic], bag)


def _claim(
    found: dict[str, TopicTimes],
    topic: str,
    type_: str,
    rate_hz: float,
    tolerance_s: float | None,
    purpose: str,
) -> None:
    if topic not in found:
        there = [name for name, entry in found.items() if entry.type == type_ and entry.count]
        hint = did_you_mean(topic, there) or (f"; of its type: {', '.join(there[:4])}" if there else "")
        found[topic] = TopicTimes(type_, used_by=purpose, useless=True, notes=[f"missing{hint}"])
        return
    entry = found[topic]
    entry.used_by = f"{entry.used_by}, {purpose}" if entry.used_by else purpose
    entry.useless |= entry.type != type_ or not entry.count or bool(entry.unreadable)
    if entry.type != type_:
        entry.notes.append(f"type is {entry.type}, expected {type_}")
    elif entry.count == 0:
        entry.notes.append("no messages")
    elif entry.unreadable:
        entry.notes.append(f"not readable: {entry.unreadable}")
    else:
        if entry.rate_hz < SLOW_RATIO * rate_hz:
            entry.notes.append(f"slower than {rate_hz:g} Hz")
        if tolerance_s is not None and entry.largest_gap_s > tolerance_s:
            entry.notes.append(
                f"gap of {entry.largest_gap_s:.2f} s at {entry.gap_at_s:.2f} s is longer than the tolerance of "
                f"{tolerance_s:g} s: ticks are lost there"
            )


def _point_out_silence(entry: TopicTimes, bag: Bag) -> None:
    if not entry.count:
        return
    before_s, after_s = seconds(entry.first_ns - bag.start_ns), seconds(bag.end_ns - entry.last_ns)
    if before_s > SILENT_S:
        entry.notes.append(f"begins {before_s:.1f} s after the bag does")
    if after_s > SILENT_S:
        entry.notes.append(f"ends {after_s:.1f} s before the bag does")


def _point_out_clocks(found: Mapping[str, TopicTimes]) -> None:
    for entry in found.values():
        if entry.delay_s is None:
            continue
        if entry.step is not None:
            entry.notes.append(f"{step_note(entry.step[0])}, {entry.step[1]:.2f} s after the start")
        elif entry.delay_s > CLOCK_OFF_S or entry.delay_s < -AHEAD_S:
            entry.notes.append(
                f"stamps are {abs(entry.delay_s):.3g} s {'behind' if entry.delay_s > 0 else 'ahead of'} their arrival: "
                "two clocks; synchronise the machines, record with --use-sim-time, or state time: arrival for the "
                "stream (hpt convert --time NAME=arrival)"
            )
        elif entry.used_by and entry.delay_s > LATE_S:
            entry.notes.append(f"arrives {entry.delay_s * 1e3:.0f} ms after its stamp")


def _point_out_undecodable(found: Mapping[str, TopicTimes], embodiment: Embodiment | None, bag: Bag) -> None:
    """Of the streams, and of all images, that which the converter could not read."""
    streams = {stream.topic: stream for stream in embodiment.streams} if embodiment is not None else {}
    for topic, entry in found.items():
        stream = streams.get(topic)
        wanted = entry.type in IMAGE_TYPES if stream is None else entry.type == stream.type
        if wanted and entry.count and not entry.unreadable and (reason := look(bag, topic, stream).reason):
            entry.notes.append(f"cannot be decoded: {reason}")
    for output in embodiment.action.parts if embodiment is not None else ():
        entry = found[output.recorded_as.topic]
        readable = entry.count and not entry.unreadable and entry.type == output.recorded_as.type
        if readable and (refusal := look_at_command(bag, output)):
            entry.notes.append(f"cannot be decoded: {refusal}")
