# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Small charts as inline SVG, whose colours are classes of the page's style sheet, so that they follow light and dark.

They escape the texts that they are given; a template takes them as they are (``|safe``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLOURS = 8  # classes c0 .. c7
MOST_POINTS = 400  # of a line: more than there are pixels
LEFT, BOTTOM, TOP, RIGHT = 46, 30, 6, 16  # around the plot, px


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        name: in the legend; empty: not there.
        x, y: (N,) its points; where one is NaN, or not above 0 on a logarithmic axis, the line is broken.
        colour: number of its class; None: its position among the lines.
        low, high: (N,) of a band around it; None: none.
        kind: "line", "dashed", "points" or "thin".
    """

    name: str
    x: Sequence[float] | NDArray[Any]
    y: Sequence[float] | NDArray[Any]
    colour: int | None = None
    low: Sequence[float] | NDArray[Any] | None = None
    high: Sequence[float] | NDArray[Any] | None = None
    kind: str = "line"


@dataclass(frozen=True, slots=True)
class _Axis:
    """From values to pixels."""

    low: float
    high: float
    start: float
    stop: float
    log: bool

    def at(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return self.start + (value - low) / (high - low) * (self.stop - self.start)


def svg(width: int, height: int, inside: str, label: str, kind: str = "") -> str:
    """Return an image that shrinks with its position.

    Args:
        width, height: px.
        inside: its elements, whose texts are escaped.
        label: for screen readers.
        kind: class of the style sheet.
    """
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" class="{kind}" '
        f'aria-label="{escape(label)}">{inside}</svg>'
    )


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round values from `low` to `high`, at steps of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [step * index for index in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten from `low` to `high`; where these are few, 2 and 5 times them too."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [10.0**power for power in powers if low * (1 - 1e-9) <= 10.0**power <= high * (1 + 1e-9)]
    if len(found) < 3:
        every = (factor * 10.0**power for power in powers for factor in (1, 2, 5))
        found = [value for value in every if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
    return found[:: max(1, math.ceil(len(found) / 6))] or [low]


def draw_lines(
    lines: Sequence[Line],
    *,
    label: str,
    x_label: str = "",
    y_label: str = "",
    width: int = 440,
    height: int = 200,
    log_x: bool = False,
    log_y: bool = False,
    zero: bool = False,
    marks: Sequence[float] = (),
) -> str:
    """Return a line chart with axes and legend.

    Args:
        lines: what is drawn.
        label: for screen readers.
        x_label, y_label: of the axes.
        width, height: px, without the legend.
        log_x, log_y: logarithmic axes.
        zero: let the vertical axis begin at 0.
        marks: values of x with a line upwards.
    """
    x_axis = _axis([value for line in lines for value in line.x], LEFT, width - RIGHT, log_x)
    heights = [value for line in lines for part in (line.y, line.low, line.high) for value in _of(part)]
    y_axis = _axis(
        [*heights, *([0.0] if zero and not log_y else [])], height - BOTTOM, TOP, log_y, pad=not zero
    )
    parts = _frame(x_axis, y_axis, width, height, x_label, y_label)
    parts += [f'<path class="m" d="M{x_axis.at(mark):.1f} {TOP}V{height - BOTTOM}"/>' for mark in marks]
    for index, line in enumerate(lines):
        parts += _line(line, index if line.colour is None else line.colour, x_axis, y_axis)
    chart = svg(width, height, "".join(parts), label, "chart")
    shown = [
        (index if line.colour is None else line.colour, line) for index, line in enumerate(lines) if line.name
    ]
    if len(shown) < 2:
        return chart
    entries = "".join(
        f'<span class="key c{colour % COLOURS} {line.kind}">{escape(line.name)}</span>'
        for colour, line in shown
    )
    return chart + f'<div class="legend">{entries}</div>'


def draw_bars(
    names: Sequence[str],
    values: Sequence[float],
    *,
    label: str,
    unit: str = "",
    intervals: Sequence[tuple[float, float]] = (),
    most: float | None = None,
    width: int = 440,
) -> str:
    """Return horizontal bars with their names and values.

    Args:
        names: of the bars.
        values: not negative.
        label: for screen readers.
        unit: behind the values.
        intervals: lower and upper end of each; none are drawn if left out.
        most: end of the axis; the largest value if None.
        width: px.
    """
    row, left, right = 20, 130, 74
    finite = [value for value in [*values, *(high for _, high in intervals)] if math.isfinite(value)]
    top = most if most is not None else max([*finite, 1e-12])
    parts = []
    for index, (name, value) in enumerate(zip(names, values, strict=True)):
        y, length = (
            index * row,
            (width - left - right) * min(value / top, 1.0) if math.isfinite(value) else 0.0,
        )
        shown = f"{value:.3g}" + (f" {unit}" if unit else "")
        parts.append(
            f'<text x="{left - 6}" y="{y + 14}" text-anchor="end">{escape(_short(name, 20))}</text>'
            f'<rect class="b" x="{left}" y="{y + 4}" width="{length:.1f}" height="{row - 8}"/>'
            f'<text x="{width - right + 6}" y="{y + 14}">{escape(shown)}</text>'
        )
        if intervals:
            low, high = (left + (width - left - right) * min(end / top, 1.0) for end in intervals[index])
            middle = y + row / 2
            parts.append(
                f'<path class="i" d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {y + 5}v{row - 10}'
                f'M{high:.1f} {y + 5}v{row - 10}"/>'
            )
    return svg(width, max(len(names), 1) * row, "".join(parts), label, "chart")


def draw_histogram(
    values: NDArray[np.float64],
    *,
    label: str,
    low: float | None = None,
    high: float | None = None,
    bins: int = 24,
    marks: Sequence[float] = (),
    width: int = 250,
    height: int = 70,
) -> str:
    """Return a histogram of finite values with its axis.

    Args:
        values: (N,).
        label: for screen readers.
        low, high: ends of the axis; those of the values if None.
        bins: number of bars.
        marks: values with a line upwards.
        width, height: px, without the axis' numbers.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    every = [*values.tolist(), *marks]
    least = low if low is not None else min(every, default=0.0)
    most = high if high is not None else max(every, default=1.0)
    if most - least < 1e-9:
        least, most = least - 0.5, most + 0.5
    counts = [int(count) for count in np.histogram(values, bins, (least, most))[0]]
    lines = "".join(mark_at((mark - least) / (most - least), width, height) for mark in marks)
    axis = (
        f'<text x="0" y="{height + 13}">{least:.3g}</text>'
        f'<text x="{width}" y="{height + 13}" text-anchor="end">{most:.3g}</text>'
    )
    return svg(width, height + 17, bars(counts, width, height) + lines + axis, label)


def bars(counts: Sequence[int], width: int, height: int) -> str:
    """Return the bars of a histogram from its counts, as one path."""
    most, step = max([*counts, 1]), width / max(len(counts), 1)
    path = "".join(
        f"M{index * step:.1f} {height}v{-max(height * count / most, 1.5):.1f}h{step - 1:.1f}V{height}"
        for index, count in enumerate(counts)
        if count
    )
    return f'<path class="b" d="{path}"/><path class="a" d="M0 {height}h{width}"/>'


def mark_at(ratio: float, width: int, height: int) -> str:
    """Return a line upwards at a ratio of the width; half the stroke would fall outside at the edge."""
    return f'<path class="m" d="M{min(max(ratio * width, 1.0), width - 1.0):.1f} 0v{height}"/>'


def _of(values: Any) -> Sequence[float]:
    return () if values is None else list(values)


def _axis(values: Sequence[float], start: float, stop: float, log: bool, pad: bool = False) -> _Axis:
    finite = [float(value) for value in values if math.isfinite(value) and (value > 0 or not log)]
    low, high = min(finite, default=1.0 if log else 0.0), max(finite, default=10.0 if log else 1.0)
    if log:
        low, high = (low / 2, high * 2) if high / low < 1.0001 else (low / 1.05, high * 1.05)
    elif high - low <= 1e-9 * max(abs(low), abs(high), 1e-12):
        low, high = low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5)
    elif pad:
        low, high = low - 0.03 * (high - low), high + 0.03 * (high - low)
    return _Axis(low, high, start, stop, log)


def _frame(x_axis: _Axis, y_axis: _Axis, width: int, height: int, x_label: str, y_label: str) -> list[str]:
    bottom = height - BOTTOM
    parts = []
    for value in log_ticks(y_axis.low, y_axis.high) if y_axis.log else ticks(y_axis.low, y_axis.high, 4):
        y = y_axis.at(value)
        parts.append(
            f'<path class="g" d="M{LEFT} {y:.1f}H{width - RIGHT}"/>'
            f'<text x="{LEFT - 4}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>'
        )
    for value in log_ticks(x_axis.low, x_axis.high) if x_axis.log else ticks(x_axis.low, x_axis.high, 5):
        x = x_axis.at(value)
        parts.append(
            f'<path class="a" d="M{x:.1f} {bottom}v3"/>'
            f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{_number(value)}</text>'
        )
    parts.append(f'<path class="a" d="M{LEFT} {TOP}V{bottom}H{width - RIGHT}"/>')
    if x_label:
        parts.append(
            f'<text x="{(LEFT + width - RIGHT) / 2}" y="{height - 3}" text-anchor="middle">{escape(x_label)}</text>'
        )
    if y_label:
        middle = (TOP + bottom) / 2
        parts.append(
            f'<text transform="translate(9 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
        )
    return parts


def _line(line: Line, colour: int, x_axis: _Axis, y_axis: _Axis) -> list[str]:
    x, y = np.asarray(line.x, dtype=np.float64), np.asarray(line.y, dtype=np.float64)
    keep = thin_places(len(x))
    there = np.isfinite(x) & np.isfinite(y)
    if x_axis.log:
        there &= x > 0
    if y_axis.log:
        there &= y > 0
    kind = f"c{colour % COLOURS}"
    parts = []
    if line.low is not None and line.high is not None:
        low, high = np.asarray(line.low, dtype=np.float64), np.asarray(line.high, dtype=np.float64)
        inside = [index for index in keep if there[index] and (low[index] > 0 or not y_axis.log)]
        edge = [(x[index], high[index]) for index in inside] + [
            (x[index], low[index]) for index in inside[::-1]
        ]
        if edge:
            points = "L".join(f"{x_axis.at(a):.1f} {y_axis.at(b):.1f}" for a, b in edge)
            parts.append(f'<path class="band {kind}" d="M{points}z"/>')
    if line.kind == "points":
        return parts + [
            _dot(kind, x_axis.at(x[index]), y_axis.at(y[index])) for index in keep if there[index]
        ]
    path, pen = [], "M"
    for number, index in enumerate(keep):
        if there[index]:
            path.append(f"{pen}{x_axis.at(x[index]):.1f} {y_axis.at(y[index]):.1f}")
            alone = pen == "M" and not there[keep[number + 1 : number + 2]].any()
            if alone:  # no line goes to or from it, so that nothing of it would be seen
                parts.append(_dot(kind, x_axis.at(x[index]), y_axis.at(y[index])))
        pen = "L" if there[index] else "M"
    if path:
        parts.append(f'<path class="l {kind} {line.kind}" d="{"".join(path)}"/>')
    return parts


def _dot(kind: str, x: float, y: float) -> str:
    return f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'


def thin_places(count: int) -> list[int]:
    """Return at most `MOST_POINTS` evenly spaced positions, the last among them."""
    if count <= MOST_POINTS:
        return list(range(count))
    return [int(index) for index in np.unique(np.linspace(0, count - 1, MOST_POINTS).round())]


def _number(value: float) -> str:
    if value and not 1e-3 <= abs(value) < 1e4:
        mantissa, _, exponent = f"{value:.2g}".partition("e")
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    return f"{value:.4g}"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
