# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a dataset says of its episodes and ticks besides what was sensed and done: failures and interventions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hpt_ros.dataset.layout import DATA, REPORT, parquet_files
from hpt_ros.dataset.reader import Dataset
from hpt_ros.dataset.tables import read_parquet

SUCCESS, INTERVENTION = "next.success", "intervention"  # columns; the first is LeRobot's
FAILURE = "failure"  # an episode's recorded outcome in the conversion's report


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of a dataset of N ticks."""

    failed: frozenset[int]  # indices of episodes that were recorded as failures
    intervention: (
        NDArray[np.bool_] | None
    )  # (N,), whether a person commanded; None if the dataset does not say


def read_labels(dataset: Dataset) -> Labels:
    """Read which episodes failed, and at which ticks a person took over.

    An episode failed if its recorded outcome is so, or if no tick of it has the dataset's column `SUCCESS`.

    Raises:
        DatasetError: a data file is damaged.
    """
    files = parquet_files(dataset.root, DATA)
    success, intervention = (_flags(files, name) for name in (SUCCESS, INTERVENTION))
    failed = {
        episode.index
        for episode in dataset.episodes
        if success is not None and not success[episode.start : episode.stop].any()
    }
    return Labels(frozenset(failed | _failures(dataset.root / REPORT)), intervention)


def _flags(files: Sequence[Path], name: str) -> NDArray[np.bool_] | None:
    """A column of truth values over all files; None where one of them lacks it."""
    if not files or any(name not in pq.read_schema(path).names for path in files):
        return None
    parts = [np.asarray(read_parquet(path, [name])[name].to_pylist(), dtype=np.bool_) for path in files]
    return np.concatenate([part.reshape(-1) for part in parts])


def _failures(report: Path) -> set[int]:
    try:
        data: Any = json.loads(report.read_text(encoding="utf-8"))
        episodes = [episode for episode in data["episodes"] if episode.get("outcome") == FAILURE]
        return {int(span["episode_index"]) for episode in episodes for span in episode.get("spans", [])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # a dataset of other tools has none
        return set()
