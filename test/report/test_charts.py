# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""hpt_ros.report.charts: what is drawn of a line's points."""

from __future__ import annotations

import math

import pytest

from hpt_ros.report.charts import Line, draw_lines


@pytest.mark.parametrize(
    ("y", "dots"),
    [
        ([0.3], 1),  # a run's first validation
        ([0.3, 0.2], 0),
        ([0.3, math.nan, 0.2], 2),
        ([0.3, 0.2, math.nan, 0.1], 1),
        ([math.nan], 0),
    ],
)
def test_a_point_without_neighbours_is_a_dot(y: list[float], dots: int) -> None:
    drawn = draw_lines([Line("loss", list(range(len(y))), y)], label="loss")
    assert drawn.count('<circle class="dot') == dots
