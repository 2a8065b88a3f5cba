# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Datasets that are arrays by name with a row a step: what HDF5 files and Zarr stores of others have in common.

What a column is follows from its shape and type in the first episode that can be read: numbers are (rows,) or (rows,
n); images uint8 (rows, height, width, 3), the same of floats, or JPEG and PNG files, one a row; depth has one channel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.importing.images import decode_files, is_image_file, size_of_file
from hpt_ros.dataset.importing.source import (
    ACTIONS,
    STATES,
    TEXTS,
    Frames,
    Image,
    SourceEpisode,
    Unread,
    choose_columns,
    label_of,
    split_by_task,
    to_name,
    whole_fps,
)
from hpt_ros.embodiment.estimates import make_unique
from hpt_ros.errors import Code

# Prefixes of columns that say nothing in the name of a view.
_PREFIXES = ("observations/images/", "observations/", "observation/", "obs/", "images/")
# A picture has at least so many pixels on a side; smaller arrays of three dimensions are numbers.
_LEAST_PX = 8
_BLOCK = 32  # rows of images that are read at a time


class _Kind(Enum):
    """What a column is; files are images as JPEG or PNG."""

    NUMBERS, PIXELS, FILES, DEPTH, TEXTS = range(5)


@dataclass(frozen=True, slots=True)
class Stored:
    """An episode's arrays, opened.

    Attributes:
        columns: name to an array of h5py or zarr.
        rows: the episode's rows in them; all if None.
        task: task text; may be empty.
    """

    columns: Mapping[str, Any]
    rows: range | None = None
    task: str = ""


Opener = tuple[str, Callable[[], Stored]]  # an episode's name, and what opens it


class ArraySource:
    """A dataset of arrays.

    Args:
        where: what it is, for messages.
        openers: its episodes.
        fps: rows a second as the caller states it; None if not.
        stated_fps: rows a second as the dataset states it; None if it does not.
        action, state: columns that make the vectors, in this order; the usual ones if None, no state if empty.

    Raises:
        DatasetError: no episode can be read, or columns are not there.
    """

    def __init__(
        self,
        where: str,
        openers: Sequence[Opener],
        fps: float | None,
        stated_fps: float | None,
        action: Sequence[str] | None,
        state: Sequence[str] | None,
    ) -> None:
        self.where, self.robot, self._openers = where, "", openers
        name, stored = self._first()
        columns = stored.columns
        length = _length(name, columns, action)
        kinds = {key: _kind(columns[key], length) for key in columns}
        vectors = {
            key: int(np.prod(columns[key].shape[1:])) for key, kind in kinds.items() if kind is _Kind.NUMBERS
        }
        self._action = choose_columns(where, vectors, action, ACTIONS, "action")
        self._state = choose_columns(where, vectors, state, STATES, "state")
        self._dims = {key: vectors[key] for key in (*self._action, *self._state)}
        self.fps, self.notes = whole_fps(stated_fps, fps, "the dataset states")
        self.action_names, self.state_names = self._names(self._action), self._names(self._state)
        self.labels = {label_of(key): key for key, dim in vectors.items() if dim == 1 and label_of(key)}
        images = [key for key, kind in kinds.items() if kind in (_Kind.PIXELS, _Kind.FILES)]
        views = make_unique([to_name(_shorten(key)) for key in images])
        self._images = dict(zip(views, images, strict=True))
        self.views = {view: _size(name, columns[key], stored.rows) for view, key in self._images.items()}
        self.depths: dict[str, tuple[int, int]] = {}
        self._text = next(
            (
                key
                for end in TEXTS
                for key, kind in kinds.items()
                if kind is _Kind.TEXTS and key.split("/")[-1] == end
            ),
            "",
        )
        taken = {*self._dims, *images, *self.labels.values(), self._text}
        self.left_out = [
            f"{key} (depth)" if kind is _Kind.DEPTH else key
            for key, kind in kinds.items()
            if key not in taken
        ]

    def episodes(self) -> Iterator[Unread]:
        """Yield all episodes, in order; each is read when it is asked for."""
        for name, opener in self._openers:
            yield Unread(name, partial(self._read, name, opener))

    def _first(self) -> tuple[str, Stored]:
        failed: DatasetError | None = None
        for name, opener in self._openers:
            try:
                return name, opener()
            except DatasetError as error:
                failed = failed or error
        raise failed or DatasetError(
            Code.EMPTY, self.where, problem="has no episode", remedy="give the folder or file of a dataset",
        )  # fmt: skip

    def _names(self, columns: Sequence[str]) -> list[str]:
        return make_unique(
            [
                to_name(_shorten(column)) + (f"_{index}" if self._dims[column] > 1 else "")
                for column in columns
                for index in range(self._dims[column])
            ]
        )

    def _read(self, name: str, opener: Callable[[], Stored]) -> list[SourceEpisode]:
        stored = opener()
        columns = stored.columns
        rows = stored.rows if stored.rows is not None else range(_length(name, columns, self._action))
        for key in (*self._dims, *self._images.values(), *self.labels.values()):
            if key not in columns or len(columns[key].shape) < 1 or columns[key].shape[0] < rows.stop:
                raise DatasetError(
                    Code.WRONG_SHAPE, name, len(rows), problem=f"has no {{value}} rows in {key!r}",
                    remedy="leave it out with --skip-bad, or copy the dataset again",
                )  # fmt: skip

        def numbers(keys: Sequence[str]) -> NDArray[np.float64]:
            parts = [_numbers(name, key, columns[key], rows, self._dims.get(key, 1)) for key in keys]
            return np.concatenate(parts, axis=1) if parts else np.zeros((len(rows), 0))

        def frames(start: int, stop: int) -> dict[str, Frames]:
            part = range(rows.start + start, rows.start + stop)
            return {
                view: partial(_decode, name, view, self.views[view], columns[key], part)
                for view, key in self._images.items()
            }

        texts = [stored.task] * len(rows)
        if self._text and self._text in columns:
            with reading(name):
                values = np.asarray(columns[self._text][rows.start : rows.stop]).reshape(-1)
            texts = [_text(value) for value in values] if len(values) == len(rows) else texts
        labels = {label: numbers([key])[:, 0] for label, key in self.labels.items()}
        return split_by_task(name, texts, numbers(self._state), numbers(self._action), labels, frames)


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn whatever h5py, zarr and their codecs raise for damaged data, which no document states, into one sentence."""
    try:
        yield
    except DatasetError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:160]
        raise DatasetError(
            Code.UNREADABLE, name, cause=f"{type(error).__name__}: {text}",
            remedy="leave it out with --skip-bad, or copy the dataset again",
        ) from error  # fmt: skip


def _length(name: str, columns: Mapping[str, Any], action: Sequence[str] | None) -> int:
    usual = [key for keys in ACTIONS for key in keys]
    key = next((key for key in (action or usual) if key in columns and columns[key].shape), None)
    if key is None:
        numbers = ", ".join(key for key in columns if columns[key].dtype.kind in "fiu")[:800]
        raise DatasetError(
            Code.UNKNOWN, name, list(action or usual),
            problem=f"has no column {' or '.join(action or usual)}; its columns are {numbers or 'none'}",
            remedy="name some with --action",
        )  # fmt: skip
    return int(columns[key].shape[0])


def _kind(column: Any, length: int) -> _Kind | None:
    """Return what a column is; None for what is none of these."""
    shape, dtype = column.shape, column.dtype
    if not shape or shape[0] < length or not length:
        return None
    with reading("a column"):
        first = column[0]
    if dtype.kind in "OSU":
        if _bytes(first) is not None:
            return _Kind.FILES
        return _Kind.TEXTS if isinstance(first, (bytes, str)) else None
    if dtype.kind not in "fiub":
        return None
    if dtype == np.uint8 and len(shape) == 2 and _bytes(first) is not None:
        return _Kind.FILES
    sides = shape[1:]
    if len(sides) == 3 and 3 in (sides[0], sides[2]) and min(sorted(sides)[1:]) >= _LEAST_PX:
        return _Kind.PIXELS
    if ((len(sides) == 3 and 1 in (sides[0], sides[2])) or len(sides) == 2) and sorted(sides)[
        -2
    ] >= _LEAST_PX:
        return _Kind.DEPTH
    return _Kind.NUMBERS if len(sides) <= 2 else None


def _bytes(value: Any) -> bytes | None:
    """Return a JPEG or PNG file in a row: bytes, or an array of them; None if it is none."""
    data = (
        value.astype(np.uint8).tobytes()
        if isinstance(value, np.ndarray) and value.dtype.kind in "iu"
        else value
    )
    return bytes(data) if isinstance(data, bytes) and is_image_file(bytes(data)) else None


def _size(name: str, column: Any, rows: range | None) -> tuple[int, int]:
    if len(column.shape) == 4:
        _, height, width, channels = column.shape
        return (width, channels) if channels != 3 else (height, width)
    with reading(name):
        data = _bytes(column[rows.start if rows else 0])
    return size_of_file(data or b"", name)


def _numbers(name: str, key: str, column: Any, rows: range, dim: int) -> NDArray[np.float64]:
    with reading(name):
        values = np.asarray(column[rows.start : rows.stop])
        found: NDArray[np.float64] = values.reshape(len(rows), -1).astype(np.float64)
    if found.shape[1] != dim:
        raise DatasetError(
            Code.WRONG_SHAPE, name, found.shape[1], problem=f"has {{value}} numbers a row in {key!r}",
            expected=f"{dim}, as in the first episode", remedy="leave it out with --skip-bad",
        )  # fmt: skip
    return found


def _decode(name: str, view: str, size: tuple[int, int], column: Any, rows: range) -> Iterator[Image]:
    if len(column.shape) != 4:
        yield from decode_files(name, view, size, (_file(name, view, column, row) for row in rows))
        return
    for start in range(rows.start, rows.stop, _BLOCK):
        with reading(name):
            block = np.asarray(column[start : min(start + _BLOCK, rows.stop)])
        if block.shape[3] != 3:
            block = block.transpose(0, 2, 3, 1)
        if block.dtype.kind == "f":  # 0 to 1, or 0 to 255
            block = np.rint(block * (255.0 if np.nanmax(block) <= 1.0 else 1.0))
            if not ((block >= 0) & (block <= 255)).all():
                raise DatasetError(
                    Code.OUT_OF_RANGE, name, view, problem="has images of view {value} with values beyond 0 to 255",
                    remedy="leave it out with --skip-bad",
                )  # fmt: skip
        if block.shape[1:3] != size:
            raise DatasetError(
                Code.WRONG_SHAPE, name, block.shape[1:3],
                problem=f"has images of view {view!r} of {block.shape[1]}x{block.shape[2]}",
                expected=f"{size[0]}x{size[1]}, as in the first episode", remedy="leave it out with --skip-bad",
            )  # fmt: skip
        yield from block.astype(np.uint8)


def _file(name: str, view: str, column: Any, row: int) -> bytes:
    with reading(name):
        data = _bytes(column[row])
    if data is None:
        raise DatasetError(
            Code.UNREADABLE, name, view, problem=f"has no JPEG or PNG image of view {{value}} in row {row}",
            remedy="leave it out with --skip-bad",
        )  # fmt: skip
    return data


def _shorten(column: str) -> str:
    prefix = next((prefix for prefix in _PREFIXES if column.startswith(prefix)), "")
    return column.removeprefix(prefix)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace").strip() if isinstance(value, bytes) else str(value).strip()
