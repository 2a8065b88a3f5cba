# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The files of a LeRobotDataset v3.0: where they lie, and how each kind is written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.video import Concatenation
from hpt_ros.embodiment import Embodiment, image_feature
from hpt_ros.embodiment.schema import Feature

VERSION = "v3.0"
FILES_PER_CHUNK = 1000
# LeRobot's own limits: a new file is begun when the last one has reached its size.
DATA_FILE_MB, VIDEO_FILE_MB = 100, 200
_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH = f"data/{_FILE}.parquet"
EPISODES_PATH = f"meta/episodes/{_FILE}.parquet"
VIDEO_PATH = f"videos/{{video_key}}/{_FILE}.mp4"
EMBODIMENT_PATH, REPORT_PATH = "meta/hpt/embodiment.yaml", "meta/hpt/report.json"

STATE, WRENCH, ACTION = "observation.state", "observation.wrench", "action"
COUNTERS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_MB = 1024 * 1024
_GROUP_MB = 32  # rows of large arrays written at a time


def whole_fps(embodiment: Embodiment) -> int:
    """The tick rate as the whole number that the format wants.

    Raises:
        DatasetError: it is none.
    """
    if embodiment.tick_hz != int(embodiment.tick_hz) or embodiment.tick_hz < 1:
        raise DatasetError(
            f"embodiment {embodiment.name!r} has tick_hz {embodiment.tick_hz:g}, but LeRobotDataset v3.0 keeps "
            "whole frames per second; choose a whole number of Hz"
        )
    return int(embodiment.tick_hz)


def check_video_sizes(embodiment: Embodiment) -> None:
    """Raise DatasetError if a stream's size cannot be encoded: H.264 with halved colour needs even sizes."""
    for stream in embodiment.image_streams:
        assert stream.image is not None
        if stream.image.height % 2 or stream.image.width % 2:
            raise DatasetError(
                f"stream {stream.name!r} has images of {stream.image.height}x{stream.image.width}, but the video "
                "needs an even height and width; change the size in the embodiment file"
            )


class _FileIndex:
    """Counts files: chunk and file index, from 0, `FILES_PER_CHUNK` in a chunk; begins after `last` if given."""

    def __init__(self, last: tuple[int, int] | None = None) -> None:
        self.chunk, self.file = last or (0, 0)
        if last is not None:
            self.advance()

    def advance(self) -> None:
        self.file += 1
        if self.file >= FILES_PER_CHUNK:
            self.chunk, self.file = self.chunk + 1, 0


class DataFiles:
    """Parquet files of rows; an episode lies in one of them."""

    def __init__(self, folder: Path, schema: pa.Schema, last: tuple[int, int] | None = None) -> None:
        self._folder, self._schema = folder, schema
        self._index = _FileIndex(last)
        self._writer: Any = None
        self._path = folder
        self._uncompressed = 0

    def append(self, columns: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
        """Write an episode's rows; returns chunk index and file index of where they went."""
        if self._writer is not None and self._uncompressed >= DATA_FILE_MB * _MB:
            self.close()
            self._index.advance()
        if self._writer is None:
            self._path = self._folder / DATA_PATH.format(
                chunk_index=self._index.chunk, file_index=self._index.file
            )
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
        return self._index.chunk, self._index.file

    def close(self) -> None:
        """Finish the present file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class VideoFiles:
    """mp4 files of one image stream; an episode lies in one of them."""

    def __init__(self, folder: Path, name: str, fps: int, last: tuple[int, int] | None = None) -> None:
        self._folder, self._key, self._fps = folder, image_feature(name), fps
        self._index = _FileIndex(last)
        self._file: Concatenation | None = None

    def append(self, segment: Path, length: int) -> tuple[int, int, int]:
        """Chunk index, file index, and the number of the segment's first frame in the file."""
        if self._file is not None and self._file.size_bytes >= VIDEO_FILE_MB * _MB:
            self.close()
            self._index.advance()
        if self._file is None:
            place = VIDEO_PATH.format(
                video_key=self._key, chunk_index=self._index.chunk, file_index=self._index.file
            )
            path = self._folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = Concatenation(path, self._fps)
        first = self._file.frames
        count = self._file.append(segment)
        if count != length:
            raise DatasetError(
                f"video of {self._key} has {count} frames for {length} ticks; is the disk full? Convert again"
            )
        segment.unlink()
        return self._index.chunk, self._index.file, first

    def close(self) -> None:
        """Finish the present file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def data_schema(embodiment: Embodiment) -> pa.Schema:
    """Columns of the data files."""
    fields = []
    for name, feature in embodiment.features().items():
        if feature.dtype != "video":
            fields.append(pa.field(name, _type(feature)))
    fields += [pa.field(name, pa.float32() if name == "timestamp" else pa.int64()) for name in COUNTERS]
    return pa.schema(fields)


def _type(feature: Feature) -> pa.DataType:
    kind = pa.from_numpy_dtype(feature.dtype)
    if len(feature.shape) == 1:
        # LeRobot reads a feature of shape (1,) as a plain column.
        return kind if feature.shape == (1,) else pa.list_(kind, *feature.shape)
    for _ in feature.shape:
        kind = pa.list_(kind)  # what is under LeRobot's own columns of several dimensions
    return kind


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
    """Task texts as pandas stores them: LeRobot looks a task up by the frame's index."""
    index = "__index_level_0__"
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
            "field_name": index,
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
        "index_columns": [index],
        "column_indexes": [header],
        "columns": described,
        "pandas_version": "2.2.0",
    }
    schema = pa.schema(
        [pa.field("task_index", pa.int64()), pa.field(index, pa.string())],
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


def flush(folder: Path) -> None:
    """Force every file and folder below to disk, so that the rename cannot come before its content."""
    for parent, _, files in os.walk(folder):
        for path in [Path(parent, name) for name in files] + [Path(parent)]:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def replace(new: Path, place: Path) -> None:
    """Move `new` to `place`; what is there is moved away first and deleted last."""
    old = place.with_name(f"{new.name}.old")
    had = os.path.lexists(place)
    if had:
        place.rename(old)
    try:
        new.rename(place)
    except OSError:
        if had:
            old.rename(place)
        raise
    if had:
        shutil.rmtree(old, ignore_errors=True)
