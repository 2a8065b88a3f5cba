# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A file as a reader should see it: other bytes at its beginning, a part of it, other bytes at its end."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO


def begins_with(path: Path, magic: bytes) -> bool:
    """True if these are the file's first bytes; raises OSError if it may not be read."""
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


class View:
    """Stands in for the path of a file; nothing is copied.

    `rosbags` takes any object with a path's reading methods.

    Args:
        path: the file.
        stop: where the part of the file ends that is shown.
        tail: what follows it.
        head: what stands in the place of the file's first bytes.
        suffix: the ending that tells the reader the format; the file's own if empty.
    """

    def __init__(self, path: Path, stop: int, tail: bytes, head: bytes = b"", suffix: str = "") -> None:
        self._path, self._head, self._stop, self._tail = path, head, stop, tail
        self.name = path.name
        self.suffix = suffix or path.suffix

    def exists(self) -> bool:
        """True as long as the file is there."""
        return self._path.exists()

    def is_dir(self) -> bool:
        """False: it is a file."""
        return False

    def open(self, mode: str = "rb") -> BinaryIO:
        """A seekable stream of what is shown."""
        assert mode == "rb"
        return io.BufferedReader(_Pieces(self._path, self._head, self._stop, self._tail))

    def __str__(self) -> str:
        return str(self._path)


@dataclass(frozen=True)
class Recovered:
    """A file that was cut short, or has no index, as far as it goes.

    Attributes:
        source: what to hand to a reader.
        lost_bytes: of the file, in what is not whole.
    """

    source: Any
    lost_bytes: int


class _Pieces(io.RawIOBase):
    def __init__(self, path: Path, head: bytes, stop: int, tail: bytes) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._head, self._stop, self._tail = head, stop, tail
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        size = self._stop + len(self._tail)
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        at, wanted = self._position, len(buffer)
        if at < len(self._head):
            data = self._head[at : at + wanted]
        elif at < self._stop:
            self._file.seek(at)
            data = self._file.read(min(wanted, self._stop - at)) or b""
        else:
            data = self._tail[at - self._stop :][:wanted]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
