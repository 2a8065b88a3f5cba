# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Columns of a dataset's parquet files as arrays: small ones in memory, large ones on disk.

Depth images and point clouds of an hour do not fit into memory, and parquet cannot be read in random order. They are
written out once, when they are first asked for, to the folder of the frame cache and memory-mapped from there.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.layout import Feature
from hpt_ros.dataset.memmap_cache import cache_beside, digest_of, open_mapped
from hpt_ros.dataset.recognise import unreadable
from hpt_ros.dataset.tables import numbers
from hpt_ros.dataset.video_reader import CodedVideos
from hpt_ros.errors import Code

COLUMN_FORMAT = "hpt_ros/column/1"
_BATCH_BYTES = 1 << 24  # read at a time while a large column is written out


@dataclass(frozen=True)
class MappedColumns:
    """The large columns of a dataset, each written out and memory-mapped when it is asked for.

    Attributes:
        root: the dataset's folder.
        files: its data files, in the order of their rows.
        features: name to feature of the large columns.
        rows: of all files.
        cache_root: folder that holds caches; beside the dataset if None.
        coded: those of them that lie in videos of codes, not in the data files.
    """

    root: Path
    files: tuple[Path, ...]
    features: Mapping[str, Feature]
    rows: int
    cache_root: str | Path | None
    coded: Mapping[str, CodedVideos] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    _opened: dict[str, NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)

    def open(self, name: str) -> NDArray[Any]:
        """Return the column, (N, *shape) of its dtype, read-only.

        Raises:
            DatasetError: a data file or video is damaged, or the cache cannot be written.
        """
        with self._lock:
            if name not in self._opened:
                self._opened[name] = self._open(name)
            return self._opened[name]

    def _open(self, name: str) -> NDArray[Any]:
        feature = self.features[name]
        shape = (self.rows, *feature.shape)
        videos = self.coded.get(name)
        settings = (COLUMN_FORMAT, name, feature.dtype, str(shape))
        if videos is None:
            digest = digest_of(self.files, self.root, *settings)
        else:
            digest = digest_of(videos.files, self.root, *settings, videos.settings(self.root))
        base = Path(self.cache_root) if self.cache_root is not None else cache_beside(self.root)
        stored = open_mapped(
            base / f"{name.rpartition('.')[2]}-{digest[:16]}",
            "values.bin",
            feature.dtype,
            f"{COLUMN_FORMAT} {name} {feature.dtype}",
            shape,
            lambda path: self._write(path, name, feature),
        )
        return stored.values

    def _write(self, path: Path, name: str, feature: Feature) -> tuple[int, ...]:
        dtype = np.dtype(feature.dtype)
        values = np.memmap(path, dtype=dtype, mode="w+", shape=(self.rows, *feature.shape))
        if name in self.coded:
            self.coded[name].write(values)
            values.flush()
            return self.rows, *feature.shape
        batch_rows = max(1, _BATCH_BYTES // (math.prod(feature.shape) * dtype.itemsize))
        row = 0
        for file in self.files:
            try:
                with pq.ParquetFile(file) as table:
                    for batch in table.iter_batches(batch_rows, columns=[name]):
                        block = _block(file, name, batch.column(0), dtype, feature.shape, row)
                        values[row : row + len(block)] = block
                        row += len(block)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise unreadable(file, "read as parquet", error) from error
        values.flush()
        return self.rows, *feature.shape


@dataclass(frozen=True)
class LazyArrays(Mapping[str, NDArray[Any]]):
    """Feature name to array (N, *shape): vectors in memory, and `MappedColumns`."""

    vectors: Mapping[str, NDArray[np.float32]]
    stored: MappedColumns

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.stored.open(name) if name in self.stored.features else self.vectors[name]

    def __contains__(self, name: object) -> bool:
        return name in self.vectors or name in self.stored.features  # without opening what is stored

    def __iter__(self) -> Iterator[str]:
        yield from self.vectors
        yield from self.stored.features

    def __len__(self) -> int:
        return len(self.vectors) + len(self.stored.features)


def read_vectors(
    root: Path, tables: Sequence[pa.Table], name: str, dim: int, episode_index: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return a column of vectors in some tables, one after another, as float32 (rows, dim).

    Raises:
        DatasetError: no numbers, another length, or a value that is not finite.
    """
    found = np.concatenate([numbers(table, name, dim, f"dataset {str(root)!r}") for table in tables])
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(found, dtype=np.float32)
    if not np.isfinite(values).all():
        row, column = (int(item) for item in np.argwhere(~np.isfinite(values))[0])
        raise DatasetError(
            Code.NOT_FINITE, f"dataset {str(root)!r}, episode {episode_index[row]}, row {row}", found[row, column],
            problem=f"has {{value}} in column {name!r} at {column}", expected="finite numbers",
            remedy="remove that episode",
        )  # fmt: skip
    return values


def _block(
    path: Path, name: str, column: pa.Array, dtype: np.dtype[Any], shape: tuple[int, ...], first_row: int
) -> NDArray[Any]:
    """Return some rows of a nested column as an array (rows, *shape)."""
    rows, flat = len(column), column
    while pa.types.is_nested(flat.type) and not pa.types.is_struct(flat.type):
        flat = flat.flatten()
    if not (pa.types.is_integer(flat.type) or pa.types.is_floating(flat.type)):
        raise DatasetError(
            Code.WRONG_TYPE, repr(str(path)), str(flat.type),
            problem=f"has values of type {flat.type} in column {name!r}", expected="numbers",
            remedy="convert the bags again",
        )  # fmt: skip
    if len(flat) != rows * math.prod(shape) or flat.null_count:
        raise DatasetError(
            Code.WRONG_SHAPE, repr(str(path)), len(flat) - flat.null_count,
            problem=f"has {{value}} values in {rows} rows of column {name!r} from row {first_row}",
            expected=f"{math.prod(shape)} a row", remedy="convert the bags again",
        )  # fmt: skip
    values = flat.cast(pa.from_numpy_dtype(dtype)).to_numpy(zero_copy_only=False).reshape(rows, *shape)
    if not np.isfinite(values).all():
        row = first_row + int(np.argwhere(~np.isfinite(values))[0][0])
        raise DatasetError(
            Code.NOT_FINITE, repr(str(path)), row,
            problem=f"has values that are not finite in column {name!r}, row {row}", expected="finite numbers",
            remedy="remove that episode",
        )  # fmt: skip
    block: NDArray[Any] = values
    return block
