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
import shlex
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from hpt_ros.dataset.recognise import BAG, recognise
from hpt_ros.errors import Code
from rosbag_tools.errors import BagError, TruncatedBagError
from rosbag_tools.reading.channels import CDR, BagSource, Channel, Integers
from rosbag_tools.reading.library_source import BAG1_MAGIC, Bag1Reader, Bag1Source, bag1_is_complete, is_bag1
from rosbag_tools.reading.magic import begins_with
from rosbag_tools.reading.mcap_index import is_complete, is_mcap, look_through, read_summary
from rosbag_tools.reading.mcap_source import McapSource
from rosbag_tools.reading.safe_decompress import decompress, decompress_file
from rosbag_tools.reading.sqlite3_source import Sqlite3Source, is_sqlite3, sqlite3_is_complete

METADATA = "metadata.yaml"
ZSTD_SUFFIX = ".zstd"
# .bag.active is what a killed rosbag1 recorder leaves.
FILE_ENDINGS = (".mcap", ".db3", ".bag", ".bag.active", f".mcap{ZSTD_SUFFIX}", f".db3{ZSTD_SUFFIX}")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# A compressed file that becomes larger than this is a bomb: pictures of one colour shrink to a thousandth.
_MOST_RATIO, _MOST_SMALL_BYTES = 1000, 1 << 30


def is_bag_file(path: Path) -> bool:
    """True if its name is that of a storage file, in letters of either case, and not hidden.

    macOS leaves a hidden file of the same ending (``._NAME``) beside each one that it copies to another file system.
    """
    return not path.name.startswith(".") and path.name.lower().endswith(FILE_ENDINGS) and path.is_file()


def begins_as_bag(path: Path) -> bool:
    """True if a file of whatever name begins as a storage file does."""
    return path.is_file() and (
        is_mcap(path) or is_bag1(path) or is_sqlite3(path) or begins_with(path, _ZSTD_MAGIC)
    )


def what_else(path: Path) -> BagError | None:
    """The error of something that is known and no bag, with what to do with it; None of what is not known."""
    if path.is_file() and not path.stat().st_size:
        return BagError(
            Code.EMPTY, repr(str(path)), problem="is an empty file, and no bag",
            remedy="copy it again, or leave it out",
        )  # fmt: skip
    kind = recognise(path)
    if kind is None or kind is BAG:
        return None
    return BagError(
        Code.UNREADABLE, repr(str(path)), kind.name, problem=f"is {kind.name}, and no bag", remedy=kind.remedy,
    )  # fmt: skip


def unreadable_file(path: Path, error: OSError) -> BagError:
    """What to raise when the operating system refuses a file or a folder."""
    return BagError(
        Code.UNREADABLE, repr(str(path)), cause=error.strerror or error,
        remedy="correct its permissions or copy it again",
    )  # fmt: skip


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
    return next((file for file in files if not _is_complete(file)), None)


def how_to_repair(file: Path, name: str) -> str:
    """Return what makes a file readable that was cut short.

    Args:
        file: to look into.
        name: that it is known by.
    """
    if is_mcap(file):
        return "pass --recover to use what is whole, or copy it again"
    if is_sqlite3(file):
        # ".recover" would do too, but Debian builds the program without what it needs (SQLITE_ENABLE_DBPAGE_VTAB).
        command = f"sqlite3 {shlex.quote(name)} .dump | sed 's/^ROLLBACK.*/COMMIT;/' | sqlite3 repaired.db3"
        return f"repair it with `{command}` and give repaired.db3, or copy it again"
    return f"repair it with `rosbag reindex {shlex.quote(name)}` of ROS 1, or copy it again"


def _is_complete(file: Path) -> bool:
    if is_mcap(file):
        return is_complete(file)
    if is_sqlite3(file):
        return sqlite3_is_complete(file)
    return bag1_is_complete(file) if is_bag1(file) else True


@dataclass(frozen=True)
class Joined:
    """Files of one bag, read as one.

    Attributes:
        sources: files that have messages.
        notes: what was lost or is out of the ordinary, a sentence each.
    """

    sources: Sequence[BagSource]
    notes: Sequence[str]

    @property
    def channels(self) -> list[Channel]:
        """Those of all files."""
        return [channel for source in self.sources for channel in source.channels]

    @property
    def message_count(self) -> int:
        """Messages in all files."""
        return sum(source.message_count for source in self.sources)

    @property
    def start_ns(self) -> int:
        """Log time of the first message."""
        return min(source.start_ns for source in self.sources)

    @property
    def end_ns(self) -> int:
        """Log time of the last message."""
        return max(source.end_ns for source in self.sources)

    def log_times(self) -> dict[str, list[Integers]]:
        """Log times of each topic in the order in which they were written, a series for each file that has it once."""
        found: dict[str, list[Integers]] = {}
        for source in self.sources:
            times = source.log_times()
            names = Counter(channel.topic for channel in times)
            for channel, series in times.items():
                # Nothing tells the order of two channels among one another.
                if names[channel.topic] == 1 and len(series):
                    found.setdefault(channel.topic, []).append(series)
        return found

    def messages(
        self, channels: Collection[Channel], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[Channel, int, Any]]:
        """Channel, log time and bytes of messages in the order of log time; `stop_ns` is exclusive."""
        asked = set(channels)
        found = [
            source.messages(wanted, start_ns, stop_ns)
            for source in self.sources
            if (wanted := [channel for channel in source.channels if channel in asked])
        ]
        merged = found[0] if len(found) == 1 else heapq.merge(*found, key=lambda entry: entry[1])
        for entry in merged:
            # Whether each message is compressed stands in the metadata, if there are any; plain ones begin with a zero.
            if entry[2][:4] == _ZSTD_MAGIC and entry[0].encoding == CDR:
                entry = (*entry[:2], decompress(entry[2], "zstd"))
            yield entry


@contextlib.contextmanager
def open_files(files: Sequence[Path], *, recover: bool) -> Iterator[Joined]:
    """Open the files of one bag.

    Args:
        files: in their order.
        recover: read files that were cut short as far as they go, and leave out what cannot be read at all.

    Raises:
        BagError: the files are of no known format, or claim sizes that are not believed.
    """
    notes: list[str] = []
    with contextlib.ExitStack() as stack:
        sources: list[BagSource] = []
        for file in files:
            try:
                sources.append(_open_file(stack, file, recover=recover, notes=notes))
            except Exception as error:
                # A split bag is worth having without one of its files; a bag of one file is nothing without it.
                if not recover or len(files) == 1:
                    raise
                notes.append(f"file {file.name!r} is left out ({' '.join(str(error).split())[:200]})")
        yield Joined([source for source in sources if source.message_count], notes)


def _open_file(stack: contextlib.ExitStack, file: Path, *, recover: bool, notes: list[str]) -> BagSource:
    """Open a file of whatever name by its first bytes; the stack closes it."""
    name = file.name
    if begins_with(file, _ZSTD_MAGIC):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpt-bag-")))
        room = int(0.9 * shutil.disk_usage(folder).free)
        place = folder / "decompressed"
        most = min(room, _MOST_SMALL_BYTES + _MOST_RATIO * file.stat().st_size)
        if not decompress_file(file, place, most) and not recover:
            raise BagError(
                Code.DAMAGED, f"the compressed file {str(file)!r}", problem="is damaged or was cut short",
                remedy="pass --recover to use what is whole, or copy it again",
            )  # fmt: skip
        file = place
    cut = not _is_complete(file)
    if cut and not (recover and is_mcap(file)):
        raise TruncatedBagError(
            Code.DAMAGED, f"file {name!r}", problem="was cut short", remedy=how_to_repair(file, name),
        )  # fmt: skip
    lost = 0
    if is_mcap(file):
        index = None if cut else read_summary(file)
        if index is None:
            index = look_through(file)
            lost = index.lost
            if not cut:
                notes.append(f"file {name!r} has no complete index: it was looked through")
        source: BagSource = stack.enter_context(McapSource(file, index))
    elif is_sqlite3(file):
        source = stack.enter_context(Sqlite3Source(file))
    elif is_bag1(file):
        if not begins_with(file, BAG1_MAGIC):
            raise BagError(
                Code.UNSUPPORTED, f"file {name!r}", problem="is a rosbag of a version before 2.0",
                remedy="bring it to that by `rosbag migrate`",
            )  # fmt: skip
        source = Bag1Source(stack.enter_context(Bag1Reader(file)))
    else:
        raise what_else(file) or BagError(
            Code.UNREADABLE, f"file {name!r}",
            problem="begins neither as MCAP, nor as SQLite, nor as a rosbag of version 2.0",
            remedy="give a bag, or copy it again",
        )  # fmt: skip
    if cut:
        rest = "what follows them" if lost else "nothing"
        notes.append(f"recovered {source.message_count} messages of {name!r}, and lost {rest}")
    elif lost:
        notes.append(f"{lost} bytes of {name!r} are damaged and left out")
    return source


def list_bag_files(
    folder: Path, metadata: Mapping[str, Any], *, recover: bool
) -> tuple[list[Path], list[str]]:
    """The files that a bag's metadata name, and what is out of the ordinary about them.

    Files lie in the bag's folder, by their names alone. One that was decompressed or renamed by hand is found as long
    as there is no doubt which it is.

    Args:
        folder: of the bag.
        metadata: of the bag.
        recover: leave out what is missing, as long as there is a file.

    Raises:
        BagError: one is missing.
    """
    there = sorted(
        (child for child in folder.iterdir() if is_bag_file(child) or begins_as_bag(child)), key=_by_number
    )
    listed = metadata.get("relative_file_paths")
    names = [PurePath(str(name)).name for name in listed] if isinstance(listed, list) else []
    if not names and there:
        return there, [f"its {METADATA} names no files: all {len(there)} in its folder are taken"]
    by_name = {_plain_name(file.name): file for file in there}
    exact = {file.name: file for file in there}
    found = {
        name: file
        for name in names
        if (file := exact.get(name) or by_name.get(_plain_name(name))) is not None
    }
    missing = [name for name in names if name not in found]
    rest = [file for file in there if file not in found.values()]
    if missing and len(missing) == len(rest) and (len(rest) == 1 or (not found and is_split(rest))):
        found |= dict(zip(missing, rest, strict=True))
        taken = f"{rest[0].name!r} is taken for {missing[0]!r}, which its {METADATA} names"
        return [found[name] for name in names], [taken]
    if missing and not (recover and found):
        others = f", but has {', '.join(file.name for file in rest)}"[:300] if rest else ""
        without = ", or pass --recover to do without" if found else ""
        remedy = ("give the file itself, or name it as listed" if rest else "copy it again") + without
        raise BagError(
            Code.NOT_FOUND, f"bag {str(folder)!r}", missing,
            problem=f"lacks {', '.join(missing)[:300]}, which its {METADATA} names{others}", remedy=remedy,
        )  # fmt: skip
    lost = [f"{len(missing)} of its files are missing ({', '.join(missing)[:300]})"] if missing else []
    return [found[name] for name in names if name in found], lost


def _plain_name(name: str) -> str:
    """A file's name but for the case of its letters and for its compression."""
    return name.lower().removesuffix(ZSTD_SUFFIX)
