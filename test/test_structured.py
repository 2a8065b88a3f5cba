# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Strict reading of dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_ros.structured import (
    MAX_YAML_BYTES,
    StructureError,
    differences,
    dump_yaml,
    field,
    load_yaml_mapping,
    read_dataclass,
    read_yaml_file,
    to_mapping,
)


@dataclass(frozen=True, slots=True)
class Inner:
    size: int = field("how many", minimum=1, maximum=9)


@dataclass(frozen=True, slots=True)
class Outer:
    rate_hz: float = field("rate", unit="Hz", above=0.0)
    kind: str = field("kind", default="a", choices=("a", "b"))
    inner: Inner | None = field("nested", default=None)
    sizes: tuple[int, ...] = field("several", default=(), minimum=0)
    table: dict[str, Inner] = field("by name", default=None)
    flag: bool = field("switch", default=False)


@given(
    st.builds(
        Outer,
        rate_hz=st.floats(1e-3, 1e6),
        kind=st.sampled_from(["a", "b"]),
        inner=st.none() | st.builds(Inner, st.integers(1, 9)),
        sizes=st.lists(st.integers(0, 99)).map(tuple),
        table=st.dictionaries(
            st.from_regex("[a-z]{1,4}", fullmatch=True), st.builds(Inner, st.integers(1, 9))
        ),
        flag=st.booleans(),
    )
)
def test_what_is_written_reads_back_equal(outer: Outer) -> None:
    text = dump_yaml(to_mapping(outer))
    assert read_dataclass(Outer, load_yaml_mapping(text, where="text"), where="text") == outer


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, r"lacks the key 'rate_hz' \(rate\)"),
        ({"rate": 1}, "unknown key 'rate'.*did you mean 'rate_hz'"),
        ({"rate_hz": 0}, "is 0 Hz, expected more than 0 Hz"),
        ({"rate_hz": True}, "expected float"),
        ({"rate_hz": 1, "kind": "c"}, "one of a, b"),
        ({"rate_hz": 1, "inner": {"size": 10}}, "'inner', key 'size' is 10, expected at most 9"),
        ({"rate_hz": 1, "inner": 3}, "expected a mapping"),
        ({"rate_hz": 1, "sizes": 3}, "expected a list"),
        ({"rate_hz": 1, "sizes": [1, -1]}, "item 1 is -1, expected at least 0"),
        ({"rate_hz": 1, "table": {"x": {"size": 0}}}, "entry 'x', key 'size' is 0"),
        ({"rate_hz": 1, "flag": 1}, "expected bool"),
        ([], "expected a mapping"),
    ],
)
def test_when_data_does_not_fit_expect_the_place_and_the_value(data: object, message: str) -> None:
    with pytest.raises(StructureError, match=message):
        read_dataclass(Outer, data, where="recipe")


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=8)
)
def test_when_data_is_anything_expect_a_value_or_a_structure_error(data: object) -> None:
    for candidate in (data, {"rate_hz": data}, {"rate_hz": 1, "sizes": data}, {"rate_hz": 1, "inner": data}):
        try:
            assert isinstance(read_dataclass(Outer, candidate, where="x"), Outer)
        except StructureError as error:
            assert "x" in str(error)


def test_when_text_is_huge_expect_refusal() -> None:
    with pytest.raises(StructureError, match="more than the"):
        load_yaml_mapping("a" * (MAX_YAML_BYTES + 1), where="text")


def test_when_a_file_is_binary_expect_its_name(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(StructureError, match="cannot be read as text"):
        read_yaml_file(path)


def test_differences_name_dotted_keys_and_absent_ones() -> None:
    assert differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "d": 4}) == [
        ("a.b", 1, 3),
        ("c", 2, None),
        ("d", None, 4),
    ]
