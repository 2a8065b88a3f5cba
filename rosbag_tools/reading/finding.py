# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags among paths, folders and patterns, each once however many ways lead to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hpt_ros.errors import Code
from rosbag_tools.errors import BagError
from rosbag_tools.reading.bag_files import (
    FILE_ENDINGS,
    METADATA,
    begins_as_bag,
    is_bag_file,
    is_split,
    storage_files,
    unreadable_file,
    what_else,
)
from rosbag_tools.reading.library_source import is_bag1

WHAT = f"a rosbag2 folder or a file ending in {', '.join(FILE_ENDINGS[:-1])} or {FILE_ENDINGS[-1]}"

Say = Callable[[str], None]
_FileIds = frozenset[tuple[int, int]]


def _ignore(_: str) -> None:
    return


def find_bags(paths: Sequence[str | Path], passed_over: Say = _ignore) -> list[Path]:
    """Bags among paths, each a bag, a folder with bags at any depth, or a pattern; in the order given, folders by name.

    A bag that is met again (a pattern that matches a folder and the files in it, links) counts once, as its folder.

    Args:
        paths: a pattern has ``*``, ``?``, ``[...]`` or ``**``, as in a shell, and is only one if no such path exists.
        passed_over: called with a sentence about each folder that may not be read, and each link that is not followed.

    Raises:
        BagError: a path is missing, may not be read, or holds no bag.
    """
    found: dict[Path, _FileIds] = {}
    holders: dict[tuple[int, int], Path] = {}  # which bag has a file
    for path in map(Path, paths):
        notes: list[str] = []
        inside = list(_bags_of(path, notes.append))
        for note in notes:
            passed_over(note)
        if not inside:
            if (known := what_else(path)) is not None:
                raise known
            why = f" ({'; '.join(notes)[:600]})" if notes else ""
            raise BagError(
                Code.UNREADABLE, repr(str(path)), problem=f"is no bag and holds none{why}",
                remedy=f"give {WHAT} (a folder has {METADATA}), or a folder of those",
            )  # fmt: skip
        for bag in inside:
            files = _file_ids(bag)
            others = {holders[file] for file in files if file in holders}
            if any(files <= found[other] and (other.is_dir() or not bag.is_dir()) for other in others):
                continue
            for other in others:
                if found[other] <= files:
                    del found[other]
            found[bag] = files
            holders |= dict.fromkeys(files, bag)
    return list(found)


def is_hidden(path: Path) -> bool:
    """True for what is not looked into: hidden files and folders, and the folder that macOS adds to archives."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def is_bag(path: Path) -> bool:
    """True for a storage file, and for a folder of one bag; raises OSError if it may not be read."""
    if not path.is_dir():
        return is_bag_file(path) or begins_as_bag(path)
    if (path / METADATA).is_file():
        return True
    # No metadata is what a killed recorder leaves; but then there is nothing else.
    files = storage_files(path)
    alone = len(files) == 1 and not any(child.is_dir() for child in path.iterdir())
    return (alone and not is_bag1(files[0])) or is_split(files)


def _bags_of(path: Path, passed_over: Say) -> Iterator[Path]:
    """Bags of one path or pattern that was given."""
    try:
        matches = [path]
        if not path.exists():
            # Not by glob.glob, whose ** follows links.
            matches = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))
            if not matches:
                raise BagError(Code.NOT_FOUND, f"the bag {str(path)!r}", remedy=f"give {WHAT}")
    except OSError as error:
        raise unreadable_file(Path(error.filename or path), error) from error
    for match in matches:
        try:
            if is_bag(match):
                yield match
            elif match.is_dir():
                yield from _bags_in(match, passed_over)
        except OSError as error:
            if match == path:
                raise unreadable_file(Path(error.filename or path), error) from error
            passed_over(_unreadable(match, error))


def _bags_in(folder: Path, passed_over: Say) -> Iterator[Path]:
    """Bags in a folder that is none itself."""
    for child in sorted(folder.iterdir()):
        if is_hidden(child):
            continue
        try:
            if not child.is_dir():
                if is_bag_file(child):
                    yield child
            elif is_bag(child):
                yield child
            elif child.is_symlink():
                # It may lead back up, or to an entire disk.
                passed_over(f"the link {str(child)!r} leads to a folder that is no bag, and is not followed")
            else:
                yield from _bags_in(child, passed_over)
        except OSError as error:
            passed_over(_unreadable(child, error))


def _unreadable(path: Path, error: OSError) -> str:
    return f"{str(path)!r} cannot be read ({error.strerror or error}), and is passed over"


def _file_ids(bag: Path) -> _FileIds:
    """Device and number of each storage file of a bag, the same by whatever path; of the folder, if it has none."""
    files = storage_files(bag) if bag.is_dir() else [bag]
    return frozenset((status.st_dev, status.st_ino) for status in map(Path.stat, files or [bag]))
