"""Streams of stamped samples in, observations on a regular grid of ticks out: one code path for bags and live.

Rules (docs/data.md says why):

* Ticks lie at k / tick_hz of header-stamp time.
* Tick t is resolved once arrival time reaches t + settle; samples that arrived before that count, later ones do not.
  So the answer is a function of the sequence of pushes, never of when somebody asks.
* State: linear between the samples around t, or the newest at or before t if none has come after it.
  Image: the newest at or before t. Both within the stream's tolerance.
* Nothing is filled in: a stream without such a sample makes the tick invalid, and the tick says why.
* Time that goes back, or leaps ahead, empties the buffer; the next tick carries the reason.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment, Stream
from hpt_ros.errors import HptError
from hpt_ros.observation.decode import InvalidSampleError, decode, stamp_ns
from hpt_ros.observation.track import Sample, TickGrid, Track, Value, nanoseconds, seconds

# Arrival time that a tick waits for samples stamped at or before it: a joint state of 100 Hz and one hop over DDS.
SETTLE_S = 0.02
# A stamp this much older than the stream's newest is a clock that was set back, not a message overtaken on its way.
JUMP_BACK_S = 1.0
# Silence of all streams for this long is a clock that was set ahead, or a bag that was paused.
LEAP_S = 10.0


@dataclass(frozen=True)
class Tick:
    """One observation, or why there is none.

    Attributes:
        index: k of the tick's time k / tick_hz.
        stamp_ns: the tick's time, header-stamp time in nanoseconds.
        images: stream name to uint8 RGB (height, width, 3); empty if the tick is invalid.
        state: float64 (D,), in the order of `Embodiment.state_names`; shape (0,) if the tick is invalid.
        ages_s: stream name to the tick's time minus the stamp of the newest sample used; infinite if there is none.
        missing: stream name to the reason why it has no value at this tick; empty if the tick is valid.
        restart: why the buffer was emptied since the tick before; empty if it was not.
    """

    index: int
    stamp_ns: int
    images: Mapping[str, NDArray[np.uint8]]
    state: NDArray[np.float64]
    ages_s: Mapping[str, float]
    missing: Mapping[str, str]
    restart: str = ""

    @property
    def valid(self) -> bool:
        """True if every stream has a value."""
        return not self.missing


@dataclass
class _Feed:
    """A stream and what the buffer knows about it."""

    stream: Stream
    tolerance_ns: int
    track: Track
    newest_stamp_ns: int = -1  # survives `forget_before`; -1: never seen
    newest_arrival_ns: int = -1
    refused: str = ""  # why the newest message did not count


@dataclass
class ObservationBuffer:
    """Samples of an embodiment's streams on their way to ticks. Not thread-safe: the node locks.

    Memory is bounded: each stream keeps what its rate and tolerance can need, and at most `LEAP_S` of ticks wait.

    Args:
        embodiment: names the streams, their rates and tolerances, and the tick rate.
        settle_s: arrival time that a tick waits, in seconds.
    """

    embodiment: Embodiment
    settle_s: float = SETTLE_S
    resets: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not 0.0 <= self.settle_s <= 1.0:
            raise HptError(
                f"settle_s is {self.settle_s:g} s, but 0 to 1 s was expected; 0.02 s suits most robots"
            )
        self._settle_ns = nanoseconds(self.settle_s)
        self._grid = TickGrid(self.embodiment.tick_hz)
        longest_s = max(stream.tolerance_s for stream in self.embodiment.streams)
        self._leap_ns = nanoseconds(max(LEAP_S, 2.0 * longest_s))
        self._ready: deque[Tick] = deque(
            maxlen=math.ceil(seconds(self._leap_ns) * self.embodiment.tick_hz) + 8
        )
        self._restart = ""
        self._clear()

    def push(self, stream_name: str, stamp_ns: int, arrival_ns: int, value: Value) -> str:
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
            Why the buffer was emptied first, because a clock jumped; empty if none did.

        Raises:
            HptError: no such stream, or an array of the wrong shape.
        """
        feed = self._feed(stream_name)
        _check_shape(feed.stream, value)
        restart = self._advance(arrival_ns)
        if not restart and stamp_ns < feed.newest_stamp_ns - nanoseconds(JUMP_BACK_S):
            back_s = seconds(feed.newest_stamp_ns - stamp_ns)
            restart = f"the stamps of stream {stream_name!r} went back by {back_s:.3f} s"
            self._jump(restart)
            self._advance(arrival_ns)
        feed = self._feed(stream_name)
        feed.track.insert(Sample(stamp_ns, self._now_ns, value))
        feed.newest_stamp_ns = max(feed.newest_stamp_ns, stamp_ns)
        feed.newest_arrival_ns = self._now_ns
        feed.refused = ""
        return restart

    def push_message(self, stream_name: str, message: Any, arrival_ns: int, *, defer: bool = False) -> str:
        """Decode a message and add it; a message with unusable values is counted as not come, and ticks say so.

        Args:
            stream_name: the embodiment's name for the stream.
            message: any object with the fields of the stream's message type.
            arrival_ns: as for `push`.
            defer: decode images only when a tick uses them. Ticks are the same either way.

        Returns:
            As `push`.

        Raises:
            DecodeError: the message does not fit the embodiment file.
        """
        stream = self._feed(stream_name).stream
        stamp = stamp_ns(message, arrival_ns)
        if defer and stream.modality == "image":
            return self.push(stream_name, stamp, arrival_ns, lambda: decode(stream, message))
        try:
            value = decode(stream, message)
        except InvalidSampleError as error:
            restart = self._advance(arrival_ns)
            self._feed(stream_name).refused = str(error)
            return restart
        return self.push(stream_name, stamp, arrival_ns, value)

    def ticks_ready(self, now_ns: int | None = None) -> list[Tick]:
        """Ticks resolved since the last call, oldest first.

        Args:
            now_ns: the present arrival time; None for that of the last push. Ticks begin with the first push: before
                it, and after a reset, there are none.
        """
        if now_ns is not None and self._now_ns >= 0:
            self._advance(now_ns, asked=True)
        ready = list(self._ready)
        self._ready.clear()
        return ready

    def ages_s(self, now_ns: int) -> dict[str, float]:
        """Age of each stream's newest usable sample, in seconds; infinite if it was never seen.

        The larger of the ages by stamp and by arrival: a stamp from the future must not look fresh for ever.
        """
        return {
            name: seconds(now_ns - min(feed.newest_stamp_ns, feed.newest_arrival_ns))
            if feed.newest_arrival_ns >= 0
            else math.inf
            for name, feed in self._feeds.items()
        }

    def refused(self) -> dict[str, str]:
        """Streams whose newest message did not count, and why."""
        return {name: feed.refused for name, feed in self._feeds.items() if feed.refused}

    def reset(self, reason: str = "reset") -> None:
        """Forget all samples and waiting ticks; the next tick carries `reason`."""
        self._ready.clear()
        self._jump(reason)

    def _jump(self, reason: str) -> None:
        """Forget all samples; ticks that were resolved before the jump stay good."""
        self.resets += 1
        self._restart = reason
        self._clear()

    def _clear(self) -> None:
        self._now_ns = -1  # no arrival seen yet
        self._next_index = 0
        self._feeds = {
            stream.name: _Feed(stream, nanoseconds(stream.tolerance_s), Track(self._capacity(stream)))
            for stream in self.embodiment.streams
        }

    def _capacity(self, stream: Stream) -> int:
        # A tick needs samples from its tolerance before it to settle after it; four times that for uneven rates.
        span_s = stream.tolerance_s + self.embodiment.dt_s + self.settle_s
        return 8 + 4 * math.ceil(stream.rate_hz * span_s)

    def _feed(self, name: str) -> _Feed:
        if name not in self._feeds:
            self.embodiment.stream(name)  # raises, naming those that there are
        return self._feeds[name]

    def _advance(self, now_ns: int, *, asked: bool = False) -> str:
        """Move arrival time on and resolve the ticks whose time has come; returns why the buffer was emptied."""
        restart = ""
        if self._now_ns >= 0:
            step_ns = now_ns - self._now_ns
            if step_ns <= -max(self._settle_ns, 1):
                restart = f"the clock went back by {seconds(-step_ns):.3f} s"
            elif step_ns > self._leap_ns:
                restart = f"the clock leapt ahead by {seconds(step_ns):.3f} s"
            if restart:
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
        return restart

    def _resolve(self, index: int, time_ns: int) -> Tick:
        images: dict[str, NDArray[np.uint8]] = {}
        states: list[NDArray[np.float64]] = []
        ages_s: dict[str, float] = {}
        missing: dict[str, str] = {}
        for name, feed in self._feeds.items():
            if feed.stream.modality == "image":
                value = _newest_image(feed, time_ns)
            else:
                value = feed.track.interpolated(time_ns, feed.tolerance_ns)
            if isinstance(value, str):
                missing[name] = (
                    f"{value}; its last message was refused: {feed.refused}" if feed.refused else value
                )
            elif feed.stream.modality == "image":
                images[name] = value
            else:
                states.append(value)
            position = feed.track.at_or_before(time_ns)
            ages_s[name] = (
                seconds(time_ns - feed.track.samples[position].stamp_ns) if position >= 0 else math.inf
            )
            feed.track.forget_before(time_ns)
        restart, self._restart = self._restart, ""
        if missing:
            return Tick(index, time_ns, {}, np.empty(0), ages_s, missing, restart)
        state = np.concatenate(states) if states else np.empty(0)
        return Tick(index, time_ns, images, state, ages_s, {}, restart)


def _newest_image(feed: _Feed, time_ns: int) -> NDArray[Any] | str:
    while not isinstance(sample := feed.track.held(time_ns, feed.tolerance_ns), str):
        try:
            return sample.resolve()
        except InvalidSampleError as error:
            # As if it had never come: the one before may still be within the tolerance.
            feed.track.remove(sample)
            feed.refused = str(error)
    return sample


def _check_shape(stream: Stream, value: Value) -> None:
    if callable(value):
        return
    if stream.image is not None:
        expected: tuple[int, ...] = (stream.image.height, stream.image.width, 3)
        kind: Any = np.uint8
    else:
        expected, kind = (stream.dim,), np.float64
    if value.shape != expected or value.dtype != kind:
        raise HptError(
            f"stream {stream.name!r} was given an array of shape {value.shape} and type {value.dtype}, but "
            f"{expected} and {np.dtype(kind).name} were expected; pass what decode returns"
        )
