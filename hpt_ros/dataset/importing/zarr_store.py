# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Zarr stores in the layout of diffusion policy's replay buffer, which UMI and others write.

``data/*`` holds all episodes one after another, ``meta/episode_ends`` where each ends:
https://github.com/real-stanford/diffusion_policy, diffusion_policy/common/replay_buffer.py.
"""

from __future__ import annotations

import itertools
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.importing.array_columns import reading
from hpt_ros.dataset.importing.arrays import ArraySource, Opener, Stored
from hpt_ros.errors import Code, format_count
from hpt_ros.extras import require_extra

_ENDS = "episode_ends"
_DEPTH = 6  # folders between a store's and an array's
_AGAIN = "copy the dataset again"
_INSTALL = "install the package of its codec, or copy the dataset again"
_DESCRIBING = (".zarray", ".zattrs", "zarr.json")  # files of groups and arrays


def open_zarr(
    root: Path, fps: float | None, action: Sequence[str] | None, state: Sequence[str] | None
) -> ArraySource:
    """Open a Zarr store, a folder or a ZIP file, which may have the store's folder in it.

    Raises:
        DatasetError: it has another layout, no episode can be read, columns are not there, or nobody states a rate.
    """
    zarr = require_extra("zarr", extra="export", what="importing Zarr")
    where = f"dataset {str(root)!r}"
    with reading(where, _AGAIN):
        store = zarr.storage.ZipStore(str(root), mode="r") if root.is_file() else str(root)
        files = _open_zipped(root) if root.is_file() else _below(root)
    coded = {path.rpartition("/")[0]: _codecs(text) for path, text in files.items() if _is_array(path, text)}
    if any(name.startswith("imagecodecs_") for names in coded.values() for name in names):
        codecs = require_extra("imagecodecs.numcodecs", extra="umi", what=f"{where} of JPEG XL images")
        codecs.register_codecs(verbose=False)
    ends = min((path for path in coded if path.split("/")[-1] == _ENDS), key=len, default=None)
    if ends is None:
        alone = set(coded) == {""}
        raise DatasetError(
            Code.MISSING, where, f"meta/{_ENDS}",
            problem="is one array, and no store of several" if alone
            else f"has no meta/{_ENDS}, which states where each episode ends",
            remedy="give the folder of a whole replay buffer of diffusion policy's layout",
        )  # fmt: skip
    top = ends.removesuffix(_ENDS).removesuffix("meta/")
    data = f"{top}data/" if any(path.startswith(f"{top}data/") for path in coded) else top
    columns: dict[str, Any] = {}
    broken: dict[str, str] = {}
    for path in sorted(coded.keys() - {ends}):
        if not path.startswith(data) or path.startswith(f"{top}meta/"):
            continue
        key = path.removeprefix(data)
        if "pickle" in coded[path]:
            broken[key] = "pickled, which could run any program"
            continue
        try:
            with reading(f"{key!r} of {where}", _INSTALL):
                item = zarr.open_array(store, path=path, mode="r")
                if item.shape:
                    columns[key] = item
        except DatasetError as error:
            if _has_images(files, path):  # a policy without its cameras is none that anybody wanted
                raise
            broken[key] = str(error.refusal.cause)
    with reading(f"meta/{_ENDS} of {where}", _AGAIN):
        stops = np.asarray(zarr.open_array(store, path=ends, mode="r")[:])
    stops = _check_array(where, stops)
    attributes = _attributes(files, top)
    tasks = attributes.get("tasks") or ()
    notes = _missing_chunks(columns)
    longest = max((item.shape[0] for item in columns.values()), default=0)
    if len(stops) and stops[-1] < longest:
        notes.append(
            f"{format_count(longest - int(stops[-1]), 'row')} after the end of the last episode are not taken"
        )
    if tasks and len(tasks) != len(stops):
        notes.append(
            f"the attribute tasks has {format_count(len(tasks), 'text')} for {len(stops)} episodes: not taken"
        )
    openers: list[Opener] = []
    for number, (start, stop) in enumerate(itertools.pairwise([0, *stops.tolist()])):
        task = str(tasks[number]) if len(tasks) == len(stops) else ""
        stored = Stored(columns, range(start, stop), task, broken)
        openers.append((f"episode {number} of {where}", partial(_same, stored)))
    return ArraySource(where, openers, fps, _rate(attributes), action, state, notes)


def _same(stored: Stored) -> Stored:
    return stored


def _open_zipped(root: Path) -> dict[str, str]:
    """Return the files of a ZIP that describe groups and arrays, with their text."""
    with zipfile.ZipFile(root) as archive:
        return {
            name: archive.read(name).decode("utf-8", "replace")
            for name in archive.namelist()
            if name.rpartition("/")[2] in _DESCRIBING
        }


def _below(root: Path) -> dict[str, str]:
    """Return the files below a folder that describe groups and arrays, with their text; not those within arrays."""
    found: dict[str, str] = {}
    for folder, folders, names in os.walk(root):
        below = Path(folder).relative_to(root)
        here = {
            name: (Path(folder) / name).read_text(encoding="utf-8", errors="replace")
            for name in _DESCRIBING
            if name in names
        }
        found |= {(below / name).as_posix(): text for name, text in here.items()}
        if any(_is_array(name, text) for name, text in here.items()) or len(below.parts) >= _DEPTH:
            folders.clear()
    return found


def _is_array(path: str, text: str) -> bool:
    name = path.rpartition("/")[2]
    return name == ".zarray" or (name == "zarr.json" and _json(text).get("node_type") == "array")


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _codecs(text: str) -> list[str]:
    """Return the names of the codecs of an array of version 2; version 3 has its own."""
    about = _json(text)
    filters = about.get("filters")
    entries = [about.get("compressor"), *(filters if isinstance(filters, list) else ())]
    return [str(entry.get("id")) for entry in entries if isinstance(entry, dict)]


def _has_images(files: Mapping[str, str], path: str) -> bool:
    """Return whether an array's description says that it has four dimensions."""
    about = {**_json(files.get(f"{path}/zarr.json", "")), **_json(files.get(f"{path}/.zarray", ""))}
    shape = about.get("shape")
    return isinstance(shape, list) and len(shape) == 4


def _attributes(files: Mapping[str, str], top: str) -> dict[str, Any]:
    found = _json(files.get(f"{top}zarr.json", "")).get("attributes")
    return found if isinstance(found, dict) else _json(files.get(f"{top}.zattrs", ""))


def _check_array(where: str, stops: Any) -> Any:
    """Return ends of episodes as whole numbers.

    Raises:
        DatasetError: they do not rise, or are none.
    """
    if stops.ndim == 1 and stops.dtype.kind == "f" and (stops == np.rint(stops)).all():
        stops = stops.astype(np.int64)
    if stops.ndim != 1 or stops.dtype.kind not in "iu":
        raise DatasetError(
            Code.WRONG_SHAPE, where, f"{stops.dtype} of shape {stops.shape}",
            problem=f"has meta/{_ENDS} of {{value}}", expected="a list of whole numbers", remedy=_AGAIN,
        )  # fmt: skip
    fallen = np.flatnonzero(np.diff(stops.astype(np.int64), prepend=0) <= 0)
    if len(fallen):
        row = int(fallen[0])
        before = int(stops[row - 1]) if row else 0
        raise DatasetError(
            Code.DAMAGED, where, int(stops[row]),
            problem=f"has meta/{_ENDS} that do not rise: {{value}} in row {row} after {before}",
            remedy=_AGAIN,
        )  # fmt: skip
    return stops


def _missing_chunks(columns: Mapping[str, Any]) -> list[str]:
    """Return a note on each array of which chunks are not there, which read as its fill value everywhere."""
    found = []
    for key, item in columns.items():
        lacking = item.nchunks - item.nchunks_initialized
        if lacking > 0:
            found.append(
                f"{key} lacks {lacking} of {format_count(item.nchunks, 'chunk')}: what was there reads as "
                f"{item.fill_value}; "
                "if it was not so when it was written, copy the dataset again"
            )
    return found


def _rate(attributes: Mapping[str, Any]) -> float | None:
    try:
        return float(attributes["fps"])
    except (KeyError, TypeError, ValueError):  # there is none, or it is no number
        return None
