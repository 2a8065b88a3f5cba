# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Foreign tables: every name, type and missing value that is not as it should be is one sentence."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_ros.dataset import DatasetError
from hpt_ros.dataset.tables import (
    Record,
    integers,
    numbers,
    read_json,
    read_json_lines,
    read_parquet,
    read_rows,
)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(value=ANYTHING)
def test_whatever_a_value_is_expect_it_checked_or_a_sentence(value: Any) -> None:
    record = Record("row 3", {"a": value})
    for get in ("integer", "number", "text", "texts", "record", "records"):
        try:
            found = getattr(record, get)("a")
        except DatasetError as error:
            assert str(error).startswith("row 3 has a = ")
            assert "expected" in str(error)
        else:
            assert found is not None


@pytest.mark.parametrize(
    ("get", "value", "words"),
    [
        ("integer", True, "a = True, expected a whole number from 0 on"),
        ("integer", 1.5, "a = 1.5, expected a whole number from 0 on"),
        ("integer", -1, "a = -1, expected a whole number from 0 on"),
        ("number", float("nan"), "a = nan, expected a finite number"),
        ("text", 3, "a = 3, expected a text"),
        ("texts", ["x", None], "a = .'x', None., expected a list of texts"),
    ],
)
def test_when_a_value_is_wrong_expect_value_and_expectation(get: str, value: Any, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        getattr(Record("row 3", {"a": value}), get)("a")
    with pytest.raises(DatasetError, match="row 3 has no 'ab', expected .* did you mean 'a'"):
        getattr(Record("row 3", {"a": value}), get)("ab")


def test_a_whole_number_in_a_double_counts_since_pandas_writes_gaps_so() -> None:
    assert Record("row", {"a": 12.0}).integer("a") == 12


@pytest.mark.parametrize(
    ("column", "dim", "words"),
    [
        (pa.array([[1.0, 2.0], [3.0]]), 2, "vectors of 2, 1 elements"),
        (pa.array([[1.0, None], [3.0, 4.0]]), 2, "no value in 1 places"),
        (pa.array([[1.0, 2.0], None]), 2, "no value in 1 places"),
        (pa.array(["1", "2"]), 1, "values of type string"),
        (pa.array([{"x": 1.0}, {"x": 2.0}]), 1, "values of type struct"),
        (pa.array([1.0, 2.0]), 2, "2 values in 2 rows of column 'a', expected 4"),
    ],
)
def test_when_a_column_is_no_vectors_expect_why(column: pa.Array, dim: int, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        numbers(pa.table({"a": column}), "a", dim, "the table")


@pytest.mark.parametrize(
    "kind", [pa.float64(), pa.float32(), pa.float16(), pa.int8(), pa.uint64(), pa.bool_()]
)
def test_any_kind_of_number_is_read(kind: pa.DataType) -> None:
    values = pa.array(np.array([1, 0, 1], kind.to_pandas_dtype()))
    assert numbers(pa.table({"a": values}), "a", 1, "the table").tolist() == [[1.0], [0.0], [1.0]]


@pytest.mark.parametrize("nest", [lambda v: v, lambda v: [v], lambda v: [[v]]])
def test_vectors_may_be_nested_and_in_several_chunks(nest: Any) -> None:
    chunks = pa.chunked_array([[nest([1.0, 2.0])], [nest([3.0, 4.0]), nest([5.0, 6.0])]])
    found = numbers(pa.table({"a": chunks}), "a", 2, "the table")
    np.testing.assert_array_equal(found, [[1, 2], [3, 4], [5, 6]])


def test_when_whole_numbers_are_none_expect_a_sentence() -> None:
    with pytest.raises(DatasetError, match="column 'a' with values that are no whole numbers"):
        integers(pa.table({"a": [1.0, 2.5]}), "a", "the table")


def test_when_a_file_is_no_table_expect_a_sentence(tmp_path: Any) -> None:
    path = tmp_path / "x.parquet"
    with pytest.raises(DatasetError, match=r"x.parquet' is missing"):
        read_parquet(path, [])
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(DatasetError, match=r"x.parquet' cannot be read as parquet"):
        read_parquet(path, [])
    pq.write_table(pa.table({"length": [1], "task": ["a"]}), path)
    with pytest.raises(DatasetError, match="lacks the column 'lenght'.* did you mean 'length'"):
        list(read_rows(path, ["lenght"]))
    assert [row.integer("length") for row in read_rows(path, ["length"])] == [1]


def test_when_json_is_none_expect_a_sentence(tmp_path: Any) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(FileNotFoundError):
        read_json(path)
    for text, words in (("{", "cannot be read as JSON"), ("[1]", "is a list, expected a JSON object")):
        path.write_text(text)
        with pytest.raises(DatasetError, match=words):
            read_json(path)
    path.write_text(json.dumps({"a": 1}) + "\n\n" + "[]\n")
    with pytest.raises(DatasetError, match="a list in line 2, expected a JSON object"):
        read_json_lines(path)
    # As Windows' editors write it.
    path.write_bytes(b"\xef\xbb\xbf" + b'{"a": 1}')
    assert read_json(path).integer("a") == 1
