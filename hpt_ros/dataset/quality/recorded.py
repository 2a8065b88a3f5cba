# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the conversion reported of the recordings that a dataset's episodes are from."""

from __future__ import annotations

from pathlib import Path

from hpt_ros.dataset.conversion_report import list_reported_episodes
from hpt_ros.dataset.quality.measure import Recorded
from hpt_ros.dataset.tables import Record


def read_recorded(root: Path) -> dict[int, Recorded]:
    """Return it by episode of the dataset; empty if the dataset was not converted from bags.

    Raises:
        DatasetError: the report cannot be read.
    """
    found: dict[int, Recorded] = {}
    for entry in list_reported_episodes(root):
        recorded = _parse(entry)
        for span in entry.records("spans"):
            index = span.integer("episode_index", -1)  # -1: too short to keep
            if recorded is not None and index >= 0:
                found[index] = recorded
    return found


def _parse(entry: Record) -> Recorded | None:
    if not entry.integer("ticks"):
        return None
    dropped = entry.record("dropped")
    # Reports of earlier versions have no ages and no sizes.
    ages, resized, clocks = (
        entry.record(key) if key in entry else Record("", {}) for key in ("ages_s", "resized", "clocks")
    )
    said = {name: clocks.text(name) for name in clocks.values}
    if "set_back" in entry and (set_back := entry.texts("set_back")):
        said[""] = "; ".join(set_back)
    wrapped = entry.record("wrapped") if "wrapped" in entry else Record("", {})
    jumps = {name: wrapped.text(name) for name in wrapped.values}
    return Recorded(
        entry.integer("ticks"),
        {name: dropped.record(name).integer("ticks") for name in dropped.values},
        {name: ages.number(name) for name in ages.values},
        {name: resized.text(name) for name in resized.values},
        said,
        jumps,
    )
