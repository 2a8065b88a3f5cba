# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One large array on disk, memory-mapped: its folder is complete or absent, and its checksum is verified when opened.

The folder's name depends on all that the array was made from, so one that is there is the one that would be made again.
It is built beside its place and renamed when complete. Verifying it also brings it into the page cache, before
training reads its rows in random order.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable
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
    place = root.absolute()
    return place.with_name(place.name + ".cache")


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
) -> MappedArray:
    """Open the array in `folder`; build it first when it is absent, incomplete or damaged.

    Args:
        folder: its place.
        file: the name of the file with its values, C order, without a header.
        dtype: of its values.
        form: how the values were made, for the record beside them.
        shape: the array's; None to take the record's.
        build: writes the values to the path that it is given and returns their shape.

    Raises:
        DatasetError: the folder cannot be written; and what `build` raises.
    """
    rebuilt = ""
    if folder.exists():
        record, problem = _read(folder, file, np.dtype(dtype), shape)
        if not problem:
            return MappedArray(folder, _map(folder / file, dtype, record), "", False)
        rebuilt = f"the cache {str(folder)!r} {problem}, so it was built again"
        shutil.rmtree(folder)
    work = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        built = build(work / file)
        content = {"format": form, "shape": list(built), "crc32": _checksum(work / file)}
        (work / RECORD).write_text(json.dumps(content) + "\n", encoding="utf-8")
        try:
            work.rename(folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            # Another process was quicker: its content is the same.
    except OSError as error:
        raise DatasetError(
            Code.UNWRITABLE, f"the cache {str(folder)!r}", cause=error,
            remedy="make room or name another folder with --cache",
        ) from error  # fmt: skip
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return MappedArray(folder, _map(folder / file, dtype, built), rebuilt, True)


def _map(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    values: NDArray[Any] = np.memmap(path, dtype=dtype, mode="r", shape=shape)
    return values


def _read(
    folder: Path, file: str, dtype: np.dtype[Any], shape: tuple[int, ...] | None
) -> tuple[tuple[int, ...], str]:
    """Return the array's shape, and why it cannot be used; the latter is empty if it can."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        size = (folder / file).stat().st_size
        found = tuple(int(length) for length in record["shape"])
        checksum = record["crc32"]
    except (OSError, ValueError, TypeError, KeyError):
        return (), "is incomplete"
    if (shape is not None and found != shape) or size != dtype.itemsize * np.prod(found, dtype=np.int64):
        return (), "is incomplete"
    return found, "" if checksum == _checksum(folder / file) else "is damaged (its checksum differs)"


def _checksum(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            crc = zlib.crc32(block, crc)
    return crc
