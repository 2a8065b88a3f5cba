# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Zarr stores in the layout of diffusion policy's replay buffer, which UMI and others write.

``data/*`` holds all episodes one after another, ``meta/episode_ends`` where each ends:
https://github.com/real-stanford/diffusion_policy, diffusion_policy/common/replay_buffer.py.
"""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.importing.arrays import ArraySource, Opener, Stored, reading
from hpt_ros.errors import Code
from hpt_ros.extras import require_extra

_DESCRIPTIONS = (".zarray", "zarr.json")  # of arrays, in version 2 and 3 of the format


def open_zarr(
    root: Path, fps: float | None, action: Sequence[str] | None, state: Sequence[str] | None
) -> ArraySource:
    """Open a Zarr store, a folder or a ZIP file.

    Raises:
        DatasetError: it has another layout, no episode can be read, columns are not there, or nobody states a rate.
    """
    zarr = require_extra("zarr", extra="export", what="importing Zarr")
    where = f"dataset {str(root)!r}"
    with reading(where):
        coded = any("imagecodecs_" in text for text in _metadata(root))
    if coded:
        require_extra(
            "imagecodecs.numcodecs", extra="umi", what=f"{where} of JPEG XL images"
        ).register_codecs()
    with reading(where):
        store = zarr.storage.ZipStore(str(root), mode="r") if root.is_file() else str(root)
        group = zarr.open_group(store, mode="r")
        data = group.get("data", group)
        ends = next((group[key] for key in ("meta/episode_ends", "episode_ends") if key in group), None)
        if ends is None:
            raise DatasetError(
                Code.MISSING, where, "meta/episode_ends",
                problem="has no meta/episode_ends, which states where each episode ends",
                remedy="give a replay buffer of diffusion policy's layout",
            )  # fmt: skip
        columns = {str(name): item for name, item in data.arrays() if item.shape}
        stops = np.asarray(ends[:])
        tasks = list(group.attrs.get("tasks", ()))
    if stops.ndim != 1 or stops.dtype.kind not in "iu" or (np.diff(stops, prepend=0) <= 0).any():
        raise DatasetError(
            Code.DAMAGED, where, problem="has meta/episode_ends that do not rise from row to row",
            remedy="copy it again",
        )  # fmt: skip
    openers: list[Opener] = []
    for number, (start, stop) in enumerate(itertools.pairwise([0, *stops.tolist()])):
        task = str(tasks[number]) if len(tasks) == len(stops) else ""
        stored = Stored(columns, range(start, stop), task)
        openers.append((f"episode {number} of {where}", partial(_same, stored)))
    return ArraySource(where, openers, fps, _rate(group), action, state)


def _metadata(root: Path) -> Iterator[str]:
    """Yield the descriptions of a store's arrays, which name their codecs."""
    if root.is_file():
        with zipfile.ZipFile(root) as file:
            names = [name for name in file.namelist() if Path(name).name in _DESCRIPTIONS]
            yield from (file.read(name).decode() for name in names)
    else:
        for name in _DESCRIPTIONS:
            yield from (path.read_text(encoding="utf-8") for path in root.rglob(name))


def _same(stored: Stored) -> Stored:
    return stored


def _rate(group: Any) -> float | None:
    stated = group.attrs.get("fps")
    return float(stated) if isinstance(stated, (int, float)) and stated > 0 else None
