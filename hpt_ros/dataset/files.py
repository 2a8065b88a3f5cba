# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Writes the files of a LeRobotDataset v3.0: parquet, mp4, JSON; and moves a folder to its location at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.layout import (
    DATA_FILE_MB,
    DATA_PATH,
    TASK_TEXT,
    VIDEO_FILE_MB,
    VIDEO_PATH,
    FileIndex,
    features_of,
)
from hpt_ros.dataset.video import LEAST_CODED_PX, Concatenation
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code

_MB = 1024 * 1024
_GROUP_MB = 32  # rows of large arrays written at a time


def check_video_sizes(embodiment: Embodiment, coded: bool = False) -> None:
    """Raise DatasetError if a stream's size cannot be encoded: H.264 with halved colour needs even sizes.

    With `coded`, depth is encoded as well, by an encoder that takes no images of fewer than `LEAST_CODED_PX`.
    """
    for name, feature in features_of(embodiment, coded).items():
        if feature.coded and min(feature.shape) < LEAST_CODED_PX:
            raise DatasetError(
                Code.OUT_OF_RANGE, f"feature {name!r}", feature.shape,
                problem=f"has depth of {feature.shape[0]}x{feature.shape[1]}",
                expected=f"at least {LEAST_CODED_PX} pixels either way for its video",
                remedy="change the size in the embodiment file, or keep depth in rows",
            )  # fmt: skip
    for stream in embodiment.image_streams:
        assert stream.image is not None
        if stream.image.height % 2 or stream.image.width % 2:
            raise DatasetError(
                Code.INVALID, f"stream {stream.name!r}", (stream.image.height, stream.image.width),
                problem=f"has images of {stream.image.height}x{stream.image.width}",
                expected="an even height and width, which the video needs",
                remedy="change the size in the embodiment file",
            )  # fmt: skip


class DataFiles:
    """Parquet files of rows; an episode lies in one of them."""

    def __init__(self, folder: Path, schema: pa.Schema, last: FileIndex | None = None) -> None:
        self._folder, self._schema = folder, schema
        self._index = FileIndex(0, 0) if last is None else last.after()
        self._writer: Any = None
        self._path = folder
        self._uncompressed = 0

    def append(self, columns: Mapping[str, NDArray[Any]]) -> FileIndex:
        """Write an episode's rows; return the file where they went."""
        if self._writer is not None and self._uncompressed >= DATA_FILE_MB * _MB:
            self.close()
            self._index = self._index.after()
        if self._writer is None:
            self._path = self._folder / self._index.path(DATA_PATH)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, self._schema, compression="snappy")
            self._uncompressed = 0
        length = len(columns["index"])
        row_bytes = sum(values[:1].nbytes for values in columns.values())
        step = max(1, _GROUP_MB * _MB // row_bytes)  # an episode of vectors goes in one piece
        for start in range(0, length, step):
            rows = slice(start, start + step)
            arrays = [_column(field.type, columns[field.name][rows]) for field in self._schema]
            table = pa.Table.from_arrays(arrays, schema=self._schema)
            self._writer.write_table(table)
            self._uncompressed += table.nbytes
        return self._index

    def close(self) -> None:
        """Finish the present file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class VideoFiles:
    """mp4 files of one feature; an episode lies in one of them."""

    def __init__(self, folder: Path, key: str, fps: int, last: FileIndex | None = None) -> None:
        self._folder, self._key, self._fps = folder, key, fps
        self._index = FileIndex(0, 0) if last is None else last.after()
        self._file: Concatenation | None = None

    def append(self, segment: Path, length: int) -> tuple[FileIndex, int]:
        """Append a segment; return its file and the number of its first frame there."""
        if self._file is not None and self._file.size_bytes >= VIDEO_FILE_MB * _MB:
            self.close()
            self._index = self._index.after()
        if self._file is None:
            path = self._folder / self._index.path(VIDEO_PATH, video_key=self._key)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = Concatenation(path, self._fps)
        first = self._file.frames
        count = self._file.append(segment)
        if count != length:
            raise DatasetError(
                Code.DAMAGED, f"video of {self._key}", count, problem=f"has {{value}} frames for {length} ticks",
                remedy="look whether the disk is full, and convert again",
            )  # fmt: skip
        segment.unlink()
        return self._index, first

    def close(self) -> None:
        """Finish the present file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _column(kind: pa.DataType, values: NDArray[Any]) -> pa.Array:
    flat = pa.array(values.reshape(-1), _element(kind))
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(flat, kind.list_size)
    lengths = values.shape[1:] if pa.types.is_list(kind) else ()
    for length in reversed(lengths):
        flat = pa.ListArray.from_arrays(pa.array(range(0, len(flat) + 1, length), pa.int32()), flat)
    return flat


def _element(kind: pa.DataType) -> pa.DataType:
    while pa.types.is_nested(kind):
        kind = kind.value_type
    return kind


def write_tasks(path: Path, tasks: Sequence[str]) -> None:
    """Write task texts as pandas stores them: LeRobot looks a task up by the frame's index."""
    described = [
        {
            "name": "task_index",
            "field_name": "task_index",
            "pandas_type": "int64",
            "numpy_type": "int64",
            "metadata": None,
        },
        {
            "name": None,
            "field_name": TASK_TEXT,
            "pandas_type": "unicode",
            "numpy_type": "object",
            "metadata": None,
        },
    ]
    header = {
        "name": None,
        "field_name": None,
        "pandas_type": "unicode",
        "numpy_type": "object",
        "metadata": {"encoding": "UTF-8"},
    }
    pandas = {
        "index_columns": [TASK_TEXT],
        "column_indexes": [header],
        "columns": described,
        "pandas_version": "2.2.0",
    }
    schema = pa.schema(
        [pa.field("task_index", pa.int64()), pa.field(TASK_TEXT, pa.string())],
        metadata={"pandas": json.dumps(pandas)},
    )
    table = pa.Table.from_arrays(
        [pa.array(range(len(tasks)), pa.int64()), pa.array(tasks, pa.string())], schema=schema
    )
    pq.write_table(table, path, compression="snappy")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that any reader takes: no NaN, UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(content, indent=4, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
