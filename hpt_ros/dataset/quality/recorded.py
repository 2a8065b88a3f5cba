# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the conversion's report says of the recordings that a dataset's episodes are from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.files import REPORT_PATH
from hpt_ros.dataset.quality.measure import Recorded


def read_recorded(root: Path) -> dict[int, Recorded]:
    """By episode of the dataset; empty if the dataset was not converted from bags.

    Raises:
        DatasetError: the report cannot be read.
    """
    path = root / REPORT_PATH
    if not path.is_file():
        return {}
    found: dict[int, Recorded] = {}
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        for entry in report.get("episodes", ()):
            recorded = _recorded(entry)
            for span in entry["spans"]:
                if recorded is not None and int(span["episode_index"]) >= 0:
                    found[int(span["episode_index"])] = recorded
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f"{str(path)!r} cannot be read as a conversion's report ({type(error).__name__}: {error}); copy the "
            "dataset again"
        ) from error
    return found


def _recorded(entry: Any) -> Recorded | None:
    if not entry.get("ticks"):
        return None
    dropped = {str(name): int(lost["ticks"]) for name, lost in entry["dropped"].items()}
    # Reports of earlier versions have no ages.
    ages_s = {str(name): float(age_s) for name, age_s in entry.get("ages_s", {}).items()}
    return Recorded(int(entry["ticks"]), dropped, ages_s)
