# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Streams of stamped samples in, observations on a regular grid of ticks out: one code path for bags and live.

Rules (docs/data.md says why):

* Ticks lie at k / tick_hz of header-stamp time.
* Tick t is resolved once arrival time reaches t + settle; samples that arrived before that count, later ones do not.
  So the answer is a function of the sequence of pushes, never of when somebody asks.
* A modality that is linear in time (`hpt_ros.modalities`): on the line between the samples around t, or the newest at
  or before t if none has come after it. Others: the newest at or before t. Both within the stream's tolerance, but for
  texts, and for joints that are published only while they move: they hold until the next one comes.
* Nothing is filled in: a stream without such a sample makes the tick invalid, and the tick says why. A stream of a
  modality that the policy can do without is absent instead, with the reason.
* Time that goes back, or leaps ahead, empties the buffer; the next tick carries the reason.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment, Stream
from hpt_ros.errors import Code, HptError, Refusal
from hpt_ros.modalities import MODALITIES, Layout
from hpt_ros.observation.checks import InvalidSampleError
from hpt_ros.observation.decode import StreamDecoder, decode
from hpt_ros.observation.feed import Feed, check_sample
from hpt_ros.observation.stamps import measured_ns
from hpt_ros.observation.tick import Tick
from hpt_ros.observation.track import Restart, Sample, TickGrid, Value, last_refused, nanoseconds, seconds
from hpt_ros.observation.video import is_video

# Arrival time that a tick waits for samples stamped at or before it: a joint state of 100 Hz and one hop over DDS.
SETTLE_S = 0.02
# A stamp this much older than the stream's newest is a clock that was set back, not a message overtaken on its way.
JUMP_BACK_S = 1.0
# Silence of all streams for this long is a clock that was set ahead, or a bag that was paused.
LEAP_S = 10.0


@dataclass
class ObservationBuffer:
    """Samples of an embodiment's streams on their way to ticks. Not thread-safe: the node locks.

    Memory is bounded: each stream keeps what its rate and tolerance can need, and at most `LEAP_S` of ticks wait.

    Args:
        embodiment: names the streams, their rates and tolerances, and the tick rate.
        settle_s: arrival time that a tick waits, in seconds.
        optional: modalities that the policy can do without: their streams may be absent from a tick. "actions" may be
            among them and means nothing here.
    """

    embodiment: Embodiment
    settle_s: float = SETTLE_S
    optional: frozenset[str] = frozenset()
    resets: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        for modality in sorted(self.optional):
            MODALITIES[modality]  # raises, naming those that there are
        if not 0.0 <= self.settle_s <= 1.0:
            raise HptError(
                Code.INVALID, "settle_s", self.settle_s, problem="is {value} s", expected="0 to 1 s",
                remedy="0.02 s suits most robots",
            )  # fmt: skip
        self._settle_ns = nanoseconds(self.settle_s)
        self._back_ns = nanoseconds(JUMP_BACK_S)
        self._grid = TickGrid(self.embodiment.tick_hz)
        longest_s = max(stream.tolerance_s for stream in self.embodiment.streams)
        self._leap_ns = nanoseconds(max(LEAP_S, 2.0 * longest_s))
        self._ready: deque[Tick] = deque(
            maxlen=math.ceil(seconds(self._leap_ns) * self.embodiment.tick_hz) + 8
        )
        self._restart: Refusal | None = None
        self._streams = [
            (modality, self.embodiment.streams_of(modality.name)) for modality in self.embodiment.modalities
        ]
        self._decoders = {stream.name: StreamDecoder(stream) for stream in self.embodiment.streams}
        self._feeds: dict[str, Feed] = {}
        self._clear()

    def push(self, stream_name: str, stamp_ns: int, arrival_ns: int, value: Value) -> Refusal | None:
        """Add a sample.

        Args:
            stream_name: the embodiment's name for the stream.
            stamp_ns: header stamp.
            arrival_ns: arrival (live) or log time (bag), on the stamps' clock; must not decrease. A value that is
                less than settle_s lower than one seen before is raised to that one (threads overtake one another).
            value: as `decode` returns it, or a function without arguments that returns it and may raise
                `InvalidSampleError`; the function is called when a tick first needs the sample, so that pictures
                that no tick uses are never decoded.

        Returns:
            Why the buffer was emptied first, because a clock jumped, of `Restart`; None if none did.

        Raises:
            HptError: no such stream, or an array of the wrong shape.
        """
        return self._push(self._feed(stream_name), stamp_ns, arrival_ns, value)

    def _push(self, feed: Feed, stamp_ns: int, arrival_ns: int, value: Value) -> Refusal | None:
        check_sample(feed, value)
        stream_name = feed.stream.name
        restart = self._advance(arrival_ns)
        if restart is None and stamp_ns < feed.newest_stamp_ns - self._back_ns:
            back_s = seconds(feed.newest_stamp_ns - stamp_ns)
            stamps = f"the stamps of stream {stream_name!r}"
            restart = Refusal(Restart.STAMPS, stamps, back_s, problem=f"went back by {back_s:.3f} s")
            self._jump(restart)
            self._advance(arrival_ns)
        if restart is not None:
            feed = self._feeds[stream_name]
        feed.insert(Sample(stamp_ns, self._now_ns, value))
        return restart

    def push_message(
        self,
        stream_name: str,
        message: Any,
        arrival_ns: int,
        *,
        defer: bool = False,
        guard: Callable[[Callable[[], NDArray[Any]]], Callable[[], NDArray[Any]]] | None = None,
    ) -> Refusal | None:
        """Decode a message and add it; a message with unusable values is counted as not come, and ticks say so.

        Args:
            stream_name: the embodiment's name for the stream.
            message: any object with the fields of the stream's message type.
            arrival_ns: as for `push`.
            defer: decode pictures and point clouds only when a tick uses them. Ticks are the same either way.
            guard: put around what decodes later, whose `DecodeError` would come from whatever resolves the tick.

        Returns:
            As `push`.

        Raises:
            DecodeError: the message does not fit the embodiment file.
        """
        feed = self._feed(stream_name)
        stream = feed.stream
        stamp = measured_ns(stream, message, arrival_ns)
        deferred = stream.message_type.decoded_late and (defer or is_video(stream, message))
        try:
            if deferred:
                later = self.take(stream_name, message)
                value: Value = later if guard is None else guard(later)
            else:
                value = decode(stream, message)
        except InvalidSampleError as error:
            restart = self._advance(arrival_ns)
            self._feed(stream_name).refused = error.refusal
            return restart
        return self._push(feed, stamp, arrival_ns, value)

    def take(self, stream_name: str, message: Any) -> Callable[[], NDArray[Any]]:
        """What gives the sample of a costly message, for `push`; messages of a video in order and none left out.

        Raises:
            HptError: no such stream.
            DecodeError: as `StreamDecoder.take`.
        """
        return self._decoders[self._feed(stream_name).stream.name].take(message)

    def lost(self, stream_name: str) -> None:
        """A message of a stream did not come here: its video, if it is one, is decoded from its next key frame on.

        Raises:
            HptError: no such stream.
        """
        self._decoders[self._feed(stream_name).stream.name].lost()

    def hold(self, stream_name: str, value: NDArray[Any]) -> None:
        """Say where joints that hold were before the first message, (dim,), NaN for all others; forgets samples of it.

        Raises:
            HptError: no such stream.
        """
        stream = self._feed(stream_name).stream
        self._feeds[stream_name] = Feed(stream, self._capacity(stream), value)

    def ticks_ready(self, now_ns: int | None = None) -> list[Tick]:
        """Ticks resolved since the last call, oldest first.

        Args:
            now_ns: the present arrival time; None for that of the last push. Ticks begin with the first push: before
                it, and after a reset, there are none.
        """
        if now_ns is not None and self._now_ns >= 0:
            self._advance(now_ns, asked=True)
        if not self._ready:
            return []
        ready = list(self._ready)
        self._ready.clear()
        return ready

    def ages_s(self, now_ns: int) -> dict[str, float]:
        """Age of each stream's newest usable sample, in seconds; infinite if it was never seen.

        The larger of the ages by stamp and by arrival: a stamp from the future must not look fresh for ever. Where
        messages hold some joints only, the age of the joint that was not seen for longest.
        """
        return {name: feed.watched_age_s(now_ns) for name, feed in self._feeds.items()}

    def newest(self, stream_name: str) -> tuple[int, NDArray[Any]] | None:
        """Stamp in ns and value of a stream's newest sample, None if there is none since the last reset.

        Where messages hold some joints only: each joint's newest value, and the oldest of their stamps.

        Raises:
            HptError: no such stream.
        """
        return self._feed(stream_name).newest()

    def refused(self, stream_name: str = "") -> dict[str, Refusal]:
        """Streams whose newest message did not count, and why; of all streams or one."""
        if stream_name:
            why = self._feeds[stream_name].refused
            return {} if why is None else {stream_name: why}
        return {name: feed.refused for name, feed in self._feeds.items() if feed.refused is not None}

    def reset(self, reason: str = "reset") -> None:
        """Forget all samples and waiting ticks; the next tick carries `reason`.

        The task's text stays, and where joints are that are published only while they move.
        """
        self._ready.clear()
        self._jump(Refusal(Restart.ASKED, problem=reason))

    def _jump(self, reason: Refusal) -> None:
        """Forget all samples; ticks that were resolved before the jump stay good."""
        self.resets += 1
        self._restart = reason
        self._clear()

    def _clear(self) -> None:
        self._now_ns = self._due_ns = -1  # no arrival seen yet
        self._next_index = 0
        carried = {name: feed.to_carry() for name, feed in self._feeds.items()}
        self._feeds = {
            stream.name: Feed(stream, self._capacity(stream), carried.get(stream.name))
            for stream in self.embodiment.streams
        }

    def _capacity(self, stream: Stream) -> int:
        # A tick needs samples from its tolerance before it to settle after it; four times that for uneven rates.
        span_s = stream.tolerance_s + self.embodiment.dt_s + self.settle_s
        return 8 + 4 * math.ceil(stream.rate_hz * span_s)

    def _feed(self, name: str) -> Feed:
        if name not in self._feeds:
            self.embodiment.stream(name)  # raises, naming those that there are
        return self._feeds[name]

    def _advance(self, now_ns: int, *, asked: bool = False) -> Refusal | None:
        """Move arrival time on and resolve the ticks whose time has come; returns why the buffer was emptied."""
        if 0 <= self._now_ns <= now_ns < self._due_ns:
            self._now_ns = now_ns  # most messages come between two ticks
            return None
        restart: Refusal | None = None
        if self._now_ns >= 0:
            step_ns = now_ns - self._now_ns
            if step_ns <= -max(self._settle_ns, 1):
                back_s = seconds(-step_ns)
                restart = Refusal(Restart.BACK, "the clock", back_s, problem=f"went back by {back_s:.3f} s")
            elif step_ns > self._leap_ns:
                forward_s = seconds(step_ns)
                problem = f"jumped forward by {forward_s:.3f} s"
                restart = Refusal(Restart.FORWARD, "the clock", forward_s, problem=problem)
            if restart is not None:
                self._jump(restart)
                if asked:
                    return restart  # the next push starts the ticks, as it would if nobody had asked
        if self._now_ns < 0:
            self._now_ns = now_ns
            self._next_index = self._grid.first_at_or_after(now_ns - self._settle_ns + 1)
        self._now_ns = max(self._now_ns, now_ns)
        while (time_ns := self._grid.time_ns(self._next_index)) + self._settle_ns <= self._now_ns:
            self._ready.append(self._resolve(self._next_index, time_ns))
            self._next_index += 1
        # Within this time neither a tick is due nor has the clock jumped.
        self._due_ns = min(time_ns + self._settle_ns, self._now_ns + self._leap_ns)
        return restart

    def _resolve(self, index: int, time_ns: int) -> Tick:
        found: dict[str, NDArray[Any]] = {}
        ages_s: dict[str, float] = {}
        missing: dict[str, Refusal] = {}
        absent: dict[str, Refusal] = {}
        for name, feed in self._feeds.items():
            value = feed.value_at(time_ns)
            if isinstance(value, Refusal):
                reasons = absent if feed.stream.modality in self.optional else missing
                reasons[name] = last_refused(value, feed.refused)
            else:
                found[name] = value
            ages_s[name] = feed.age_s(time_ns)
            feed.track.forget_before(time_ns)
        restart, self._restart = self._restart, None
        if missing:
            return Tick(index, time_ns, {}, {}, ages_s, missing, restart, absent=absent)
        arrays: dict[str, NDArray[Any]] = {}
        vectors: dict[str, NDArray[np.float64]] = {}
        texts: dict[str, str] = {}
        for modality, streams in self._streams:
            there = [found[stream.name] for stream in streams if stream.name in found]
            if modality.layout is Layout.STACKED:
                arrays |= {stream.name: found[stream.name] for stream in streams if stream.name in found}
            elif len(there) < len(streams):
                continue
            elif modality.layout is Layout.JOINED:
                vectors[modality.name] = np.concatenate(there)
            elif modality.layout is Layout.TEXT:
                texts[modality.name] = str(there[0])
        return Tick(index, time_ns, arrays, vectors, ages_s, {}, restart, texts, absent)
