# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""rosbag2 sqlite3 files that were cut short, or whose recorder was killed: read row by row as far as it goes."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
)

from rosbag_tools.bounded import MOST_CHUNK_BYTES
from rosbag_tools.views import begins_with

MAGIC = b"SQLite format 3\0"
_SIDECARS = ("-wal", "-journal", "-shm")
_FORMATS = {"ros2msg": MessageDefinitionFormat.MSG, "ros2idl": MessageDefinitionFormat.IDL}


def is_sqlite3(path: Path) -> bool:
    """True if the file begins like SQLite."""
    return begins_with(path, MAGIC)


def sqlite3_is_complete(path: Path) -> bool:
    """False if the file is shorter than it says (https://sqlite.org/fileformat.html), or changes wait beside it."""
    with path.open("rb") as file:
        head = file.read(100)
    if len(head) < 100:
        return False
    pages = int.from_bytes(head[28:32], "big")
    valid = head[24:28] == head[92:96]
    whole = not valid or pages * _page_bytes(path) <= path.stat().st_size
    return whole and not any(_waiting(path.with_name(path.name + end)) for end in _SIDECARS[:2])


def _page_bytes(path: Path) -> int:
    with path.open("rb") as file:
        page = int.from_bytes(file.read(18)[16:], "big")
    return 65536 if page == 1 else max(page, 512)


def _waiting(path: Path) -> bool:
    """A journal with content: of one that was used up, the beginning is erased."""
    try:
        with path.open("rb") as file:
            return any(file.read(8))
    except OSError:
        return False


class RecoveredSqlite3:
    """Reads as `rosbags.rosbag2.Reader` does, by rows whose whole content can be read, from the first on.

    Where a journal lies beside the file, database and journal are copied to a temporary folder, for SQLite to take
    back or to carry out what the recorder had not finished; and so is the database where the cut goes through a page,
    but for that page, of which SQLite would believe the rest to be zeros.
    """

    def __init__(self, path: Path) -> None:
        """Read all rows once; memory holds 24 bytes for each."""
        self._stack = contextlib.ExitStack()
        try:
            self._database = self._open(path)
            self._rows()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> RecoveredSqlite3:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self, path: Path) -> sqlite3.Connection:
        beside = [path.with_name(path.name + end) for end in _SIDECARS]
        query = "?immutable=1"
        if any(map(_waiting, beside[:2])):
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            for file in [path, *filter(Path.is_file, beside)]:
                shutil.copyfile(file, folder / file.name)
            path, query = folder / path.name, ""
        page = _page_bytes(path)
        if beyond := path.stat().st_size % page:
            if query:
                folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
                path = Path(shutil.copyfile(path, folder / path.name))
            os.truncate(path, path.stat().st_size - beyond)
        database = sqlite3.connect(f"file:{quote(str(path.resolve()))}{query}", uri=True)
        self._stack.callback(database.close)
        # Without this SQLite refuses a file that is shorter than it says.
        database.execute("PRAGMA writable_schema=ON")
        return database

    def _rows(self) -> None:
        tables = {
            name for (name,) in self._database.execute("SELECT name FROM sqlite_master WHERE type='table'")
        }
        if not {"topics", "messages"} <= tables:
            raise ValueError("it has no tables of topics and messages")
        definitions: dict[str, MessageDefinition] = {}
        if "message_definitions" in tables:
            for type_, encoding, text in self._database.execute(
                "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            ):
                definitions[type_] = MessageDefinition(_FORMATS[encoding], text)
        topics = list(self._database.execute("SELECT id, name, type, serialization_format FROM topics"))
        rows: list[tuple[int, int, int]] = []
        with contextlib.suppress(sqlite3.DatabaseError):  # that is where what is whole ends
            for id_, topic, log_ns, length, _ in self._database.execute(
                "SELECT id, topic_id, timestamp, length(data), data FROM messages ORDER BY id"
            ):
                if isinstance(log_ns, int) and isinstance(length, int) and length <= MOST_CHUNK_BYTES:
                    rows.append((log_ns, topic, id_))
        table: NDArray[np.int64] = np.array(rows, dtype=np.int64).reshape(-1, 3)
        self._table = table[np.argsort(table[:, 0], kind="stable")]
        none = MessageDefinition(MessageDefinitionFormat.NONE, "")
        self.connections = [
            Connection(
                id_, name, type_, definitions.get(type_, none), "", int((table[:, 1] == id_).sum()),
                ConnectionExtRosbag2(format_, []), self,
            )
            for id_, name, type_, format_ in topics
        ]  # fmt: skip

    @property
    def message_count(self) -> int:
        """Rows that can be read."""
        return len(self._table)

    @property
    def start_time(self) -> int:
        """Log time of the first message."""
        return int(self._table[0, 0])

    @property
    def end_time(self) -> int:
        """Behind the log time of the last message."""
        return int(self._table[-1, 0]) + 1

    def messages(
        self, connections: Collection[Connection] = (), start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Connection, int, Any]]:
        """Messages of these connections in the order of log time; `stop` is exclusive."""
        wanted = {item.id: item for item in connections or self.connections}
        for log_ns, topic, id_ in self._table.tolist():
            if topic not in wanted or (start is not None and log_ns < start):
                continue
            if stop is not None and log_ns >= stop:
                return
            (data,) = self._database.execute("SELECT data FROM messages WHERE id=?", (id_,)).fetchone()
            yield wanted[topic], log_ns, data
