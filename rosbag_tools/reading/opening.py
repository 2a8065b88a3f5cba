# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Opens one bag of a session, and turns whatever goes wrong with it into one sentence."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rosbags.rosbag1 import ReaderError

from hpt_ros.errors import Code, HptError
from rosbag_tools.errors import BagError, TruncatedBagError
from rosbag_tools.reading.bag_files import (
    METADATA,
    Joined,
    cut_file,
    how_to_repair,
    storage_files,
    unreadable_file,
    what_else,
)
from rosbag_tools.reading.finding import WHAT, is_bag, is_hidden
from rosbag_tools.reading.storage import Storage, open_storage

# The year 2116. Later log times are damage, and so far from a stamp that the difference may leave 64 bits.
NEWEST_LOG_NS = 1 << 62
# What parsers raise on damaged bytes; anything else may be an internal error.
DAMAGE = (
    ValueError, EOFError, OSError, IndexError, struct.error, sqlite3.Error, OverflowError, ReaderError,
)  # fmt: skip


def enter_storage(stack: contextlib.ExitStack, place: Path, recover: bool) -> tuple[Storage, str]:
    """The storage of a bag, and what was lost of it; the stack closes it."""
    cut = _cut(place)
    if cut and not recover:
        raise TruncatedBagError(
            Code.DAMAGED, f"bag {str(place)!r}", cut.name,
            problem=f"was cut short (no end of file in {cut.name!r}; was the recorder killed, or the copy "
            "interrupted?)",
            remedy=how_to_repair(cut, cut.name),
        )  # fmt: skip
    with one_sentence(place):
        storage = stack.enter_context(open_storage(place, recover=recover))
    return storage, storage.note and f"bag {str(place)!r}{' was cut short' if cut else ''}: {storage.note}"


def require_other(place: Path, storage: Storage, before: Sequence[Storage]) -> None:
    """Raise BagError if a bag of a session has what one of the others has, under whatever name."""
    known = [_outline(other.files) for other in before if other.files.message_count]
    if storage.files.message_count and _outline(storage.files) in known:
        raise BagError(
            Code.DUPLICATE, f"bag {str(place)!r}", problem="is the bag that it is to be read together with, or a copy",
            remedy="name the other bags of its session",
        )  # fmt: skip


def _outline(files: Joined) -> tuple[object, ...]:
    counts = Counter[str]()
    for channel in files.channels:
        counts[channel.topic] += channel.count
    return files.start_ns, files.end_ns, counts


def _cut(path: Path) -> Path | None:
    """The file that was cut short, if one was; raises BagError where there is no bag."""
    with one_sentence(path):
        if not path.exists():
            raise BagError(Code.NOT_FOUND, f"the bag {str(path)!r}", remedy=f"give {WHAT}")
        if not is_bag(path):
            if (other := what_else(path)) is not None:
                raise other
            children = sorted(path.iterdir()) if path.is_dir() else []
            inside = [child for child in children if not is_hidden(child) and is_bag(child)]
            if inside:
                raise BagError(
                    Code.UNREADABLE, repr(str(path)), len(inside), problem="is no bag, but holds {value}",
                    remedy=f"give one of them, as {str(inside[0])!r}",
                )  # fmt: skip
            raise BagError(
                Code.UNREADABLE, repr(str(path)), problem="is no bag",
                remedy=f"give {WHAT} (a folder has {METADATA})",
            )  # fmt: skip
        return cut_file(storage_files(path) if path.is_dir() else [path])


def require_time(path: Path, log_ns: int) -> None:
    """Raise BagError for a log time that no bag can have."""
    if not 0 <= log_ns <= NEWEST_LOG_NS:
        raise BagError(
            Code.DAMAGED, f"bag {str(path)!r}", log_ns, problem="has the log time {value} ns",
            expected=f"0 to {NEWEST_LOG_NS}", remedy="it is damaged: copy or record it again",
        )  # fmt: skip


@contextlib.contextmanager
def one_sentence(path: Path) -> Iterator[None]:
    """Turn whatever a parser raises on damaged bytes into a BagError.

    Parsers of binary data fail in every way (struct, index, key, unicode, zstd, sqlite errors), so all are caught.
    """
    try:
        yield
    except HptError as error:
        if any(str(path) in part for part in (error.subject, *error.where)):
            raise
        raise BagError.of(error.refusal.within(f"bag {str(path)!r}")) from error
    except PermissionError as error:
        raise unreadable_file(Path(error.filename or path), error) from error
    except Exception as error:
        damage = isinstance(error, DAMAGE)
        what = short(error) if damage else f"{type(error).__name__}: {short(error)}"
        remedy = (
            "it is damaged: copy or record it again"
            if damage
            else "if other tools read it, please report this with the file; else copy or record it again"
        )
        raise BagError(
            Code.DAMAGED if damage else Code.UNREADABLE, f"bag {str(path)!r}", problem="cannot be read", cause=what,
            remedy=remedy,
        ) from error  # fmt: skip


def short(error: Exception) -> str:
    """Return the message of a parser's error on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
