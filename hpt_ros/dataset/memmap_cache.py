# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One large array on disk, memory-mapped: its folder is complete or absent, and its checksum is verified when opened.

The folder's name depends on all that the array was made from, so one that is there is the one that would be made
again. It is built beside its location and renamed when complete. One process builds, others that want the same array
wait for it; where the file system has no locks, each builds its own and the first to finish wins. Room on the disk is
reserved before a build starts, since writing to a memory map of a full disk would end the process. Verifying an array
also brings it into the page cache, before training reads its rows in random order.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.errors import Code

BLOCK_BYTES = 1 << 24
RECORD = "cache.json"


@dataclass(frozen=True, slots=True)
class MappedArray:
    """An array on disk; read-only."""

    folder: Path
    values: NDArray[Any]
    rebuilt: str  # why what was there had to be built again; empty if nothing was there, or it is good
    built: bool  # false when an earlier run's array was used


def cache_beside(root: Path) -> Path:
    """Return the folder beside a dataset that holds its caches, unless another is named."""
    path = root.absolute()
    return path.with_name(path.name + ".cache")


def digest_of(files: Iterable[Path], root: Path, *settings: str) -> str:
    """Return the SHA-256, in hex, of some settings and the path below `root` and the content of every file."""
    digest = hashlib.sha256("".join(settings).encode())
    for path in files:
        digest.update(f"\n{path.relative_to(root).as_posix()} ".encode())
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def open_mapped(
    folder: Path,
    file: str,
    dtype: DTypeLike,
    form: str,
    shape: tuple[int, ...] | None,
    build: Callable[[Path], tuple[int, ...]],
    waiting: Callable[[], None] = lambda: None,
) -> MappedArray:
    """Open the array in `folder`; build it first when it is absent, incomplete, damaged or of another format.

    Args:
        folder: its path.
        file: the name of the file with its values, C order, without a header.
        dtype: of its values.
        form: how the values were made, for the record beside them.
        shape: the array's; None to take the record's.
        build: writes the values to the path that it is given and returns their shape. What a build that was killed had
            written is there; see `Finished`.
        waiting: called before this process waits for another one that builds the array.

    Raises:
        DatasetError: the folder cannot be written; and what `build` raises.
    """
    found, problem = _read(folder, file, np.dtype(dtype), form, shape)
    if not problem:
        return MappedArray(folder, _map(folder / file, dtype, found), "", False)
    rebuilt = ""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _turn(folder, waiting) as alone:
            found, problem = _read(folder, file, np.dtype(dtype), form, shape)
            if not problem:  # another process has built it in the meantime
                return MappedArray(folder, _map(folder / file, dtype, found), "", False)
            if folder.exists():
                rebuilt = f"the cache {str(folder)!r} {problem}, so it was built again"
                shutil.rmtree(folder)
            work = folder.with_name(f".{folder.name}.building")
            if alone:
                work.mkdir(exist_ok=True)  # what a build that was killed had made is gone on with
            else:
                work = Path(tempfile.mkdtemp(prefix=f"{work.name}-", dir=folder.parent))
            try:
                found = build(work / file)
                _complete(work, folder, file, form, found)
            except Exception:
                shutil.rmtree(work, ignore_errors=True)
                raise
    except OSError as error:
        raise DatasetError(
            Code.UNWRITABLE, f"the cache {str(folder)!r}", cause=error,
            remedy="make room, or name another folder with --cache",
        ) from error  # fmt: skip
    return MappedArray(folder, _map(folder / file, dtype, found), rebuilt, True)


def reserve(
    path: Path, dtype: DTypeLike, shape: tuple[int, ...], rows: Iterable[tuple[int, int]] | None = None
) -> NDArray[Any]:
    """Open an array for writing, with room on the disk for it; what is in the file stays.

    Args:
        path: its file; made, or made as long as it must be.
        dtype: of its values.
        shape: its shape.
        rows: first and after the last of those that will be written; all of them if None.

    Raises:
        OSError: there is no room.
    """
    row_bytes = np.dtype(dtype).itemsize * int(np.prod(shape[1:], dtype=np.int64))
    with path.open("ab") as file:
        file.truncate(shape[0] * row_bytes)
        for start, stop in ((0, shape[0]),) if rows is None else rows:
            if stop > start:
                os.posix_fallocate(file.fileno(), start * row_bytes, (stop - start) * row_bytes)
    values: NDArray[Any] = np.memmap(path, dtype=dtype, mode="r+", shape=shape)
    return values


class Finished:
    """The parts of an array that are written, in a file beside it, so that a build that is killed loses only one.

    Each is noted with its checksum: after a power cut the note may have reached the disk and the part not.
    """

    def __init__(self, path: Path) -> None:
        """Read the notes beside the array at `path`, where there are any."""
        self._file = path.with_suffix(".parts")
        self._noted: dict[str, int] = {}
        if self._file.is_file():
            for line in self._file.read_text(encoding="utf-8").splitlines():
                name, _, checksum = line.rpartition(" ")
                if checksum.isdecimal():
                    self._noted[name] = int(checksum)

    def has(self, name: str, values: Callable[[], NDArray[Any]]) -> bool:
        """Whether a part is noted, and its values are those that were written."""
        return name in self._noted and self._noted[name] == checksum_of(values())

    def add(self, name: str, checksum: int) -> None:
        """Note a part; its `checksum_of`."""
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{name} {checksum}\n")

    def remove(self) -> None:
        """Remove the notes."""
        self._file.unlink(missing_ok=True)


def checksum_of(values: NDArray[Any]) -> int:
    """Return the CRC-32 of an array's values in C order."""
    return zlib.crc32(np.ascontiguousarray(values).reshape(-1).view(np.uint8))


@contextmanager
def _turn(folder: Path, waiting: Callable[[], None]) -> Iterator[bool]:
    """Within the block this process alone builds `folder`; false where the file system has no locks."""
    path = folder.with_name(f".{folder.name}.lock")
    while True:
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:  # of network file systems without locks
                if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
                yield False
                path.unlink(missing_ok=True)
                return
            # Whoever held it has removed it, so another process may hold the lock of a new one.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                try:
                    yield True
                finally:
                    path.unlink(missing_ok=True)
                return


def _complete(work: Path, folder: Path, file: str, form: str, shape: tuple[int, ...]) -> None:
    """Write the record and give the folder its name."""
    content = {"format": form, "shape": list(shape), "crc32": _checksum(work / file)}
    (work / RECORD).write_text(json.dumps(content) + "\n", encoding="utf-8")
    try:
        work.rename(folder)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        shutil.rmtree(work, ignore_errors=True)  # another process was quicker: its content is the same


def _map(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    values: NDArray[Any] = np.memmap(path, dtype=dtype, mode="r", shape=shape)
    return values


def _read(
    folder: Path, file: str, dtype: np.dtype[Any], form: str, shape: tuple[int, ...] | None
) -> tuple[tuple[int, ...], str]:
    """Return the array's shape, and why it cannot be used; the latter is empty if it can."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        size = (folder / file).stat().st_size
        found = tuple(int(length) for length in record["shape"])
        checksum = record["crc32"]
    except (OSError, ValueError, TypeError, KeyError):
        return (), "is incomplete"
    if record.get("format") != form:
        return (), "is of another format"
    if (shape is not None and found != shape) or size != dtype.itemsize * np.prod(found, dtype=np.int64):
        return (), "is incomplete"
    return found, "" if checksum == _checksum(folder / file) else "is damaged (its checksum differs)"


def _checksum(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            crc = zlib.crc32(block, crc)
    return crc
