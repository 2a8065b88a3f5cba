# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Opens another dataset by what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.importing.hdf5 import open_hdf5
from hpt_ros.dataset.importing.lerobot import LeRobotSource
from hpt_ros.dataset.importing.rlds import RldsSource
from hpt_ros.dataset.importing.source import Source
from hpt_ros.dataset.importing.zarr_store import open_zarr
from hpt_ros.dataset.recognise import HDF5, LEROBOT, TFRECORD, ZARR, Kind, find_below, recognise
from hpt_ros.errors import Code

Open = Callable[[Path, float | None, Sequence[str] | None, Sequence[str] | None], Source]
SOURCES: Mapping[Kind, Open] = {
    LEROBOT: LeRobotSource,
    TFRECORD: RldsSource,
    HDF5: open_hdf5,
    ZARR: open_zarr,
}


def open_source(
    path: str | Path,
    fps: float | None = None,
    action: Sequence[str] | None = None,
    state: Sequence[str] | None = None,
) -> Source:
    """Open another dataset.

    Args:
        path: its folder or file.
        fps: rows a second, where it does not state them or is wrong.
        action, state: columns that make the vectors, in this order; the usual ones if None, no state if empty.

    Raises:
        DatasetError: it is none that can be imported; names what it is, and what takes it.
    """
    root = Path(path)
    if not root.exists():
        raise DatasetError(Code.NOT_FOUND, f"the dataset {str(root)!r}", remedy="give its folder")
    kind = recognise(root)
    if kind is not None and kind in SOURCES:
        return SOURCES[kind](root, fps, action, state)
    if kind is not None:
        raise DatasetError(
            Code.UNSUPPORTED, repr(str(root)), kind.name, problem=f"is {kind.name}, which is not imported",
            remedy=kind.remedy,
        )  # fmt: skip
    if root.is_dir() and not any(root.iterdir()):
        raise DatasetError(
            Code.EMPTY, repr(str(root)), problem="is an empty folder", remedy="give that of a dataset"
        )
    below = find_below(root) if root.is_dir() else []
    if below:
        kind = recognise(below[0])
        assert kind is not None  # find_below says so
        if kind not in SOURCES:
            raise DatasetError(
                Code.UNREADABLE, repr(str(root)), kind.name,
                problem=f"is no dataset, and {str(below[0])!r} in it is {kind.name}", remedy=kind.remedy,
            )  # fmt: skip
        raise DatasetError(
            Code.UNREADABLE, repr(str(root)), len(below), problem="is no dataset, but {value} lie below it",
            remedy=f"give one of them, as {str(below[0])!r}, which is {kind.name}",
        )  # fmt: skip
    raise DatasetError(
        Code.UNREADABLE, repr(str(root)), problem=f"is none of {', '.join(known.name for known in SOURCES)}",
        remedy="give the folder of one",
    )  # fmt: skip
