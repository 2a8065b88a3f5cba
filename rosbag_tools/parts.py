# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The files that a bag is made of, opened one by one and read as one.

A rosbag2 folder may be split into several files, each of them compressed, with messages that are compressed; a recorder
that was killed leaves it without metadata. A rosbag1 bag is one file.
"""

from __future__ import annotations

import contextlib
import heapq
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader as Bag1Reader
from rosbags.rosbag2 import Reader

from rosbag_tools.bounded import MOST_CHUNK_BYTES, MOST_HELD_BYTES, decompress, decompress_file
from rosbag_tools.errors import BagError
from rosbag_tools.recovery import has_index, is_complete, is_mcap, recover_mcap
from rosbag_tools.recovery_ros1 import CODECS, bag1_is_complete, is_bag1, recover_bag1
from rosbag_tools.recovery_sqlite3 import RecoveredSqlite3, is_sqlite3, sqlite3_is_complete

METADATA = "metadata.yaml"
ZSTD_SUFFIX = ".zstd"
# .bag.active is what a killed rosbag1 recorder leaves.
FILE_ENDINGS = (".mcap", ".db3", ".bag", ".bag.active", f".mcap{ZSTD_SUFFIX}", f".db3{ZSTD_SUFFIX}")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SQLITE_LIMIT_LENGTH = 0
# A compressed file that becomes larger than this is a bomb: pictures of one colour shrink to a thousandth.
_MOST_RATIO, _MOST_SMALL_BYTES = 1000, 1 << 30


def is_bag_file(path: Path) -> bool:
    """True if its name is that of a storage file."""
    return path.name.endswith(FILE_ENDINGS) and path.is_file()


def storage_files(folder: Path) -> list[Path]:
    """Storage files of a folder, a split bag's in their order."""
    return sorted((child for child in folder.iterdir() if is_bag_file(child)), key=_by_number)


def is_split(files: Sequence[Path]) -> bool:
    """True if several files are one bag that was split: NAME_0, NAME_1, ... as rosbag2 calls them."""
    numbered = [_NUMBERED.fullmatch(file.name) for file in files]
    found = [(match["name"], int(match["number"]), match["ending"]) for match in numbered if match]
    return (
        len(found) == len(files) > 1
        and len({name for name, _, _ in found}) == 1
        and [number for _, number, _ in found] == list(range(len(found)))
        and not any(ending.startswith(".bag") for _, _, ending in found)
    )


_NUMBERED = re.compile(r"(?P<name>.+)_(?P<number>\d{1,9})(?P<ending>\.(mcap|db3|bag)(\.zstd)?)")


def _by_number(path: Path) -> tuple[str, int, str]:
    match = _NUMBERED.fullmatch(path.name)
    return (match["name"], int(match["number"]), "") if match else (path.name, -1, "")


def cut_file(files: Sequence[Path]) -> Path | None:
    """The first file that has no end: its recorder was killed, or a copy was cut short."""
    return next((file for file in files if not _whole(file)), None)


def _whole(file: Path) -> bool:
    if is_mcap(file):
        return is_complete(file)
    if is_sqlite3(file):
        return sqlite3_is_complete(file)
    return bag1_is_complete(file) if is_bag1(file) else True


@dataclass(frozen=True)
class Joined:
    """Files of one bag, read as one; has what is used of `rosbags.rosbag2.Reader`.

    Attributes:
        readers: of each file that has messages.
        connections: of all of them.
        ros1: the messages are serialized as in ROS 1.
        notes: what was lost or is out of the ordinary, a sentence each.
    """

    readers: Sequence[Any]
    connections: Sequence[Connection]
    ros1: bool
    compressed: bool | None
    notes: Sequence[str]

    @property
    def message_count(self) -> int:
        """Messages in all files."""
        return sum(reader.message_count for reader in self.readers)

    @property
    def start_time(self) -> int:
        """Log time of the first message."""
        return int(min(reader.start_time for reader in self.readers))

    @property
    def end_time(self) -> int:
        """Behind the log time of the last message."""
        return int(max(reader.end_time for reader in self.readers))

    def messages(
        self, connections: Collection[Connection] = (), start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Connection, int, Any]]:
        """Messages of these connections in the order of log time; `stop` is exclusive."""
        sources = []
        for reader in self.readers:
            own = set(map(id, reader.connections))
            wanted = [item for item in connections or self.connections if id(item) in own]
            if wanted:
                sources.append(reader.messages(connections=wanted, start=start, stop=stop))
        found = sources[0] if len(sources) == 1 else heapq.merge(*sources, key=lambda entry: entry[1])
        if self.ros1 or self.compressed is False:
            yield from found
            return
        for connection, log_ns, data in found:
            # Without metadata nothing says that messages are compressed; but plain ones begin with a zero.
            if self.compressed or bytes(data[:4]) == _ZSTD_MAGIC:
                data = decompress(data, "zstd")
            yield connection, log_ns, data


@contextlib.contextmanager
def open_files(files: Sequence[Path], metadata: Mapping[str, Any], *, recover: bool) -> Iterator[Joined]:
    """Open the files of one bag.

    Args:
        files: in their order.
        metadata: of the bag, empty if it has none.
        recover: read files that were cut short as far as they go, and leave out what cannot be read at all.

    Raises:
        BagError: the files are not of one bag, or claim sizes that are not believed.
    """
    mode = str(metadata.get("compression_mode") or "none").lower()
    listed = metadata.get("relative_file_paths") or files
    notes = [f"{len(listed) - len(files)} of its files are missing"] if len(files) < len(listed) else []
    with contextlib.ExitStack() as stack:
        readers = []
        for file in files:
            try:
                readers.append(stack.enter_context(_open_file(file, recover=recover, notes=notes)))
            except Exception as error:
                # A split bag is worth having without one of its files; a bag of one file is nothing without it.
                if not recover or len(files) == 1:
                    raise
                notes.append(f"file {file.name!r} is left out ({' '.join(str(error).split())[:200]})")
        readers = [reader for reader in readers if reader.message_count]
        kinds = {isinstance(reader, Bag1Reader) for reader in readers}
        if len(kinds) > 1:
            raise BagError("the bag's files are of both ROS 1 and ROS 2; separate them")
        compressed = None if not metadata else mode == "message"
        connections = [item for reader in readers for item in reader.connections]
        yield Joined(readers, connections, True in kinds, compressed, notes)


@contextlib.contextmanager
def _open_file(file: Path, *, recover: bool, notes: list[str]) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        name = file.name
        if file.suffix == ZSTD_SUFFIX:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpt-bag-")))
            room = int(0.9 * shutil.disk_usage(folder).free)
            place = folder / file.stem
            most = min(room, _MOST_SMALL_BYTES + _MOST_RATIO * file.stat().st_size)
            if not decompress_file(file, place, most) and not recover:
                raise BagError(
                    f"the compressed file {str(file)!r} is damaged or was cut short; pass --recover to use what is "
                    "whole, or copy it again"
                )
            file = place
        source: Any = file
        lost = -1  # bytes, of a file that was cut short
        if not _whole(file):
            if not recover:
                raise BagError(f"file {name!r} was cut short; pass --recover to use what is whole")
            if is_sqlite3(file):
                reader: Any = stack.enter_context(RecoveredSqlite3(file))
                notes.append(
                    f"recovered {reader.message_count} messages of {name!r}, and lost what follows them"
                )
                yield reader
                return
            found = recover_mcap(file) if is_mcap(file) else recover_bag1(file)
            source, lost = found.source, found.lost_bytes
        elif is_mcap(file) and not has_index(file):
            found = recover_mcap(file)
            notes.append(f"file {name!r} has no index: it was looked through")
            if found.lost_bytes:
                notes.append(f"{found.lost_bytes} bytes of {name!r} are damaged and left out")
            source = found.source
        reader = stack.enter_context(Bag1Reader(source) if is_bag1(file) else Reader(source))
        if lost >= 0:
            rest = "what follows them" if lost else "nothing"
            notes.append(f"recovered {reader.message_count} messages of {name!r}, and lost {rest}")
        if isinstance(reader, Bag1Reader):
            _guard_bag1(reader)
        else:
            reader = _guarded(reader, source)
        yield reader


def _guard_bag1(reader: Bag1Reader) -> None:
    """Bound what its chunks may become; they say how large they are, but the reader does not look."""

    def bounded(codec: str) -> Any:
        return (lambda data: decompress(data, codec)) if codec else (lambda data: data)

    from rosbags.rosbag1 import reader as module

    plain: Any = vars(module)["decompressors"]
    codecs = {id(function): CODECS[name] for name, function in plain.items()}
    for place, chunk in reader.chunks.items():
        reader.chunks[place] = chunk._replace(decompressor=bounded(codecs[id(chunk.decompressor)]))


def _guarded(reader: Reader, source: Any) -> Any:
    """A reader whose sizes are bounded, and which reads messages outside chunks in the order of time."""
    storage: Any = reader.storage
    if hasattr(storage, "dbconn"):
        storage.dbconn.limit(_SQLITE_LIMIT_LENGTH, MOST_CHUNK_BYTES)
        return reader
    check_chunks(storage.chunks)
    return reader if storage.chunks else Unchunked(reader, source)


def check_chunks(chunks: Sequence[Any]) -> None:
    """Raise BagError if a reader would hold too much at once: the chunks of an MCAP file that overlap in time."""
    events = []
    for chunk in chunks:
        if chunk.uncompressed_size > MOST_CHUNK_BYTES:
            raise BagError(
                f"a chunk claims {chunk.uncompressed_size} bytes, but {MOST_CHUNK_BYTES} at most were expected; the "
                "file is damaged or hostile: leave it out"
            )
        events.append((chunk.message_start_time, chunk.uncompressed_size))
        events.append((chunk.message_end_time + 1, -chunk.uncompressed_size))
    held = 0
    for _, size in sorted(events):
        held += size
        if held > MOST_HELD_BYTES:
            raise BagError(
                f"chunks of more than {MOST_HELD_BYTES} bytes overlap in time; the file is damaged or hostile, or was "
                "written without regard to time: sort it first"
            )


class Unchunked:
    """An MCAP file of messages outside chunks, as rosbag2's profile ``fastwrite`` leaves them, in the order of time.

    `rosbags` reads them in the file's order, and refuses files in which that is not the order of time, as in those of
    several publishers. Memory holds 32 bytes for each message.
    """

    def __init__(self, reader: Reader, source: Any) -> None:
        """Look at the head of each record."""
        self.connections = reader.connections
        self.message_count, self.start_time, self.end_time = (
            reader.message_count, reader.start_time, reader.end_time,
        )  # fmt: skip
        storage: Any = reader.storage
        self._file: Any = storage.bio
        self._path = source
        rows = []
        place, end = storage.data_start, storage.data_end
        while place + 9 <= end:
            self._file.seek(place)
            head = self._file.read(31)
            opcode, length = head[0], int.from_bytes(head[1:9], "little")
            if opcode == 0x05 and length >= 22 and place + 9 + length <= end:
                channel = int.from_bytes(head[9:11], "little")
                rows.append((int.from_bytes(head[15:23], "little"), channel, place + 31, length - 22))
            place += 9 + length
        table: NDArray[np.uint64] = np.array(rows, dtype=np.uint64).reshape(-1, 4)
        self._table = table[np.argsort(table[:, 0], kind="stable")]

    def messages(
        self, connections: Collection[Connection] = (), start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Messages of these connections in the order of log time; `stop` is exclusive."""
        wanted = {item.id: item for item in connections or self.connections}
        for log_ns, channel, place, length in self._table.tolist():
            if channel not in wanted or (start is not None and log_ns < start):
                continue
            if stop is not None and log_ns >= stop:
                return
            self._file.seek(place)
            yield wanted[channel], log_ns, self._file.read(length)


def listed_files(folder: Path, metadata: Mapping[str, Any], *, recover: bool) -> list[Path]:
    """The files that a bag's metadata name, by their names alone: they lie in its folder.

    Args:
        folder: of the bag.
        metadata: of the bag.
        recover: leave out what is missing, as long as there is a file.

    Raises:
        BagError: one is missing.
    """
    names = metadata.get("relative_file_paths")
    if not isinstance(names, list) or not names:
        raise BagError(f"the {METADATA} of bag {str(folder)!r} names no files; record it again")
    files = [folder / PurePath(str(name)).name for name in names]
    there = [file for file in files if is_bag_file(file)]
    if len(there) < len(files) and not (recover and there):
        missing = ", ".join(file.name[:100] for file in files if file not in there)
        raise BagError(
            f"bag {str(folder)!r} lacks {missing[:300]}, which its {METADATA} names; copy it again"
        )
    return there
