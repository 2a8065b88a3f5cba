# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the conversion reported of the recordings that a dataset's episodes are from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpt_ros.dataset.conversion_report import read_report, unreadable_report
from hpt_ros.dataset.quality.measure import Recorded


def read_recorded(root: Path) -> dict[int, Recorded]:
    """Return it by episode of the dataset; empty if the dataset was not converted from bags.

    Raises:
        DatasetError: the report cannot be read.
    """
    found: dict[int, Recorded] = {}
    report = read_report(root)
    try:
        for entry in report.get("episodes", ()):
            recorded = _recorded(entry)
            for span in entry["spans"]:
                if recorded is not None and int(span["episode_index"]) >= 0:
                    found[int(span["episode_index"])] = recorded
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise unreadable_report(root, error) from error
    return found


def _recorded(entry: Any) -> Recorded | None:
    if not entry.get("ticks"):
        return None
    dropped = {str(name): int(lost["ticks"]) for name, lost in entry["dropped"].items()}
    # Reports of earlier versions have no ages and no sizes.
    ages_s = {str(name): float(age_s) for name, age_s in entry.get("ages_s", {}).items()}
    resized = {str(name): str(change) for name, change in entry.get("resized", {}).items()}
    clocks = {str(name): str(note) for name, note in entry.get("clocks", {}).items()}
    if set_back := entry.get("set_back", ()):
        clocks[""] = "; ".join(map(str, set_back))
    return Recorded(int(entry["ticks"]), dropped, ages_s, resized, clocks)
