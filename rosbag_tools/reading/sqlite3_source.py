# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A complete rosbag2 sqlite3 file of schema 1 to 4, read in the order of log time."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import numpy as np

from hpt_ros.errors import Code
from rosbag_tools.errors import BagError
from rosbag_tools.reading.channels import Channel, Integers, lenient_text, usual_name, usual_topic
from rosbag_tools.reading.magic import begins_with
from rosbag_tools.reading.safe_decompress import MOST_CHUNK_BYTES

MAGIC = b"SQLite format 3\0"
_JOURNALS = ("-wal", "-journal")


def is_sqlite3(path: Path) -> bool:
    """True if the file begins like SQLite."""
    return begins_with(path, MAGIC)


def sqlite3_is_complete(path: Path) -> bool:
    """False if the file is shorter than it says (https://sqlite.org/fileformat.html), or changes wait beside it."""
    with path.open("rb") as file:
        head = file.read(100)
    if len(head) < 100:
        return False
    page, pages = (int.from_bytes(head[place], "big") for place in (slice(16, 18), slice(28, 32)))
    page_bytes = 65536 if page == 1 else max(page, 512)
    valid = head[24:28] == head[92:96]
    whole = not valid or pages * page_bytes <= path.stat().st_size
    return whole and not any(_waiting(path.with_name(path.name + end)) for end in _JOURNALS)


def _waiting(path: Path) -> bool:
    """A journal with content: of one that was used up, the beginning is erased."""
    try:
        with path.open("rb") as file:
            return any(file.read(8))
    except OSError:
        return False


class Sqlite3Source:
    """Messages of a sqlite3 file; close it, or use it in a ``with`` statement.

    Args:
        path: the file.

    Raises:
        sqlite3.Error, ValueError: it is damaged, or lacks the tables.
    """

    def __init__(self, path: Path) -> None:
        # Without "immutable", SQLite would want to write beside the file; quoted, since names may have a # or a ?.
        self._path = path
        self._database = sqlite3.connect(f"file:{quote(str(path.resolve()))}?immutable=1", uri=True)
        try:
            self._database.text_factory = lenient_text
            self._read_topics()
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Sqlite3Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def _read_topics(self) -> None:
        tables = {
            name for (name,) in self._database.execute("SELECT name FROM sqlite_master WHERE type='table'")
        }
        if not {"topics", "messages"} <= tables:
            raise BagError(
                Code.UNREADABLE, f"file {self._path.name!r}", sorted(tables),
                problem="is an SQLite database without the tables topics and messages",
                remedy="give a bag, or if it was one, it is damaged: copy or record it again",
            )  # fmt: skip
        definitions: dict[str, tuple[str, str]] = {}
        if "message_definitions" in tables:
            definitions = {
                type_: (encoding, text)
                for type_, encoding, text in self._database.execute(
                    "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
                )
            }
        columns = {name for _, name, *_ in self._database.execute("PRAGMA table_info(topics)")}
        digest = "type_description_hash" if "type_description_hash" in columns else "''"
        counts: dict[int, int] = dict(
            self._database.execute("SELECT topic_id, count(*) FROM messages GROUP BY topic_id")
        )
        self._channels = {
            number: Channel(
                usual_topic(topic), usual_name(type_), encoding, *definitions.get(type_, ("", "")), hash_ or "",
                counts.get(number, 0),
            )
            for number, topic, type_, encoding, hash_ in self._database.execute(
                f"SELECT id, name, type, serialization_format, {digest} FROM topics ORDER BY id"
            )
        }  # fmt: skip
        self.channels = list(self._channels.values())
        self.message_count = sum(channel.count for channel in self.channels)
        first, last = self._database.execute("SELECT min(timestamp), max(timestamp) FROM messages").fetchone()
        self.start_ns, self.end_ns = _time(first or 0), _time(last or 0)

    def log_times(self) -> dict[Channel, Integers]:
        """As `Source.log_times`: rows are numbered as they were written."""
        found: dict[int, array[int]] = {}
        for number, log_ns in self._database.execute("SELECT topic_id, timestamp FROM messages ORDER BY id"):
            found.setdefault(number, array("q")).append(_time(log_ns))
        return {
            self._channels[number]: np.frombuffer(times, np.int64)
            for number, times in found.items()
            if number in self._channels
        }

    def messages(
        self, channels: Collection[Channel], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[Channel, int, bytes]]:
        """Channel, log time and bytes of messages in the order of log time; `stop_ns` is exclusive.

        Raises:
            sqlite3.Error, ValueError, BagError: a row is damaged, or larger than is believed.
        """
        asked = set(channels)
        wanted = [number for number, item in self._channels.items() if item in asked]
        query = f"topic_id IN ({','.join('?' * len(wanted))})"
        values = list(wanted)
        for value, condition in ((start_ns, "timestamp >= ?"), (stop_ns, "timestamp < ?")):
            if value is not None:
                query += f" AND {condition}"
                values.append(value)
        rows = self._database.execute(
            "SELECT topic_id, timestamp, CASE WHEN length(data) <= ? THEN data END "
            f"FROM messages WHERE {query} ORDER BY timestamp, id",
            [MOST_CHUNK_BYTES, *values],
        )
        for number, log_ns, data in rows:
            if not isinstance(data, bytes):
                raise BagError(
                    Code.WRONG_TYPE, f"a message of {self._channels[number].topic[:100]!r}",
                    problem=f"is no bytes, or more than {MOST_CHUNK_BYTES} of them",
                    remedy="the file is damaged or hostile: leave it out",
                )  # fmt: skip
            yield self._channels[number], _time(log_ns), data


def _time(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError(f"a log time is {str(value)[:40]!r}")
    return value
