# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Tables and JSON that others wrote, read with a check of every name, type and missing value.

Whatever is not as it should be is one `DatasetError` that names the file, the row, the column and the value; nothing
that a file holds raises anything else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.recognise import POINTER, recognise, unreadable
from hpt_ros.errors import Code, did_you_mean

MOST_JSON_BYTES = 1 << 30  # a report of a hundred thousand episodes is a tenth of it
# Rows of one file: more would be a year of ticks.
_MOST_COUNT = (
    1 << 53
)  # what a double holds exactly: tables of pandas turn whole numbers with gaps into doubles


@dataclass(frozen=True, slots=True)
class Record:
    """A JSON object or a row of a table: values by name, each checked when it is asked for.

    Attributes:
        where: what it is, for messages.
        values: as they were read.
        remedy: what to do if a value is wrong.
    """

    where: str
    values: Mapping[str, Any]
    remedy: str = "copy the dataset again"

    def __contains__(self, name: object) -> bool:
        """Return whether it has a value of this name that is not null."""
        return self.values.get(str(name)) is not None

    def wrong(self, name: str, expected: str) -> DatasetError:
        """Return the error of a value that is not what was expected."""
        if name not in self.values:
            hint = did_you_mean(name, map(str, self.values)).removeprefix("; ")
            return DatasetError(
                Code.MISSING, self.where, name, problem="has no {value}", expected=expected,
                remedy=f"{hint}; {self.remedy}" if hint else self.remedy,
            )  # fmt: skip
        return DatasetError(
            Code.WRONG_TYPE, self.where, self.values[name], problem=f"has {name} = {repr(self.values[name])[:80]}",
            expected=expected, remedy=self.remedy,
        )  # fmt: skip

    def integer(self, name: str, minimum: int = 0) -> int:
        """Return a whole number from `minimum` on; a double without a fraction counts as one."""
        value: Any = self.values.get(name)
        rounded = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not rounded or not abs(value) <= _MOST_COUNT or value != int(value) or value < minimum:
            raise self.wrong(name, f"a whole number from {minimum} on")
        return int(value)

    def number(self, name: str, minimum: float = -math.inf) -> float:
        """Return a finite number from `minimum` on."""
        value: Any = self.values.get(name)
        plain = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not plain or not -_MOST_COUNT <= value <= _MOST_COUNT or value < minimum:
            raise self.wrong(
                name, "a finite number" if minimum == -math.inf else f"a number from {minimum:g} on"
            )
        return float(value)

    def text(self, name: str) -> str:
        """Return a text."""
        value = self.values.get(name)
        if not isinstance(value, str):
            raise self.wrong(name, "a text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts; a single text counts as one of one."""
        value = self.values.get(name)
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
            raise self.wrong(name, "a list of texts")
        return tuple(listed)

    def record(self, name: str) -> Record:
        """Return an object within this one."""
        value = self.values.get(name)
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return Record(f"{self.where}, {name}", value, self.remedy)

    def records(self, name: str) -> list[Record]:
        """Return a list of objects within this one."""
        value = self.values.get(name)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(name, "a list of objects")
        return [Record(f"{self.where}, {name} {i}", item, self.remedy) for i, item in enumerate(value)]


def read_json(path: Path, remedy: str = "copy the dataset again") -> Record:
    """Return the object in a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it cannot be read, or is no object.
    """
    try:
        content = json.loads(_text(path))
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError, RecursionError) as error:
        if recognise(path) is POINTER:
            raise unreadable(path, "read as JSON", error) from error
        raise DatasetError(
            Code.UNREADABLE, repr(str(path)), problem="cannot be read as JSON", cause=error, remedy=remedy,
        ) from error  # fmt: skip
    if not isinstance(content, dict):
        raise DatasetError(
            Code.WRONG_TYPE, repr(str(path)), type(content).__name__, problem=f"is a {type(content).__name__}",
            expected="a JSON object", remedy=remedy,
        )  # fmt: skip
    return Record(repr(str(path)), content, remedy)


def read_json_lines(path: Path) -> list[Record]:
    """Return the objects of a file with one a line.

    Raises:
        DatasetError: it is missing, cannot be read, or a line is no object.
    """
    try:
        lines = [json.loads(line) for line in _text(path).splitlines() if line.strip()]
    except (OSError, ValueError, RecursionError) as error:
        if recognise(path) is POINTER:
            raise unreadable(path, "read as lines of JSON", error) from error
        raise DatasetError(
            Code.UNREADABLE, repr(str(path)), problem="cannot be read as lines of JSON", cause=error,
            remedy="copy the dataset again",
        ) from error  # fmt: skip
    for number, content in enumerate(lines):
        if not isinstance(content, dict):
            raise DatasetError(
                Code.WRONG_TYPE, repr(str(path)), type(content).__name__,
                problem=f"has a {type(content).__name__} in line {number + 1}", expected="a JSON object",
                remedy="copy the dataset again",
            )  # fmt: skip
    return [Record(f"{str(path)!r}, line {number + 1},", content) for number, content in enumerate(lines)]


def _text(path: Path) -> str:
    if path.stat().st_size > MOST_JSON_BYTES:
        raise ValueError(f"it has {path.stat().st_size} bytes, more than the {MOST_JSON_BYTES} allowed")
    return path.read_text(encoding="utf-8-sig")


def read_parquet(
    path: Path, columns: list[str], also: tuple[str, ...] = (), *, every: bool = False
) -> pa.Table:
    """Return some columns of a parquet file, or all of them.

    Args:
        path: the file's.
        columns: those that must be there, and are read.
        also: those that must be there too, but are not read.
        every: read all columns.

    Raises:
        DatasetError: missing, damaged, or without one of the columns.
    """
    try:
        names = pq.read_schema(path).names
        for name in (*columns, *also, *(names if every else ())):
            if names.count(name) != 1:
                wrong = "has twice" if name in names else "lacks"
                raise DatasetError(
                    Code.MISSING, repr(str(path)), name,
                    problem=f"{wrong} the column {{value}}; its columns are {', '.join(names[:12])}",
                    remedy=did_you_mean(name, names).removeprefix("; ")
                    or "copy the dataset again or convert its bags again",
                )  # fmt: skip
        table = pq.ParquetFile(path).read(columns=None if every else columns)
        table.validate(full=True)
    except FileNotFoundError as error:
        raise DatasetError(
            Code.NOT_FOUND, f"the dataset file {str(path)!r}", problem="is missing",
            remedy="copy the dataset again or convert its bags again",
        ) from error  # fmt: skip
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise unreadable(path, "read as parquet", error) from error
    return table


def read_rows(path: Path, columns: list[str], *, every: bool = False) -> Iterator[Record]:
    """Yield the rows of a parquet file; `columns` must be there, and all are read if `every` is true.

    Raises:
        DatasetError: missing, damaged, or without one of the columns.
    """
    table = read_parquet(path, columns, every=every)
    try:
        rows = table.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError, TypeError) as error:
        raise unreadable(path, "read as parquet", error) from error
    for number, row in enumerate(rows):
        yield Record(f"{str(path)!r}, row {number},", row)


def integers(table: pa.Table, name: str, where: str) -> NDArray[np.int64]:
    """Return a column of whole numbers, (rows,).

    Raises:
        DatasetError: it is missing, has nulls, or values of another kind.
    """
    values = numbers(table, name, 1, where)[:, 0]
    with np.errstate(invalid="ignore"):
        rounded = values.astype(np.int64)
    if not (np.abs(values) <= _MOST_COUNT).all() or (rounded != values).any():
        raise DatasetError(
            Code.WRONG_TYPE, where, name, problem="has a column {value} with values that are no whole numbers",
            remedy="copy the dataset again",
        )  # fmt: skip
    return rounded


def numbers(table: pa.Table, name: str, dim: int, where: str) -> NDArray[np.float64]:
    """Return a column of vectors of `dim` numbers, or of plain numbers where `dim` is 1, as float64 (rows, dim).

    Values may be of any kind of number, or logical; not finite ones are passed on.

    Raises:
        DatasetError: it is missing, has nulls, another length, or values that are no numbers.
    """
    if table.column_names.count(name) != 1:
        there = ", ".join(table.column_names[:12])
        raise DatasetError(
            Code.MISSING, where, name, problem=f"has no column {{value}}; its columns are {there}",
            remedy="copy the dataset again",
        )  # fmt: skip
    chunks: list[NDArray[np.float64]] = [np.zeros((0, dim))]
    first = 0
    for chunk in table.column(name).chunks:
        rows = len(chunk)
        chunks.append(_flat(chunk, name, f"{where}, from row {first},", rows * dim).reshape(rows, dim))
        first += rows
    return np.concatenate(chunks)


def _flat(values: pa.Array, name: str, where: str, wanted: int) -> NDArray[np.float64]:
    rows = len(values)
    while pa.types.is_nested(values.type) or isinstance(values, pa.ExtensionArray):
        if isinstance(values, pa.ExtensionArray):
            values = values.storage
            continue
        if not (
            pa.types.is_list(values.type)
            or pa.types.is_large_list(values.type)
            or pa.types.is_fixed_size_list(values.type)
        ):
            break
        if values.null_count:
            raise DatasetError(
                Code.MISSING, where, values.null_count,
                problem=f"has no value in {{value}} places of column {name!r}", remedy="fix the dataset",
            )  # fmt: skip
        # Every row must have as many: what flattening gives has no rows any more.
        lengths = values.value_lengths().unique() if len(values) else []
        if len(lengths) > 1:
            raise DatasetError(
                Code.WRONG_SHAPE, where, lengths,
                problem=f"has vectors of {', '.join(map(str, lengths[:4]))} elements in column {name!r}",
                expected="one length", remedy="fix the dataset",
            )  # fmt: skip
        values = values.flatten()
    kind = values.type
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or not len(values)
    ):
        raise DatasetError(
            Code.WRONG_TYPE, where, str(kind), problem=f"has values of type {kind} in column {name!r}",
            expected="numbers", remedy="fix the dataset",
        )  # fmt: skip
    if values.null_count:
        raise DatasetError(
            Code.MISSING, where, values.null_count, problem=f"has no value in {{value}} places of column {name!r}",
            remedy="fix the dataset",
        )  # fmt: skip
    if len(values) != wanted:
        raise DatasetError(
            Code.WRONG_SHAPE, where, len(values), problem=f"has {{value}} values in {rows} rows of column {name!r}",
            expected=str(wanted), remedy="copy the dataset again",
        )  # fmt: skip
    found: NDArray[np.float64] = np.asarray(values.to_numpy(zero_copy_only=False)).astype(np.float64)
    return found
