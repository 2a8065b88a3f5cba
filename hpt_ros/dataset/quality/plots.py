# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Small plots as inline SVG, in the page's colours (classes of its style sheet)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpt_ros.dataset.quality.measure import DimensionQuality, Floats


def svg(width: int, height: int, inside: str, label: str) -> str:
    """Return an image that shrinks with its place; `label` is for screen readers and must be escaped."""
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{label}">{inside}</svg>'
    )


def bars(counts: Sequence[int], width: int, height: int) -> str:
    """Return the bars of a histogram from its counts, as one path."""
    most, step = max([*counts, 1]), width / len(counts)
    path = "".join(
        f"M{place * step:.1f} {height}v{-max(height * count / most, 1.5):.1f}h{step - 1:.1f}V{height}"
        for place, count in enumerate(counts)
        if count
    )
    return f'<path class="b" d="{path}"/><path class="a" d="M0 {height}h{width}"/>'


def histogram(values: Floats, limit: float | None, label: str) -> str:
    """Return a histogram with its axis; the limit is drawn, and the axis reaches it."""
    low, high = float(values.min()), float(values.max())
    if limit is not None:
        low, high = min(low, 0.0), max(high, limit)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    counts = [int(count) for count in np.histogram(values, 24, (low, high))[0]]
    width, height = 250, 70
    mark = "" if limit is None else _mark((limit - low) / (high - low), width, height)
    axis = (
        f'<text x="0" y="{height + 13}">{low:.3g}</text>'
        f'<text x="{width}" y="{height + 13}" text-anchor="end">{high:.3g}</text>'
    )
    return svg(width, height + 17, bars(counts, width, height) + mark + axis, label)


def draw_speed(values: Sequence[float], label: str) -> str:
    """Return an episode's speed over time, as fractions of the limit, which the line marks and the axis reaches."""
    width, height = 200, 40
    top = max([1.0, *values]) * 1.05
    step = width / max(len(values) - 1, 1)
    points = [f"{place * step:.0f} {height - height * value / top:.1f}" for place, value in enumerate(values)]
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


def _mark(ratio: float, width: int, height: int) -> str:
    # Half the stroke would fall outside at the edge.
    return f'<path class="m" d="M{min(max(ratio * width, 1.0), width - 1.0):.1f} 0v{height}"/>'
