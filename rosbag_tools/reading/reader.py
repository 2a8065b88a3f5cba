# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags as topics and messages in log-time order, whatever their storage; every failure is one sentence.

Reads rosbag2 folders of version 1 to 9 and single files, MCAP and sqlite3, split or not, compressed by chunk, message
or file, and rosbag1 files of version 2.0; what was cut short or has no index as far as it goes.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from hpt_ros.errors import Code, Refusal, did_you_mean
from hpt_ros.observation.time_series import seconds
from rosbag_tools.bag_schema import EMBODIMENT_TOPIC, EMBODIMENT_TYPE, KEY_EMBODIMENT
from rosbag_tools.errors import BagError, DamagedMessageError
from rosbag_tools.reading.bag_files import Joined
from rosbag_tools.reading.channels import Channel
from rosbag_tools.reading.message_types import MessageType, UnreadableTypeError, message_type
from rosbag_tools.reading.opening import (
    NEWEST_LOG_NS,
    enter_storage,
    one_sentence,
    require_other,
    require_time,
    short,
)
from rosbag_tools.reading.set_back import SetBack, find_set_backs
from rosbag_tools.reading.storage import Storage


@dataclass(frozen=True)
class Topic:
    """One topic of a bag.

    Attributes:
        name: its name.
        type: message type; several with commas between them, if the bag has messages of several types on it.
        count: messages.
    """

    name: str
    type: str
    count: int


class Message(NamedTuple):
    """One message of a bag: its topic, log time and deserialised content.

    A tuple, since a bag has a hundred thousand of them and a frozen dataclass takes twice as long to make.
    """

    topic: str
    log_ns: int
    content: Any


@dataclass(frozen=True, slots=True)
class Record:
    """One message of a bag without its content.

    Attributes:
        topic: its topic.
        log_ns: log time.
        size_bytes: of the message, uncompressed.
        stamp_ns: its header's stamp; None without a header, and for a stamp of 0, which says "now".
        damaged: it is shorter than the header that its type begins with.
        stamped: its type begins with a header.
    """

    topic: str
    log_ns: int
    size_bytes: int
    stamp_ns: int | None
    damaged: bool = False
    stamped: bool = False


# Messages of which a bag is known, besides its times and counts.
IDENTIFYING = 64


@dataclass
class Bag:
    """An open bag; use `Bag.open` in a ``with`` statement.

    Attributes:
        path: the folder or file.
        topics: by name, those that cannot be read too; see `unreadable`.
        custom: custom data of the bag's metadata.
        start_ns, end_ns: log times of the first and last message.
        recovered: what was lost, in one sentence, if the bag had no end or no index; else empty.
    """

    path: Path
    topics: dict[str, Topic]
    custom: dict[str, str]
    start_ns: int
    end_ns: int
    recovered: str
    _storages: list[Storage]
    _files: Joined
    _channels: dict[str, list[Channel]] = field(repr=False)
    _early: Counter[Channel] = field(default_factory=Counter, repr=False)  # with the log time 0, left out

    @staticmethod
    @contextlib.contextmanager
    def open(path: str | Path, *, recover: bool = False, beside: Sequence[str | Path] = ()) -> Iterator[Bag]:
        """Open a bag.

        Args:
            path: a rosbag2 folder, or a single file of one of `FILE_ENDINGS`.
            recover: read a bag that was cut short as far as it goes, instead of raising.
            beside: bags of the same session, whose messages are read as if they were in this one.

        Raises:
            TruncatedBagError: the bag was cut short, and `recover` is false or its storage is not MCAP.
            BagError: it is not there, or not a bag that can be read.
        """
        place = Path(path)
        with contextlib.ExitStack() as stack:
            storages: list[Storage] = []
            notes: list[str] = []
            for item in (place, *map(Path, beside)):
                storage, note = enter_storage(stack, item, recover)
                require_other(item, storage, storages)
                storages.append(storage)
                notes += [note] if note else []
            with one_sentence(place):
                files = Joined([source for storage in storages for source in storage.files.sources], ())
                channels: dict[str, list[Channel]] = {}
                for channel in files.channels:
                    channels.setdefault(channel.topic, []).append(channel)
                silent = {name: type_ for storage in storages for name, type_ in storage.silent.items()}
                topics = {name: Topic(name, type_, 0) for name, type_ in silent.items()}
                topics |= {name: _topic(name, items) for name, items in channels.items()}
                topics = dict(sorted(topics.items()))
                if not files.message_count:
                    raise BagError(
                        Code.EMPTY, f"bag {str(place)!r}", problem="has no messages", remedy="record it again",
                    )  # fmt: skip
                start_ns, end_ns = files.start_ns, files.end_ns
                custom = {
                    key: value for storage in reversed(storages) for key, value in storage.custom.items()
                }
            require_time(place, start_ns)
            require_time(place, end_ns)
            bag = Bag(place, topics, custom, start_ns, end_ns, "; ".join(notes), storages, files, channels)
            if start_ns == 0 < end_ns:
                bag._leave_out_zero_times()
            yield bag

    def _leave_out_zero_times(self) -> None:
        """Begin behind what was recorded before the first message of /clock, which has the log time 0."""
        everything = [channel for items in self._channels.values() for channel in items]
        early = Counter(channel for channel, _, _ in self._raw(everything, 0, 1, counted=False))
        _, self.start_ns, _ = next(self._raw(everything, 1, None, counted=False))
        self._early = early
        for channel, lost in early.items():
            topic = self.topics[channel.topic]
            self.topics[channel.topic] = replace(topic, count=topic.count - lost)
        said = f"{early.total()} messages with the log time 0 (recorded before the first /clock) are left out"
        self.recovered = f"{self.recovered}; {said}" if self.recovered else f"bag {str(self.path)!r}: {said}"

    def require(self, name: str, type_: str, purpose: str, without: str = "") -> Topic:
        """The topic of that name and type with at least one message.

        Args:
            name: topic name.
            type_: message type.
            purpose: what needs it, e.g. ``"stream 'front'"``.
            without: how to do without it.

        Raises:
            BagError: it is missing, of another type or of several, empty, or cannot be read.
        """
        topic = self.topics.get(name)
        if topic is None:
            there = ", ".join(f"{item.name} ({item.type})" for item in self.topics.values()) or "none"
            instead = f"{without}, " if without else ""
            remedy = (
                f"record it, {instead}correct the embodiment file, or name the bag of its session with "
                "--together"
            )
            raise BagError(
                Code.MISSING, f"bag {str(self.path)!r}", name,
                problem=f"lacks the topic {{value}} ({type_}) of {purpose}; the bag has {there[:800]}",
                remedy=did_you_mean(name, self.topics).removeprefix("; ") or remedy,
            )  # fmt: skip
        if topic.type != type_:
            raise BagError(
                Code.WRONG_TYPE, f"bag {str(self.path)!r}", topic.type,
                problem=f"has the topic {name!r} of {purpose} with type {topic.type}", expected=type_,
                remedy="correct the type in the embodiment file",
            )  # fmt: skip
        if topic.count == 0:
            raise BagError(
                Code.EMPTY, f"bag {str(self.path)!r}", name,
                problem=f"has the topic {name!r} of {purpose} without a single message",
                remedy="check that its node ran while recording",
            )  # fmt: skip
        if reason := self.unreadable(name):
            raise BagError(
                Code.UNREADABLE, f"bag {str(self.path)!r}", name,
                problem=f"has the topic {name!r} of {purpose}, but {reason}",
            )  # fmt: skip
        return topic

    def unreadable(self, name: str) -> Refusal | None:
        """Why the messages of a topic cannot be read, as a sentence about it ("its ..."); None if they can be."""
        channels = self._channels.get(name, [])
        if len(types := {channel.type for channel in channels}) > 1:
            return Refusal(
                Code.CONFLICT, "it", sorted(types),
                problem=f"has messages of the types {', '.join(sorted(types))[:300]}, of which one was expected",
                remedy="record it with one publisher type",
            )  # fmt: skip
        for channel in channels:
            try:
                message_type(channel)
            except UnreadableTypeError as error:
                return error.refusal
        return None

    def messages(
        self, topics: Collection[str], *, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[Message]:
        """Messages of these topics in the order of log time; `stop_ns` is exclusive.

        Raises:
            DamagedMessageError: a message does not fit its type.
            BagError: a topic cannot be read, or the data is damaged.
        """
        for name in topics:
            if reason := self.unreadable(name):
                raise BagError(
                    Code.UNREADABLE, f"bag {str(self.path)!r}", name,
                    problem=f"has the topic {name!r}, which cannot be read: {reason}",
                )  # fmt: skip
        readers = {
            channel: message_type(channel).reader()
            for name in topics
            for channel in self._channels.get(name, ())
        }
        if not readers:
            return
        everything = (start_ns is None or start_ns <= self.start_ns) and (
            stop_ns is None or stop_ns > self.end_ns
        )
        for channel, log_ns, data in self._raw(list(readers), start_ns, stop_ns, counted=everything):
            try:
                content = readers[channel](data)
            except Exception as error:  # struct, index, unicode errors and others, on damaged bytes
                raise DamagedMessageError(
                    Code.DAMAGED, f"bag {str(self.path)!r}", channel.topic[:100],
                    problem=f"has a message on {channel.topic[:100]!r}, {seconds(log_ns - self.start_ns):.2f} s after "
                    f"its start, whose {len(data)} bytes do not fit its type {channel.type[:100]}",
                    cause=short(error),
                    remedy="the message is damaged or of another version of the type: record it again",
                ) from error  # fmt: skip
            yield Message(channel.topic, log_ns, content)

    def records(
        self,
        topics: Collection[str] | None = None,
        *,
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> Iterator[Record]:
        """Topic, times and size of messages, in the order of log time, without deserialising; `stop_ns` is exclusive.

        Args:
            topics: those to look at; None for all.
            start_ns, stop_ns: log times; None for the entire bag.

        Raises:
            BagError: the data is damaged.
        """
        channels = [
            channel
            for name, items in self._channels.items()
            if topics is None or name in topics
            for channel in items
        ]
        counted = start_ns is None and stop_ns is None
        types: dict[Channel, MessageType | None] = {}
        for channel in channels:
            types[channel] = None
            with contextlib.suppress(UnreadableTypeError):
                types[channel] = message_type(channel)
        for channel, log_ns, data in self._raw(channels, start_ns, stop_ns, counted=counted):
            type_ = types[channel]
            stamped = type_ is not None and type_.stamped
            try:
                stamp_ns = type_.stamp_ns(data) if type_ else None
            except ValueError:
                yield Record(channel.topic, log_ns, len(data), None, damaged=True, stamped=stamped)
            else:
                yield Record(channel.topic, log_ns, len(data), stamp_ns, stamped=stamped)

    def _raw(
        self, channels: Sequence[Channel], start_ns: int | None, stop_ns: int | None, *, counted: bool
    ) -> Iterator[tuple[Channel, int, Any]]:
        """Messages of channels as bytes; with `counted`, raise BagError if there are not as many as the bag lists."""
        count = 0
        if self._early and start_ns is None:
            start_ns = 1
        with one_sentence(self.path):
            for entry in self._files.messages(channels, start_ns, stop_ns):
                if not 0 <= entry[1] <= NEWEST_LOG_NS:
                    require_time(self.path, entry[1])  # raises
                count += 1
                yield entry
        # Damaged bytes can look like records of unknown kind, which a reader must skip: only the count tells.
        expected = sum(channel.count - self._early[channel] for channel in channels)
        if counted and count != expected:
            topics = ", ".join(dict.fromkeys(channel.topic for channel in channels))
            raise BagError(
                Code.DAMAGED, f"bag {str(self.path)!r}", count,
                problem=f"lists {expected} messages on {topics[:800]}, but {count} could be read",
                remedy="it is damaged: copy or record it again",
            )  # fmt: skip

    def set_backs(self) -> tuple[SetBack, ...]:
        """Stretches of log times that the bag has twice, since the clock was set back while it was recorded."""
        with one_sentence(self.path):
            series = {
                f"{number}{topic}": times
                for number, storage in enumerate(self._storages)
                for topic, times in storage.files.log_times().items()
            }
            return find_set_backs(series)

    def identity(self) -> str:
        """A hash of what is in the bag: the same for a copy, wherever it lies and however it is compressed.

        It is made of the number of messages of each topic, of the log times of the first and the last message, and of
        the first `IDENTIFYING` messages.
        """
        channels = [channel for items in self._channels.values() for channel in items]
        counts = [(topic.name, topic.type, topic.count) for topic in self.topics.values() if topic.count]
        found = hashlib.sha256(repr((self.start_ns, self.end_ns, counts)).encode())
        raw = self._raw(channels, None, None, counted=False)
        for channel, log_ns, data in itertools.islice(raw, IDENTIFYING):
            found.update(f"{channel.topic} {log_ns} {len(data)} ".encode())
            found.update(data)
        return found.hexdigest()[:32]

    def embodiment_text(self) -> str | None:
        """Return the embodiment file's text that the recorder left in the bag; None if there is none."""
        if KEY_EMBODIMENT in self.custom:
            return self.custom[KEY_EMBODIMENT]
        topic = self.topics.get(EMBODIMENT_TOPIC)
        if topic is None or topic.type != EMBODIMENT_TYPE:
            return None
        for message in self.messages([EMBODIMENT_TOPIC]):
            return str(message.content.data)
        return None

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last message."""
        return seconds(self.end_ns - self.start_ns)


def _topic(name: str, channels: Sequence[Channel]) -> Topic:
    types = sorted({channel.type for channel in channels})
    return Topic(name, ", ".join(types), sum(channel.count for channel in channels))
