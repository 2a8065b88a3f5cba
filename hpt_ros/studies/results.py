# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the cells of a study show together: lines over an axis, their table, and power laws through their losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpt_ros.studies.config import AXES

# Through two points there is a power law whatever they are.
FEWEST_FITTED: Final = 3
Result = Mapping[str, Any]  # of one cell


@dataclass(frozen=True, slots=True)
class Point:
    """The cells of one arm, which differ in their seeds alone.

    Attributes:
        x: value on the horizontal axis.
        results: of the cells.
    """

    x: Any
    results: tuple[Result, ...]

    def values(self, key: str) -> NDArray[np.float64]:
        """Return a number of each cell, (seeds,)."""
        return np.array([result[key] for result in self.results], dtype=float)


@dataclass(frozen=True, slots=True)
class Line:
    """Points that differ in the horizontal axis alone, in its order."""

    name: str
    points: tuple[Point, ...]


def lines_of(results: Sequence[Result], x: str) -> list[Line]:
    """Return the lines of a figure.

    Args:
        results: of the cells that are done.
        x: name of the horizontal axis.
    """
    others = [axis for axis in AXES if axis != x and len({result[axis] for result in results}) > 1]
    found: dict[str, dict[Any, list[Result]]] = {}
    for result in results:
        name = ", ".join(_label(axis, result[axis]) for axis in others if result[axis] != "")
        found.setdefault(name, {}).setdefault(result[x], []).append(result)
    return [
        Line(
            name,
            tuple(
                Point(value, tuple(cells))
                for value, cells in sorted(points.items(), key=lambda i: _order(i[0]))
            ),
        )
        for name, points in found.items()
    ]


def _label(axis: str, value: Any) -> str:
    return str(value) if isinstance(value, str) else f"{axis.replace('_', ' ')} {value or 'all'}"


def _order(value: Any) -> tuple[bool, Any]:
    """Sort 0, which stands for all there are, behind the numbers; names stay in their order."""
    return (value == 0, value) if isinstance(value, int) else (False, 0)


def places_of(line: Line, x: str) -> NDArray[np.float64] | None:
    """Return where a line's points are on an axis of numbers; None if it has none: names, or 0 for "all".

    Of sizes, it is the mean number of parameters.
    """
    if x == "size":
        return np.array([point.values("parameters").mean() for point in line.points])
    if all(isinstance(point.x, int) and point.x > 0 for point in line.points):
        return np.array([point.x for point in line.points], dtype=float)
    return None


def fit_of(line: Line, x: str) -> tuple[float, float] | None:
    """Return a and b of the power law y = a x^b of a line's validation losses; None with too few points."""
    places = places_of(line, x)
    if places is None or len(set(places.tolist())) < FEWEST_FITTED:
        return None
    losses = [point.values("validation_loss") for point in line.points]
    return power_law(np.repeat(places, [len(each) for each in losses]), np.concatenate(losses))


def power_law(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return a and b of y = a x^b, by least squares of the logarithms.

    Args:
        x, y: (N,) above 0, of at least two different x.
    """
    b, log_a = np.polyfit(np.log(x), np.log(y), 1)
    return float(np.exp(log_a)), float(b)


def losses_table(results: Sequence[Result], x: str) -> str:
    """Return the validation losses as Markdown: mean over seeds and their range, with fitted power laws."""
    rows = [
        f"| | {x} | seeds | validation loss | lowest | highest | parameters |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    fits = []
    for line in lines_of(results, x):
        for point in line.points:
            losses = point.values("validation_loss")
            rows.append(
                f"| {line.name} | {point.x} | {len(losses)} | {losses.mean():.4f} | {losses.min():.4f} | "
                f"{losses.max():.4f} | {point.values('parameters').mean():,.0f} |"
            )
        if fit := fit_of(line, x):
            name = "parameters" if x == "size" else x
            fits.append(f"{line.name + ': ' if line.name else ''}loss = {fit[0]:.3g} x {name}^{fit[1]:.3f}")
    return "\n".join([*rows, *(["", *fits] if fits else [])]) + "\n"
