# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Damage to a dataset's folder, drawn from a seed: what converters of others, edits by hand and disks do to one."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# What stands where another value was expected.
ODD: tuple[Any, ...] = (
    None, "", "x", "../../x", -1, 0, 2, 10**30, 2**63, -0.5, 1e300, math.nan, math.inf, True, [], [None], ["x"], {},
    {"x": 1}, [[1]], "1",
)  # fmt: skip


def mutate(root: Path, seed: int) -> str:
    """Damage one file below a folder; return what was done to it."""
    random = np.random.default_rng(seed)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    # Tables and JSON more often: videos are many bytes that all are the decoder's business.
    told = [path for path in files if path.suffix in (".json", ".jsonl", ".parquet", ".yaml")]
    path = _one(random, told if told and random.random() < 0.85 else files)
    kinds = [_bytes]
    if path.suffix in (".json", ".jsonl"):
        kinds = [_json] * 6 + [_bytes]
    elif path.suffix == ".parquet":
        kinds = [_parquet] * 8 + [_bytes]
    what = _one(random, kinds)(random, path)
    return f"seed {seed}, {path.relative_to(root)}: {what}"


def _one(random: np.random.Generator, items: Any) -> Any:
    return items[int(random.integers(len(items)))]


def _bytes(random: np.random.Generator, path: Path) -> str:
    data = bytearray(path.read_bytes())
    kind = _one(random, ("flip", "cut", "empty", "lacks", "folder", "text"))
    if kind == "flip" and data:
        for place in random.integers(0, len(data), 3):
            data[place] ^= 1 << int(random.integers(8))
        path.write_bytes(data)
    elif kind == "cut":
        path.write_bytes(data[: int(random.integers(len(data) + 1))])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
    else:
        path.unlink()
        if kind == "folder":
            path.mkdir()
    return str(kind)


def _json(random: np.random.Generator, path: Path) -> str:
    text = path.read_text()
    lines = text.splitlines() if path.suffix == ".jsonl" else [text]
    number = int(random.integers(len(lines)))
    content = json.loads(lines[number])
    places = [(content, key) for key in _keys(content)]
    for parent, key in places:  # grows while it is walked
        places += [(parent[key], inner) for inner in _keys(parent[key])]
    parent, key = _one(random, places) if random.random() < 0.7 else _one(random, places[: len(content)])
    if random.random() < 0.3:
        del parent[key]
        what = f"without {key!r}"
    else:
        parent[key] = _one(random, ODD)
        what = f"{key!r} is {parent[key]!r}"
    lines[number] = json.dumps(content)
    path.write_text("\n".join(lines) + "\n")
    return what


def _keys(content: Any) -> list[Any]:
    if isinstance(content, dict):
        return list(content)
    return list(range(len(content))) if isinstance(content, list) else []


def _parquet(random: np.random.Generator, path: Path) -> str:
    table = pq.read_table(path)
    column = int(random.integers(table.num_columns))
    name = table.column_names[column]
    values = table.column(column).to_pylist()
    kind = _one(
        random,
        ("drop", "rename", "twice", "value", "value", "value", "text", "null", "nest", "short", "rows"),
    )
    row = int(random.integers(max(len(values), 1)))
    if kind == "drop":
        table = table.drop_columns([name])
    elif kind == "rename":
        table = table.rename_columns(
            [f"{other}x" if other == name else other for other in table.column_names]
        )
    elif kind == "twice":
        table = table.append_column(name, table.column(column))
    elif kind == "rows":
        table = _one(
            random,
            (table.slice(0, row), table.slice(row), pa.concat_tables([table, table]), table.slice(0, 0)),
        )
    else:
        values[row : row + 1] = [_odd(random, values[row], kind)] if values else []
        if kind == "text":
            values = [str(value) for value in values]
        elif kind == "null":
            values = [None] * len(values)
        elif kind == "nest":
            values = [[value] for value in values]
        try:
            made = pa.array(values)
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            made = pa.array([str(value) for value in values])
        table = table.set_column(column, name, made)
    try:
        pq.write_table(table, path)
    except pa.ArrowException:  # of a type that no file can hold
        path.unlink(missing_ok=True)
    return f"{kind} of {name!r} in row {row}"


def _odd(random: np.random.Generator, value: Any, kind: str) -> Any:
    if kind == "short" and isinstance(value, list):
        return value[:-1]
    if isinstance(value, list) and value and random.random() < 0.5:
        inner = list(value)
        inner[int(random.integers(len(inner)))] = _one(random, (None, math.nan, math.inf, 1e300))
        return inner
    if isinstance(value, (int, float)):
        return _one(random, (None, -1, 10**15, 0, 3, math.nan, 0.5, -3.2, 1e300))
    return _one(random, ODD)


def copy_of(whole: Path, place: Path) -> Path:
    """Return a copy of a dataset's folder, in place of what was there."""
    shutil.rmtree(place, ignore_errors=True)
    return Path(shutil.copytree(whole, place))
