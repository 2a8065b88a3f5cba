# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Small plots that only the quality page has."""

from __future__ import annotations

from collections.abc import Sequence

from hpt_ros.dataset.quality.measure import DimensionQuality
from hpt_ros.report.charts import bars, svg


def draw_speed(values: Sequence[float], label: str) -> str:
    """Return an episode's speed over time, as fractions of the limit, which the line marks and the axis reaches."""
    width, height = 200, 40
    top = max([1.0, *values]) * 1.05
    step = width / max(len(values) - 1, 1)
    points = [f"{index * step:.0f} {height - height * value / top:.1f}" for index, value in enumerate(values)]
    area = f'<path class="f" d="M0 {height}L{"L".join(points)}V{height}z"/>' if points else ""
    limit = height - height / top
    rest = f'<path class="m" d="M0 {limit:.1f}h{width}"/><path class="a" d="M0 {height}h{width}"/>'
    return svg(width, height + 1, area + rest, label)


def draw_values(entry: DimensionQuality, label: str) -> str:
    """Return a histogram over the values that occur; the bar under it is where they lie between the limits."""
    width, height = 250, 52
    inside = bars(entry.histogram, width, height)
    if entry.lower is not None and entry.upper is not None:
        span = entry.upper - entry.lower
        left, right = (
            width * min(max((edge - entry.lower) / span, 0.0), 1.0) for edge in (entry.minimum, entry.maximum)
        )
        inside += f'<rect class="r" y="58" width="{width}" height="5"/>'
        inside += f'<rect class="b" x="{left:.1f}" y="58" width="{max(right - left, 2.0):.1f}" height="5"/>'
    return svg(width, 64, inside, label)
