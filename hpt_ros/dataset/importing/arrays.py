# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Datasets that are arrays by name with a row a step: what HDF5 files and Zarr stores of others have in common.

What a column is follows from its shape and type in the first episode that can be read and has rows (`array_columns`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.importing.array_columns import (
    COPY_AGAIN,
    Images,
    What,
    kind_of,
    numbers_of,
    reading,
    size_of,
    text_of,
)
from hpt_ros.dataset.importing.row_order import odd_steps
from hpt_ros.dataset.importing.source import (
    ACTIONS,
    STATES,
    TEXTS,
    Frames,
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
# Last part of the names of columns of the rows' times, in seconds.
_TIMES = ("timestamp", "timestamps", "time")


@dataclass(frozen=True, slots=True)
class Stored:
    """An episode's arrays, opened.

    Attributes:
        columns: name to an array of h5py or zarr.
        rows: the episode's rows in them; all if None.
        task: task text; may be empty.
        broken: name to why an array cannot be opened.
    """

    columns: Mapping[str, Any]
    rows: range | None = None
    task: str = ""
    broken: Mapping[str, str] = field(default_factory=dict)


Opener = tuple[str, Callable[[], Stored]]  # an episode's name, and what opens it


class ArraySource:
    """A dataset of arrays.

    Args:
        where: what it is, for messages.
        openers: its episodes.
        fps: rows a second as the caller states it; None if not.
        stated_fps: rows a second as the dataset states it; None if it does not.
        action, state: columns that make the vectors, in this order; the usual ones if None, no state if empty.
        notes: what people should know of how it was opened.

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
        notes: Sequence[str] = (),
    ) -> None:
        self.where, self.robot, self._openers = where, "", openers
        name, stored = self._first(action)
        columns = stored.columns
        length = _length(name, stored, action)
        kinds = {key: kind_of(f"{key!r} of {name}", columns[key], length) for key in columns}
        vectors = {
            key: int(np.prod(columns[key].shape[1:]))
            for key, kind in kinds.items()
            if kind.what is What.NUMBERS
        }
        others = {key: kind.reason or "no numbers" for key, kind in kinds.items() if key not in vectors}
        others.update(stored.broken)
        self._action = choose_columns(where, vectors, action, ACTIONS, "action", others)
        self._state = choose_columns(where, vectors, state, STATES, "state", others)
        self._dims = {key: vectors[key] for key in (*self._action, *self._state)}
        self.fps, stated_notes = whole_fps(stated_fps, fps, "the dataset states")
        self.notes = [*notes, *stated_notes]
        self._noted: set[str] = set()
        self._times = next(
            (
                key
                for key, dim in vectors.items()
                if dim == 1 and key.split("/")[-1] in _TIMES and columns[key].dtype.kind == "f"
            ),
            "",
        )
        self.action_names, self.state_names = self._names(self._action), self._names(self._state)
        self.labels = {label_of(key): key for key, dim in vectors.items() if dim == 1 and label_of(key)}
        images = [key for key, kind in kinds.items() if kind.what in (What.PIXELS, What.FILES)]
        views = make_unique([to_name(_shorten(key)) for key in images])
        self._images = dict(zip(views, images, strict=True))
        row = stored.rows.start if stored.rows else 0
        self.views = {view: size_of(name, columns[key], row) for view, key in self._images.items()}
        self._decoders = {view: Images(view, size, self._note) for view, size in self.views.items()}
        self.depths: dict[str, tuple[int, int]] = {}
        self._text = next(
            (
                key
                for end in TEXTS
                for key, kind in kinds.items()
                if kind.what is What.TEXTS and key.split("/")[-1] == end
            ),
            "",
        )
        taken = {*self._dims, *images, *self.labels.values(), self._text}
        self._known = frozenset((*kinds, *stored.broken))
        self.left_out = [
            f"{key} ({kind.reason})" if kind.reason else key
            for key, kind in kinds.items()
            if key not in taken
        ] + [f"{key} ({reason})" for key, reason in stored.broken.items()]

    def _note(self, text: str, subject: str) -> None:
        """Add a note; of many episodes that have it, the first is named."""
        if subject not in self._noted:
            self._noted.add(subject)
            self.notes.append(text)

    def episodes(self) -> Iterator[Unread]:
        """Yield all episodes, in order; each is read when it is asked for."""
        for name, opener in self._openers:
            yield Unread(name, partial(self._read, name, opener))

    def _first(self, action: Sequence[str] | None) -> tuple[str, Stored]:
        """Return the first episode that can be read and has rows; the first of those without rows, if all are."""
        failed: DatasetError | None = None
        empty: tuple[str, Stored] | None = None
        for name, opener in self._openers:
            try:
                stored = opener()
                if _rows(name, stored, action):
                    return name, stored
                empty = empty or (name, stored)
            except DatasetError as error:
                failed = failed or error
        if empty is not None:
            return empty
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
        rows = _rows(name, stored, self._action)
        for key in (*self._dims, *self._images.values(), *self.labels.values()):
            self._require_rows(name, stored, key, rows.stop)
        if more := [key for key in columns if key not in self._known]:
            listed = ", ".join(more[:20])
            self._note(
                f"{name} has columns that the first episode has not, which are not taken: {listed}", listed
            )

        def numbers(keys: Sequence[str]) -> NDArray[np.float64]:
            parts = [numbers_of(name, key, columns[key], rows, self._dims.get(key, 1)) for key in keys]
            return np.concatenate(parts, axis=1) if parts else np.zeros((len(rows), 0))

        def frames(start: int, stop: int) -> dict[str, Frames]:
            part = range(rows.start + start, rows.start + stop)
            return {
                view: partial(self._decoders[view].decode, name, columns[key], part)
                for view, key in self._images.items()
            }

        if self._times and self._times in columns and columns[self._times].shape[0] >= rows.stop:
            times = numbers_of(name, self._times, columns[self._times], rows, 1)[:, 0]
            if odd := odd_steps(times, self.fps):
                self._note(f"{name}: {odd}, and rows were taken at {self.fps:g} Hz (--fps)", "times")
        texts = [stored.task] * len(rows)
        if self._text and self._text in columns:
            with reading(name):
                values = np.asarray(columns[self._text][rows.start : rows.stop]).reshape(-1)
            texts = [text_of(value) for value in values] if len(values) == len(rows) else texts
        labels = {label: numbers([key])[:, 0] for label, key in self.labels.items()}
        return split_by_task(name, texts, numbers(self._state), numbers(self._action), labels, frames)

    def _require_rows(self, name: str, stored: Stored, key: str, length: int) -> None:
        column = stored.columns.get(key)
        rows = column.shape[0] if column is not None and column.shape else 0
        if rows >= length:
            return
        if column is None:
            reason = f" ({stored.broken[key]})" if key in stored.broken else ""
            raise DatasetError(
                Code.MISSING, name, key, problem=f"has no column {{value}}, which the first episode has{reason}",
                remedy=COPY_AGAIN,
            )  # fmt: skip
        raise DatasetError(
            Code.WRONG_SHAPE, name, rows, problem=f"has {{value}} rows in {key!r}",
            expected=f"{length} for this episode", remedy=COPY_AGAIN,
        )  # fmt: skip


def _rows(name: str, stored: Stored, action: Sequence[str] | None) -> range:
    """Return an episode's rows: those that are stated, or as many as its action has."""
    return range(_length(name, stored, action)) if stored.rows is None else stored.rows


def _length(name: str, stored: Stored, action: Sequence[str] | None) -> int:
    columns, broken = stored.columns, stored.broken
    usual = [key for keys in ACTIONS for key in keys]
    key = next((key for key in (action or usual) if key in columns and columns[key].shape), None)
    if key is None:
        if (lost := next((key for key in (action or usual) if key in broken), None)) is not None:
            raise DatasetError(
                Code.UNREADABLE, name, lost, problem="has an action {value} that cannot be read", cause=broken[lost],
                remedy=COPY_AGAIN,
            )  # fmt: skip
        numbers = ", ".join(key for key in columns if columns[key].dtype.kind in "fiu")[:800]
        raise DatasetError(
            Code.UNKNOWN, name, list(action or usual),
            problem=f"has no column {' or '.join(action or usual)}; its columns are {numbers or 'none'}",
            remedy="name some with --action",
        )  # fmt: skip
    return int(columns[key].shape[0])


def _shorten(column: str) -> str:
    prefix = next((prefix for prefix in _PREFIXES if column.startswith(prefix)), "")
    return column.removeprefix(prefix)
