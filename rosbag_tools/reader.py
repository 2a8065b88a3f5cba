"""Bags as topics and messages in log-time order, whatever their storage; every failure is one sentence.

Reads what `rosbags` reads: rosbag2 folders of version 1 to 9 and single files, MCAP and sqlite3, compressed or not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.typesys.store import Typestore

from hpt_ros.errors import HptError, did_you_mean
from hpt_ros.observation.track import seconds
from rosbag_tools.errors import BagError, TruncatedBagError
from rosbag_tools.names import EMBODIMENT_TOPIC, EMBODIMENT_TYPE, KEY_EMBODIMENT
from rosbag_tools.recovery import RecoveredMcap, is_complete, is_mcap
from rosbag_tools.storage import METADATA, open_storage

FILE_SUFFIXES = (".mcap", ".db3")


@dataclass(frozen=True)
class Topic:
    """One topic of a bag."""

    name: str
    type: str
    count: int


@dataclass(frozen=True)
class Message:
    """One message of a bag: its topic, log time and deserialised content."""

    topic: str
    log_ns: int
    content: Any


@dataclass
class Bag:
    """An open bag; use `Bag.open` in a ``with`` statement.

    Attributes:
        path: the folder or file.
        topics: by name; a topic recorded with two types is an error.
        custom: custom data of the bag's metadata.
        start_ns, end_ns: log times of the first and last message.
        recovered: what was lost, in one sentence, if the bag had no end; else empty.
    """

    path: Path
    topics: dict[str, Topic]
    custom: dict[str, str]
    start_ns: int
    end_ns: int
    recovered: str
    _reader: Reader
    _types: Typestore
    _connections: dict[str, list[Connection]] = field(repr=False)

    @staticmethod
    @contextlib.contextmanager
    def open(path: str | Path, *, recover: bool = False) -> Iterator[Bag]:
        """Open a bag.

        Args:
            path: a rosbag2 folder, or a single .mcap or .db3 file.
            recover: read a bag that was cut short as far as it goes, instead of raising.

        Raises:
            TruncatedBagError: the bag was cut short and `recover` is false.
            BagError: it is not there, or not a bag that can be read.
        """
        place = Path(path)
        source, cut = _source(place)
        if cut and not recover:
            raise TruncatedBagError(
                f"bag {str(place)!r} was cut short (no end of file in {cut.name!r}; was the recorder killed, or the "
                "copy interrupted?); pass --recover to use what is whole, or copy it again"
            )
        note = ""
        if cut:
            source = RecoveredMcap(cut)
            note = (
                f"bag {str(place)!r} was cut short: recovered {source.kept_bytes} bytes, "
                f"lost the last {source.lost_bytes} and its metadata"
            )
        with contextlib.ExitStack() as stack:
            with _one_sentence(place):
                storage = stack.enter_context(open_storage(source))
                reader = storage.reader
                connections: dict[str, list[Connection]] = {}
                for connection in reader.connections:
                    connections.setdefault(connection.topic, []).append(connection)
                topics = {name: Topic(name, type_, 0) for name, type_ in storage.silent.items()}
                topics |= {name: _topic(place, name, items) for name, items in connections.items()}
                topics = dict(sorted(topics.items()))
                count = reader.message_count
                start_ns, end_ns = (reader.start_time, reader.end_time - 1) if count else (0, 0)
            if not count:
                raise BagError(f"bag {str(place)!r} has no messages; record it again")
            yield Bag(
                place,
                topics,
                dict(storage.custom),
                start_ns,
                end_ns,
                note,
                reader,
                storage.types,
                connections,
            )

    def require(self, name: str, type_: str, purpose: str) -> Topic:
        """The topic of that name and type with at least one message.

        Args:
            name: topic name.
            type_: message type.
            purpose: what needs it, e.g. ``"stream 'front'"``.

        Raises:
            BagError: it is missing, of another type, or empty.
        """
        topic = self.topics.get(name)
        if topic is None:
            there = ", ".join(f"{item.name} ({item.type})" for item in self.topics.values()) or "none"
            raise BagError(
                f"bag {str(self.path)!r} lacks the topic {name!r} ({type_}) of {purpose}; the bag has {there[:800]}"
                f"{did_you_mean(name, self.topics) or '; record it, or correct the embodiment file'}"
            )
        if topic.type != type_:
            raise BagError(
                f"bag {str(self.path)!r} has the topic {name!r} with type {topic.type}, but {purpose} expects {type_}; "
                "correct the type in the embodiment file"
            )
        if topic.count == 0:
            raise BagError(
                f"bag {str(self.path)!r} has the topic {name!r} of {purpose} without a single message; check that its "
                "node ran while recording"
            )
        return topic

    def messages(
        self, topics: Collection[str], *, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[Message]:
        """Messages of these topics in the order of log time; `stop_ns` is exclusive.

        Raises:
            BagError: the data is damaged.
        """
        wanted = [connection for name in topics for connection in self._connections.get(name, ())]
        if not wanted:
            return
        raw = self._reader.messages(connections=wanted, start=start_ns, stop=stop_ns)
        everything = (start_ns is None or start_ns <= self.start_ns) and (
            stop_ns is None or stop_ns > self.end_ns
        )
        count = 0
        while True:
            with _one_sentence(self.path):
                entry = next(raw, None)
                if entry is None:
                    break
                connection, log_ns, data = entry
                content = self._types.deserialize_cdr(data, connection.msgtype)
            count += 1
            yield Message(connection.topic, log_ns, content)
        # Damaged bytes can look like records of unknown kind, which a reader must skip: only the count tells.
        expected = sum(connection.msgcount for connection in wanted)
        if everything and count != expected:
            raise BagError(
                f"bag {str(self.path)!r} lists {expected} messages on {', '.join(topics)}, but {count} could be read; "
                "it is damaged: copy or record it again"
            )

    def log_times(self) -> Iterator[tuple[str, int]]:
        """Topic and log time of every message, without deserialising."""
        raw = self._reader.messages()
        while True:
            with _one_sentence(self.path):
                entry = next(raw, None)
            if entry is None:
                return
            yield entry[0].topic, entry[1]

    def embodiment_text(self) -> str:
        """The embodiment file's text that the recorder left in the bag; empty if there is none."""
        if KEY_EMBODIMENT in self.custom:
            return self.custom[KEY_EMBODIMENT]
        topic = self.topics.get(EMBODIMENT_TOPIC)
        if topic is None or topic.type != EMBODIMENT_TYPE:
            return ""
        for message in self.messages([EMBODIMENT_TOPIC]):
            return str(message.content.data)
        return ""

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last message."""
        return seconds(self.end_ns - self.start_ns)


def find_bags(paths: Sequence[str | Path]) -> list[Path]:
    """Bags among paths, each a bag or a folder of bags; in the order given, folders by name.

    Raises:
        BagError: a path is missing or holds no bag.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise BagError(
                f"the bag {str(path)!r} does not exist; give a rosbag2 folder, an .mcap or a .db3 file"
            )
        inside = [path] if _is_bag(path) else []
        if not inside and path.is_dir():
            inside = sorted(child for child in path.iterdir() if _is_bag(child))
        if not inside:
            raise BagError(
                f"{str(path)!r} is no bag and holds none; give a rosbag2 folder (with {METADATA}), an .mcap or a .db3 "
                "file, or a folder of those"
            )
        found += inside
    return found


def _is_bag(path: Path) -> bool:
    if path.is_dir():
        # One storage file and no metadata is what a killed recorder leaves.
        return (path / METADATA).is_file() or len(_storage_files(path)) == 1
    return path.suffix in FILE_SUFFIXES


def _storage_files(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.suffix in FILE_SUFFIXES and child.is_file())


def _source(path: Path) -> tuple[Any, Path | None]:
    """What to hand to rosbags, and the MCAP file that was cut short, if one was."""
    if not path.exists():
        raise BagError(
            f"the bag {str(path)!r} does not exist; give a rosbag2 folder, an .mcap or a .db3 file"
        )
    if not _is_bag(path):
        raise BagError(
            f"{str(path)!r} is no bag; give a rosbag2 folder (with {METADATA}), an .mcap or a .db3 file"
        )
    files = _storage_files(path) if path.is_dir() else [path]
    with _one_sentence(path):
        cut = next((file for file in files if is_mcap(file) and not is_complete(file)), None)
    if path.is_dir() and not (path / METADATA).is_file():
        return files[0], cut
    return path, cut


def _topic(path: Path, name: str, connections: Sequence[Connection]) -> Topic:
    types = sorted({connection.msgtype for connection in connections})
    if len(types) > 1:
        raise BagError(
            f"bag {str(path)!r} has the topic {name!r} with the types {', '.join(types)}, but one was expected; "
            "record again with one publisher type"
        )
    return Topic(name, types[0], sum(connection.msgcount for connection in connections))


@contextlib.contextmanager
def _one_sentence(path: Path) -> Iterator[None]:
    """Turn whatever a parser raises on damaged bytes into a BagError.

    Parsers of binary data fail in every way (struct, index, key, unicode, zstd, sqlite errors), so all are caught.
    """
    try:
        yield
    except HptError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise BagError(
            f"bag {str(path)!r} cannot be read ({text}); it is damaged or no bag: copy or record it again"
        ) from error
