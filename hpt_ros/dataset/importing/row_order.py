# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The order and the times of an episode's rows in datasets of others: what they say against what is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.tables import integers, numbers
from hpt_ros.errors import Code

# Rows are taken as evenly spaced; a note says where their times differ: a median step that is off by more
# than a tenth, and a step of more than three periods and half a second. Ours.
_OFF, _GAP_PERIODS, _GAP_S = 0.1, 3.0, 0.5


def in_order(rows: pa.Table, name: str) -> pa.Table:
    """Return an episode's rows in the order of their frame_index, where they have one.

    Raises:
        DatasetError: two rows have the same.
    """
    if "frame_index" not in rows.column_names:
        return rows
    index = integers(rows, "frame_index", name)
    if (np.diff(index) > 0).all():
        return rows
    order = np.argsort(index, kind="stable")
    repeated = np.flatnonzero(np.diff(index[order]) == 0)
    if len(repeated):
        raise DatasetError(
            Code.DUPLICATE, name, int(index[order][repeated[0]]), problem="has frame_index {value} twice",
            remedy="fix the dataset, or leave the episode out with --skip-bad",
        )  # fmt: skip
    return rows.take(pa.array(order))


def odd_times(rows: pa.Table, fps: float, name: str) -> str | None:
    """Return what rows' timestamps, in seconds, say against a rate; None if nothing or if they have none."""
    if "timestamp" not in rows.column_names or rows.num_rows < 2:
        return None
    try:
        return odd_steps(numbers(rows, "timestamp", 1, name)[:, 0], fps)
    except DatasetError:  # nothing depends on them
        return None


def odd_steps(times_s: NDArray[np.floating[Any]], fps: float) -> str | None:
    """Return what times of rows, (length,) in seconds, say against a rate; None if nothing."""
    steps = np.diff(times_s)
    steps = steps[np.isfinite(steps)]
    step_s = float(np.median(steps)) if len(steps) else 0.0
    if step_s <= 0:
        return None
    if abs(step_s * fps - 1) > _OFF:
        return f"its timestamps are {step_s:.4g} s apart ({1 / step_s:.4g} Hz)"
    longest = float(steps.max())
    if longest <= max(_GAP_PERIODS * step_s, _GAP_S):
        return None
    return f"its timestamps leap by {longest:.4g} s"
