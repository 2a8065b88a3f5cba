# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Files and folders that are at their location complete or not at all.

They are made in a hidden folder beside their location (``.NAME.writing-*``), since a rename within one file system is
atomic, and are on the disk before they get their name: a power cut leaves the old or the new one, never an empty file.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpt_ros.errors import Code, HptError


def make_beside(target: Path, doing: str = "writing") -> Path:
    """Make a hidden folder beside a location, whose own folder is made if need be; raises OSError."""
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{target.name}.{doing}-", dir=target.parent))


@contextmanager
def replace_atomically(target: Path) -> Iterator[Path]:
    """Give the path of a file or a folder to make, which takes its place when the block ends well.

    Raises:
        OSError: the disk refuses; what was there stays.
    """
    beside = make_beside(target)
    try:
        work = beside / target.name
        yield work
        for part in _parts(work):  # libraries make theirs private
            part.chmod(0o755 if part.is_dir() else 0o644)
        flush(work)
        move(work, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_text(target: Path, text: str) -> None:
    """Write a text file; raises OSError, and what was there stays."""
    with replace_atomically(target) as work:
        work.write_text(text, encoding="utf-8")


@contextmanager
def new_folder(target: Path, error: type[HptError]) -> Iterator[Path]:
    """Give an empty folder to write to, which takes its place when the block ends well.

    Raises:
        error: `target` is there already and not an empty folder, or the disk refuses; nothing is left behind.
    """
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise error(
            Code.EXISTS, repr(str(target)), problem="exists already, so it is not replaced",
            remedy="name another folder",
        )  # fmt: skip
    try:
        with replace_atomically(target) as work:
            work.mkdir()
            yield work
    except OSError as problem:
        raise error(
            Code.UNWRITABLE, repr(str(target)), remedy="name another folder, or make room", cause=problem
        ) from problem


def flush(made: Path) -> None:
    """Force a file, or a folder with all that is below, to the disk."""
    for part in _parts(made):
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _parts(made: Path) -> list[Path]:
    return [*made.rglob("*"), made] if made.is_dir() else [made]


def clear_leftovers(folder: Path) -> None:
    """Remove what a process that was killed while it wrote left in a folder.

    What it had moved aside, and not replaced yet, gets its name back.
    """
    for left in folder.glob(".*.old-*"):
        for part in left.iterdir():
            if not os.path.lexists(folder / part.name):
                part.rename(folder / part.name)
        shutil.rmtree(left, ignore_errors=True)
    for left in folder.glob(".*.writing-*"):
        shutil.rmtree(left, ignore_errors=True)


def move(made: Path, target: Path) -> None:
    """Give what was made its name; a folder that has it already is moved aside first and deleted last."""
    if not (made.is_dir() and os.path.lexists(target)):
        made.replace(target)
        return
    aside = make_beside(target, "old")
    target.rename(aside / target.name)
    try:
        made.rename(target)
    except OSError:
        (aside / target.name).rename(target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
