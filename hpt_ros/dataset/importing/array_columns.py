# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a column of an HDF5 file or a Zarr store is, and its images as uint8 RGB.

Numbers are (rows,) or (rows, n); images are (rows, height, width, 3 or 4) or (rows, 3, height, width), of whole numbers
or floats, or JPEG and PNG files, one a row; depth has one channel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.importing.images import decode_files, is_depth_file, is_image_file, size_of_file
from hpt_ros.dataset.importing.source import Image
from hpt_ros.errors import Code
from hpt_ros.observation.image_files import image_file

# A picture has at least so many pixels on a side; smaller arrays of three dimensions are numbers.
_LEAST_PX = 8
# What can be done about an episode that is damaged.
COPY_AGAIN = "leave it out with --skip-bad, or copy the dataset again"
_BLOCK = 32  # rows of images that are read at a time, and that are looked at for their range


class What(Enum):
    """What a column is; files are images as JPEG or PNG."""

    NUMBERS, PIXELS, FILES, TEXTS, OTHER = range(5)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a column is.

    Attributes:
        what: it is.
        reason: why it is not taken, if it is OTHER; may be empty.
    """

    what: What
    reason: str = ""


@contextlib.contextmanager
def reading(name: str, remedy: str = COPY_AGAIN) -> Iterator[None]:
    """Turn whatever h5py, zarr and their codecs raise for damaged data, which no document states, into one sentence."""
    try:
        yield
    except DatasetError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:160]
        raise DatasetError(
            Code.UNREADABLE, name, cause=f"{type(error).__name__}: {text}", remedy=remedy,
        ) from error  # fmt: skip


def kind_of(name: str, column: Any, length: int) -> Kind:
    """Return what a column is, by its shape, its type, and its first row where these do not tell.

    Args:
        name: of it, for errors.
        column: an array of h5py or zarr.
        length: rows that it must have.

    Raises:
        DatasetError: its first row cannot be read.
    """
    shape, dtype = column.shape, column.dtype
    if not shape:
        return Kind(What.OTHER)
    if shape[0] < length:
        return Kind(What.OTHER, f"{shape[0]} rows where {length} were expected")
    if dtype.names:
        return Kind(What.OTHER, "of several fields a row")
    if dtype.kind in "OSUVT" or (dtype == np.uint8 and len(shape) == 2):
        with reading(name):
            first = column[0]
        if (data := _bytes(first)) is not None:
            return Kind(What.OTHER, "depth") if is_depth_file(data) else Kind(What.FILES)
        if isinstance(first, (bytes, str)):
            return Kind(What.TEXTS)
        if dtype != np.uint8:
            return Kind(What.OTHER)
    if dtype.kind not in "fiub":
        return Kind(What.OTHER)
    return _of_shape(shape[1:], dtype)


def _of_shape(sides: tuple[int, ...], dtype: np.dtype[Any]) -> Kind:
    ends, middle = sides[:1] + sides[-1:], sorted(sides)
    if len(sides) == 3 and (3 in ends or sides[2] == 4) and middle[1] >= _LEAST_PX:
        return Kind(What.PIXELS)
    if len(sides) in (2, 3) and middle[-2] >= _LEAST_PX and (len(sides) == 2 or 1 in ends):
        if dtype == np.uint8:
            return Kind(What.OTHER, "one channel of 8 bits: grey, or coded depth")
        shape = "x".join(map(str, sides))
        return Kind(
            What.OTHER, f"{shape} values a row: depth, or several vectors" if len(sides) == 2 else "depth"
        )
    if len(sides) <= 2:
        return Kind(What.NUMBERS)
    return Kind(What.OTHER, f"{'x'.join(map(str, sides))} values a row")


def size_of(name: str, column: Any, row: int) -> tuple[int, int]:
    """Return (height, width) of a column's images.

    Raises:
        DatasetError: it cannot be read.
    """
    if len(column.shape) == 4:
        _, height, width, channels = column.shape
        return (height, width) if channels in (3, 4) else (width, channels)
    with reading(name):
        data = _bytes(column[row])
    return size_of_file(data or b"", name)


class Images:
    """A column of images: all episodes' are of one range of values, that of the first that is decoded.

    Args:
        view: its name.
        size: (height, width) of the first episode's.
        note: called with what people should know of how they are taken, and what that is about.
    """

    def __init__(self, view: str, size: tuple[int, int], note: Callable[[str, str], None]) -> None:
        self._view, self._size, self._note = view, size, note
        self._scale: tuple[float, float] | None = None  # what is multiplied by, and what is added before

    def decode(self, name: str, column: Any, rows: range) -> Iterator[Image]:
        """Yield the images of an episode's rows, uint8 RGB (height, width, 3).

        Raises:
            DatasetError: an image is damaged or has values beyond 0 to 255; names episode, view and row.
        """
        if len(column.shape) != 4:
            files = (self._file(name, column, row) for row in rows)
            yield from decode_files(name, self._view, self._size, files)
            return
        factor, offset = self._scale_of(name, column)
        for start in range(rows.start, rows.stop, _BLOCK):
            with reading(name):
                block = np.asarray(column[start : min(start + _BLOCK, rows.stop)])
            block = block[..., :3] if block.shape[3] in (3, 4) else block.transpose(0, 2, 3, 1)
            if block.dtype != np.uint8:
                block = np.rint((block.astype(np.float32) + offset) * factor)
                if not ((block >= 0) & (block <= 255)).all():
                    raise DatasetError(
                        Code.OUT_OF_RANGE, name, self._view,
                        problem="has images of view {value} with values beyond 0 to 255",
                        remedy="leave it out with --skip-bad",
                    )  # fmt: skip
            self._compare(name, (block.shape[1], block.shape[2]))
            yield from block.astype(np.uint8)

    def _scale_of(self, name: str, column: Any) -> tuple[float, float]:
        """Return the scale of a column: images of floats are from 0 to 1, -1 to 1 or 0 to 255, of 16 bits from 0 to
        65535; which it is, images from everywhere in the column tell."""
        if column.dtype == np.uint8:
            return 1.0, 0.0
        rows = np.unique(np.linspace(0, column.shape[0] - 1, _BLOCK).astype(int))
        with reading(name):
            seen = np.stack([np.asarray(column[int(row)]) for row in rows])
        least, most = float(np.nanmin(seen)), float(np.nanmax(seen))
        found = (1.0, 0.0)
        if column.dtype.kind == "f" and most <= 1.0:
            found = (127.5, 1.0) if -1.0 <= least < 0.0 else (255.0, 0.0)
        elif most > 255 and column.dtype.kind == "u":
            found = (255.0 / 65535.0, 0.0)
        if self._scale is None:
            self._scale = found
            if found[1]:
                self._note(
                    f"images of view {self._view!r} were taken for values from -1 to 1", f"range {self._view}"
                )
        elif found != self._scale:
            self._note(
                f"images of view {self._view!r} go from {least:g} to {most:g} in {name}, another range than in the "
                "episodes before: they were taken as those",
                f"range {self._view}",
            )
        return self._scale

    def _file(self, name: str, column: Any, row: int) -> bytes:
        with reading(name):
            data = _bytes(column[row])
        if data is None:
            raise DatasetError(
                Code.UNREADABLE, name, self._view, problem=f"has no JPEG or PNG image of view {{value}} in row {row}",
                remedy="leave it out with --skip-bad",
            )  # fmt: skip
        if (file := image_file(data)) is not None and file.width:
            self._compare(name, (file.height, file.width))
        return data

    def _compare(self, name: str, size: tuple[int, int]) -> None:
        if size != self._size:
            self._note(
                f"images of view {self._view!r} are {size[0]}x{size[1]} in {name}, and "
                f"{self._size[0]}x{self._size[1]} in the first episode: they were resized",
                f"{self._view} {size}",
            )


def numbers_of(name: str, key: str, column: Any, rows: range, dim: int) -> NDArray[np.float64]:
    """Return rows of a column of numbers, (length, dim).

    Raises:
        DatasetError: it cannot be read, or a row has another number of values.
    """
    with reading(name):
        values = np.asarray(column[rows.start : rows.stop])
        found: NDArray[np.float64] = values.reshape(len(rows), -1 if values.size else dim).astype(np.float64)
    if found.shape[1] != dim:
        raise DatasetError(
            Code.WRONG_SHAPE, name, found.shape[1], problem=f"has {{value}} numbers a row in {key!r}",
            expected=f"{dim}, as in the first episode", remedy="leave it out with --skip-bad",
        )  # fmt: skip
    return found


def text_of(value: Any) -> str:
    """Return a row of a column of texts."""
    return value.decode("utf-8", "replace").strip() if isinstance(value, bytes) else str(value).strip()


def _bytes(value: Any) -> bytes | None:
    """Return a JPEG or PNG file in a row: bytes, or an array of them; None if it is none."""
    if isinstance(value, np.void):
        value = value.tobytes()
    elif isinstance(value, np.ndarray) and value.dtype.kind in "iu":
        value = value.astype(np.uint8).tobytes()
    return bytes(value) if isinstance(value, bytes) and is_image_file(bytes(value)) else None
