# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A dataset that episodes are appended to: its records, and its files, which stay as they are.

New episodes go into new files, so nothing that is there is read again or rewritten but the small files of ``meta``; and
the dataset is still replaced in one go, since the new folder holds links to the files of the old one.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hpt_ros.dataset.conversion_report import read_report
from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.layout import (
    DATA,
    EMBODIMENT,
    EPISODES,
    INFO,
    VIDEOS,
    FileIndex,
    is_dataset,
    parquet_files,
    statistics_from_columns,
)
from hpt_ros.dataset.metadata import read_info, read_tasks
from hpt_ros.dataset.statistics import FeatureStatistics
from hpt_ros.embodiment import Embodiment, require_match


@dataclass(frozen=True)
class ExistingDataset:
    """A dataset that this project wrote.

    Attributes:
        folder: where it lies.
        records: the rows of ``meta/episodes``, in order.
        tasks: task texts by their index.
        report: of its conversions.
    """

    folder: Path
    records: list[dict[str, Any]]
    tasks: list[str]
    report: dict[str, Any]

    @property
    def rows(self) -> int:
        """Number of ticks."""
        return int(self.records[-1]["dataset_to_index"])

    def has(self, bag: Path, identity: str) -> bool:
        """True if a bag went into it, or was left out for its outcome.

        Args:
            bag: its path, which tells for datasets of a time when its identity was not noted.
            identity: of what is in it, wherever it lies now.
        """
        return identity in self._identities or bag.resolve() in self._unidentified

    @property
    def knows_bags(self) -> bool:
        """True if its report names the bags that it is of."""
        return bool(self._identities or self._unidentified)

    @functools.cached_property
    def _identities(self) -> set[str]:
        return {entry["identity"] for entry in self.report["episodes"] if entry.get("identity")}

    @functools.cached_property
    def _unidentified(self) -> set[Path]:
        entries = [entry for entry in self.report["episodes"] if not entry.get("identity")]
        return {Path(entry["source"]).resolve() for entry in entries}

    def statistics(self) -> list[dict[str, FeatureStatistics]]:
        """Return the statistics of each episode, by feature."""
        return [
            {
                name: {key: np.array(value) for key, value in part.items()}
                for name, part in statistics_from_columns(record).items()
            }
            for record in self.records
        ]

    def last_file(self, prefix: str) -> FileIndex:
        """Return the last file of the data (``"data"``) or of a view (``"videos/<feature>"``)."""
        return max(FileIndex.from_columns(record, prefix) for record in self.records)

    def link_into(self, folder: Path) -> None:
        """Link all data and videos into another folder; copies where the file system has no links."""
        for name in (DATA, VIDEOS):
            if (self.folder / name).is_dir():
                shutil.copytree(self.folder / name, folder / name, copy_function=_link, dirs_exist_ok=True)

    def merge_report(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Return the report of all conversions so far, this one included."""
        both = {**self.report, **report}
        both["episodes"] = [*self.report["episodes"], *report["episodes"]]
        both["skipped_bags"] = dict(report["skipped_bags"])
        both["recovered_bags"] = [*self.report["recovered_bags"], *report["recovered_bags"]]
        return both


def open_existing(folder: Path, embodiment: Embodiment | None = None) -> ExistingDataset:
    """Read what appending needs.

    Args:
        folder: the dataset's.
        embodiment: the robot whose episodes shall be appended; not compared if None.

    Raises:
        DatasetError: it is no dataset of this project, or damaged.
        EmbodimentError: it is of another robot; names the field.
    """
    if not is_dataset(folder):
        raise DatasetError(
            f"{str(folder)!r} cannot be appended to, it has no {INFO}; it must be a dataset that `hpt convert` wrote"
        )
    try:
        info = read_info(folder)
        tables = [pq.read_table(path) for path in parquet_files(folder, EPISODES)]
        records = [row for table in tables for row in table.to_pylist()]
        tasks = read_tasks(folder)
        found = ExistingDataset(folder, records, list(tasks.values()), read_report(folder))
        sound = (
            info["total_frames"] == found.rows and list(tasks) == list(range(len(tasks))) and found.knows_bags
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError, pa.ArrowException) as error:
        raise DatasetError(
            f"{str(folder)!r} cannot be appended to ({' '.join(str(error).split())[:120]}); it must be a dataset that "
            "`hpt convert` wrote"
        ) from error
    if not sound:
        raise DatasetError(
            f"{str(folder)!r} cannot be appended to: its counts, tasks or report do not fit one another; convert all "
            "bags again"
        )
    if embodiment is not None:
        theirs = Embodiment.load(folder / EMBODIMENT)
        require_match(
            embodiment, theirs, a_name="the bags", b_name=f"dataset {str(folder)!r}", settled="dataset"
        )
    return found


def _link(source: str, place: str) -> None:
    try:
        os.link(source, place)
    except OSError:
        shutil.copy2(source, place)
