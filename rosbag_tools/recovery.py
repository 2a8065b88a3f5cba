"""MCAP files without an end: where their last whole record stops, and a view of them that a reader accepts.

A recorder that was killed, or a copy that was cut short, leaves records without summary and footer. MCAP allows a
file without a summary, so the whole records followed by an empty footer are a valid file; nothing is copied.
Format: https://mcap.dev/spec (magic, then records of one opcode byte and a length of eight bytes, little endian).
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any, BinaryIO

MAGIC = b"\x89MCAP0\r\n"
_FOOTER_OPCODE, _DATA_END_OPCODE = 0x02, 0x0F
_FOOTER = bytes([_FOOTER_OPCODE]) + struct.pack("<QQQI", 20, 0, 0, 0) + MAGIC


def is_mcap(path: Path) -> bool:
    """True if the file begins like MCAP."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def is_complete(path: Path) -> bool:
    """True if the file ends as MCAP must."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        if size < 2 * len(MAGIC):
            return False
        file.seek(-len(MAGIC), io.SEEK_END)
        return file.read() == MAGIC


def whole_records_end(path: Path) -> int:
    """Offset behind the last whole record of the data section."""
    size = path.stat().st_size
    end = len(MAGIC)
    with path.open("rb") as file:
        while True:
            file.seek(end)
            head = file.read(9)
            if len(head) < 9:
                return end
            opcode, length = struct.unpack("<BQ", head)
            if opcode in (0, _FOOTER_OPCODE, _DATA_END_OPCODE) or end + 9 + length > size:
                return end
            end += 9 + length


class RecoveredMcap:
    """Stands in for the path of a cut MCAP file: opens as its whole records and an empty footer.

    `rosbags` takes any object with a path's reading methods.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.kept_bytes = whole_records_end(path)
        self.lost_bytes = path.stat().st_size - self.kept_bytes

    @property
    def name(self) -> str:
        """The file's name."""
        return self._path.name

    @property
    def suffix(self) -> str:
        """The file's suffix, which tells the reader the format."""
        return self._path.suffix

    def exists(self) -> bool:
        """True: the file was read when this object was made."""
        return self._path.exists()

    def is_dir(self) -> bool:
        """False: it is a file."""
        return False

    def open(self, mode: str = "rb") -> BinaryIO:
        """A seekable stream of the whole records and the footer."""
        assert mode == "rb"
        return io.BufferedReader(_Prefix(self._path, self.kept_bytes, _FOOTER))

    def __str__(self) -> str:
        return str(self._path)


class _Prefix(io.RawIOBase):
    """The first bytes of a file, followed by a few others."""

    def __init__(self, path: Path, length: int, tail: bytes) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._length = length
        self._tail = tail
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length + len(self._tail)}[
            whence
        ]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._position < self._length:
            self._file.seek(self._position)
            data = self._file.read(min(len(buffer), self._length - self._position)) or b""
        else:
            data = self._tail[self._position - self._length :][: len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
