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

from hpt_ros.dataset.conversion_report import read_report
from hpt_ros.dataset.depth_codes import DEPTH_STORAGE, DepthCodes
from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.feature_check import check_features
from hpt_ros.dataset.layout import (
    DATA,
    EMBODIMENT,
    EPISODES,
    INFO,
    REPORT,
    VIDEOS,
    EpisodeRow,
    FileIndex,
    features_of,
    is_dataset,
    parquet_files,
    statistics_column,
    statistics_from_columns,
)
from hpt_ros.dataset.metadata import read_info, read_tasks
from hpt_ros.dataset.statistics import FeatureStatistics, statistics_shapes
from hpt_ros.dataset.tables import Record, read_rows
from hpt_ros.embodiment import Embodiment, require_match
from hpt_ros.errors import Code


@dataclass(frozen=True)
class ExistingDataset:
    """A dataset that this project wrote.

    Attributes:
        folder: where it lies.
        episodes: the rows of ``meta/episodes``, in order.
        rows: number of ticks.
        tasks: task texts by their index.
        statistics: of each episode, by feature.
        report: of its conversions.
        depth: how its depth is stored, one of `DEPTH_STORAGE`; None if it has none.
    """

    folder: Path
    episodes: list[EpisodeRow]
    rows: int
    tasks: list[str]
    statistics: list[dict[str, FeatureStatistics]]
    report: Record
    depth: str | None

    def has(self, bag: Path, identity: str) -> bool:
        """True if a bag went into it, or was left out for its outcome.

        Args:
            bag: its path, which tells for datasets of a time when its identity was not noted.
            identity: of what is in it, wherever it lies now.
        """
        return identity in self._identities or bag.resolve() in self._unidentified

    @functools.cached_property
    def _identities(self) -> set[str]:
        return {
            entry.text("identity")
            for entry in self.report.records("episodes")
            if entry.values.get("identity")
        }

    @functools.cached_property
    def _unidentified(self) -> set[Path]:
        entries = [entry for entry in self.report.records("episodes") if not entry.values.get("identity")]
        return {Path(entry.text("source")).resolve() for entry in entries}

    def last_file(self, key: str = "") -> FileIndex:
        """Return the last file of the data, or of the videos of a feature."""
        return max(episode.videos[key].file if key else episode.data for episode in self.episodes)

    def link_into(self, folder: Path) -> None:
        """Link all data and videos into another folder; copies where the file system has no links."""
        for name in (DATA, VIDEOS):
            if (self.folder / name).is_dir():
                shutil.copytree(self.folder / name, folder / name, copy_function=_link, dirs_exist_ok=True)

    def merge_report(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Return the report of all conversions so far, this one included."""
        both = {**self.report.values, **report}
        for name in ("episodes", "recovered_bags"):
            both[name] = [*self.report.values[name], *report[name]]
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
            Code.MISSING, repr(str(folder)), INFO, problem="cannot be appended to, it has no {value}",
            remedy="give a dataset that `hpt convert` wrote",
        )  # fmt: skip
    info, report, tasks = read_info(folder), read_report(folder), read_tasks(folder)
    theirs = Embodiment.load(folder / EMBODIMENT)
    features = check_features(info, theirs)
    keys = [name for name, feature in features.items() if not feature.in_rows]
    coded = [name for name, feature in features.items() if feature.coded]
    if features != features_of(theirs, bool(coded)) or any(
        info.features[name].codes != DepthCodes() for name in coded
    ):
        raise DatasetError(
            Code.MISMATCH, repr(str(folder)),
            problem="cannot be appended to: it stores depth otherwise than `hpt convert`",
            remedy="convert all bags again",
        )  # fmt: skip
    has_depth = any(feature.coded for feature in features_of(theirs, coded=True).values())
    depth = DEPTH_STORAGE[bool(coded)] if has_depth else None
    records = [row for path in parquet_files(folder, EPISODES) for row in read_rows(path, [], every=True)]
    episodes = [EpisodeRow.from_columns(record, keys) for record in records]
    rows = 0
    for row in episodes:
        if (row.start, row.stop) != (rows, rows + row.length):
            raise DatasetError(
                Code.DAMAGED, repr(str(folder)), row.index,
                problem=f"cannot be appended to: its episode {row.index} has rows {row.start} to {row.stop}",
                expected=f"{row.length} rows from {rows}", remedy="convert all bags again",
            )  # fmt: skip
        rows = row.stop
    if info.total_frames != rows or not rows or list(tasks) != list(range(len(tasks))):
        raise DatasetError(
            Code.DAMAGED, repr(str(folder)),
            problem="cannot be appended to: its counts or tasks do not fit one another",
            remedy="convert all bags again",
        )  # fmt: skip
    if "episodes" not in report:
        raise DatasetError(
            Code.MISSING, repr(str(folder)), REPORT, problem="cannot be appended to: its {value} names no bags",
            remedy="give a dataset that `hpt convert` wrote",
        )  # fmt: skip
    if not isinstance(report.values.get("recovered_bags"), list):
        raise report.wrong("recovered_bags", "a list")
    shapes = statistics_shapes(features)
    statistics = [_statistics(record, shapes) for record in records]
    found = ExistingDataset(folder, episodes, rows, list(tasks.values()), statistics, report, depth)
    if embodiment is not None:
        require_match(
            embodiment, theirs, a_name="the bags", b_name=f"dataset {str(folder)!r}", settled="dataset"
        )
    return found


def _statistics(
    record: Record, shapes: Mapping[str, Mapping[str, tuple[int, ...]]]
) -> dict[str, FeatureStatistics]:
    """Return an episode's statistics; those of an older lerobot have no quantiles, which cannot be made up."""
    stored = statistics_from_columns(record.values)
    found: dict[str, FeatureStatistics] = {}
    for name, wanted in shapes.items():
        found[name] = {}
        for key, shape in wanted.items():
            try:
                values = np.array(stored.get(name, {}).get(key), dtype=np.float64)
            except (TypeError, ValueError):
                values = np.full(shape, np.nan)
            if values.shape != shape or not np.isfinite(values).all():
                expected = f"finite numbers of shape {list(shape)}"
                lacks = Record(
                    record.where, record.values, "nothing can be appended to it: convert all bags again"
                )
                raise lacks.wrong(statistics_column(name, key), expected)
            found[name][key] = values.astype(np.int64) if key == "count" else values
    return found


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
