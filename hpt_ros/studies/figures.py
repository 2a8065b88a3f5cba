# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Figures of a study, as figures 5 to 8 of arXiv 2409.20537 have them: a quantity over an axis of logarithmic scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hpt_ros.studies.results import Line, Result, fit_of, lines_of, places_of
from hpt_ros.studies.success import Judged

Floats = npt.NDArray[np.float64]

BESIDE: Final = 0.12  # of the distance of two names
WIDE: Final = 42  # letters of all names that stand beside one another; more stand aslant


def draw_losses(folder: Path, results: Sequence[Result], x: str) -> None:
    """Draw the losses as figure.svg and figure.png: mean and range of the seeds, power laws dashed."""
    with _figure(folder / "figure", results, x, "validation loss") as figure:
        for line in figure.lines:
            losses = [point.values("validation_loss") for point in line.points]
            means, lows, highs = (np.array([at(each) for each in losses]) for at in (np.mean, np.min, np.max))
            places, colour = figure.line(line, means, lows, highs)
            if fit := fit_of(line, x):
                a, b = fit
                curve = np.geomspace(places.min(), places.max(), 50)
                figure.axes.plot(curve, a * curve**b, "--", color=colour, linewidth=1)


def draw_curves(folder: Path, results: Sequence[Result], x: str) -> None:
    """Draw validation losses over the tokens seen so far as tokens.svg and tokens.png: mean and range of the seeds.

    Tokens are those of the stems, that the trunk gets; runs of other batch sizes are compared at as many tokens, as
    arXiv 2409.20537 does. Left out are cells that were trained before studies kept their curves.
    """
    drawn = [result for result in results if len(result.get("curve", ())) > 1]
    if not drawn:
        return
    with _axes(folder / "tokens") as axes:
        for line in lines_of(drawn, x):
            for point in line.points:
                curves = np.array([result["curve"] for result in point.results])  # (seeds, validations, 2)
                first = point.results[0]
                tokens = curves[0, :, 0] * first["batch"] * first["tokens_per_sample"]
                losses = curves[:, :, 1]
                name = f"{x.replace('_', ' ')} {point.x if point.x != 0 else 'all'}"
                label = f"{line.name}, {name}" if line.name else name
                (shown,) = axes.plot(tokens, losses.mean(0), "o-", markersize=3, label=label)
                axes.fill_between(tokens, losses.min(0), losses.max(0), alpha=0.15, color=shown.get_color())
        axes.set_xscale("log")
        axes.set_xlabel("tokens seen")
        axes.set_ylabel("validation loss")
        axes.legend(fontsize=8)


@contextmanager
def _axes(path: Path) -> Iterator[Any]:
    """Axes of one figure, saved as SVG and PNG at the end of the block."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.hashsalt": "hpt_ros"})
    figure, axes = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
    try:
        yield axes
        axes.grid(alpha=0.3)
        for ending in ("svg", "png"):
            date = {"Date": None} if ending == "svg" else None
            figure.savefig(path.with_suffix(f".{ending}"), dpi=150, metadata=date)
    finally:
        plt.close(figure)


def draw_success(
    folder: Path, judged: Sequence[tuple[Line, Sequence[Judged]]], results: Sequence[Result], x: str
) -> None:
    """Draw success over all environments as success.svg and success.png, with its 95 % interval.

    Args:
        folder: of the study.
        judged: of `hpt_ros.studies.success.judge`; lines without outcomes are left out.
        results: of the cells, for the axis.
        x: its name.
    """
    with _figure(folder / "success", results, x, "success, %") as figure:
        for line, points in judged:
            done = [item for item in points if item.success]
            if not done:
                continue
            each = [list(item.success.values())[-1] for item in done]  # the last is of all environments
            shown = Line(line.name, tuple(item.point for item in done))
            ratios = np.array([(item.estimate, item.lower, item.upper) for item in each])
            figure.line(shown, *(100 * ratios.T))
        figure.axes.set_ylim(-2.0, 102.0)


@contextmanager
def _figure(path: Path, results: Sequence[Result], x: str, ylabel: str) -> Iterator[_Figure]:
    """Axes that all figures of a study have alike, saved at the end of the block."""
    with _axes(path) as axes:
        figure = _Figure(axes, results, x)
        yield figure
        figure.label()
        axes.set_ylabel(ylabel)


class _Figure:
    """Lines over what a study varies, on axes that are numbers or names."""

    def __init__(self, axes: Any, results: Sequence[Result], x: str) -> None:
        self.axes, self._x = axes, x
        self.lines = lines_of(results, x)
        # Places of names are the same in all lines.
        names: dict[Any, None] = {}
        for line in self.lines:
            names |= dict.fromkeys(point.x for point in line.points)
        self._names = list(names)
        self._drawn = 0
        self._numbers = all(places_of(line, x) is not None for line in self.lines)

    def places(self, line: Line) -> Any:
        """Return where the points of a line are."""
        found = places_of(line, self._x) if self._numbers else None
        return (
            np.array([self._names.index(point.x) for point in line.points], float) if found is None else found
        )

    def line(self, line: Line, values: Floats, lows: Floats, highs: Floats) -> tuple[Floats, Any]:
        """Draw a line with a band around it, or points with bars: between names there is nothing.

        Returns:
            The places of its points, and its colour.
        """
        places = self.places(line)
        label = line.name or None
        if self._numbers:
            (drawn,) = self.axes.plot(places, values, "o-", label=label)
            self.axes.fill_between(places, lows, highs, alpha=0.15, color=drawn.get_color())
            return places, drawn.get_color()
        # Side by side, or the bars of several lines would lie on one another.
        shift = BESIDE * (self._drawn - (len(self.lines) - 1) / 2)
        self._drawn += 1
        bars = self.axes.errorbar(
            places + shift, values, (values - lows, highs - values), fmt="o", capsize=3, label=label
        )
        return places, bars.lines[0].get_color()

    def label(self) -> None:
        """Name the points along the axis, and the lines."""
        ticks = {
            float(place): str(point.x if point.x != 0 else "all")
            for line in self.lines
            for place, point in zip(self.places(line), line.points, strict=True)
        }
        if self._numbers and len(ticks) > 1:
            self.axes.set_xscale("log")
        if not self._numbers:
            self.axes.set_xlim(-0.5, len(self._names) - 0.5)
        wide = sum(map(len, ticks.values())) > WIDE
        self.axes.set_xticks(
            list(ticks),
            list(ticks.values()),
            rotation=20 if wide else 0,
            ha="right" if wide else "center",
        )
        self.axes.minorticks_off()
        self.axes.set_xlabel(self._x.replace("_", " ") + (", by parameters" if self._x == "size" else ""))
        if self.axes.get_legend_handles_labels()[1]:
            self.axes.legend(fontsize=8)
