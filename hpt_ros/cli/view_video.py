# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An episode as a video: its views side by side, below them action and state over time with a moving line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hpt_ros.cli.demo_report import write_video
from hpt_ros.dataset import Dataset, Episode

Picture = NDArray[np.uint8]

WIDTH_PX, VIEW_HEIGHT_PX, PLOT_HEIGHT_PX = 960, 320, 360
CURSOR = (230, 30, 30)
DPI = 100


def write_episode_video(
    path: Path, dataset: Dataset, episode: Episode, ticks: Iterator[Sequence[Picture]]
) -> None:
    """Write the video at the dataset's rate.

    Args:
        path: MP4 to write.
        dataset, episode: what is shown.
        ticks: the pictures of each tick, RGB uint8 (H, W, 3), one per view.
    """
    plot, left, right = _plot(dataset, episode)
    names = [stream.name for stream in dataset.embodiment.image_streams]
    fps = max(1, round(dataset.embodiment.tick_hz))
    write_video(path, _frames(ticks, names, plot, left, right, episode.length), fps)


def _frames(
    ticks: Iterator[Sequence[Picture]],
    names: Sequence[str],
    plot: Picture,
    left: int,
    right: int,
    length: int,
) -> Iterator[Picture]:
    for tick, pictures in enumerate(ticks):
        below = plot.copy()
        column = left + round((right - left) * tick / max(length - 1, 1))
        below[:, max(column - 1, 0) : column + 1] = CURSOR
        yield np.concatenate([_row(pictures, names), below]) if pictures else below


def _row(pictures: Sequence[Picture], names: Sequence[str]) -> Picture:
    """The views side by side, each as large as its part of the row lets it be, on black."""
    row = np.zeros((VIEW_HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    width_px = WIDTH_PX // len(pictures)
    for view, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        scale = min(width_px / picture.shape[1], VIEW_HEIGHT_PX / picture.shape[0])
        size = (max(1, int(picture.shape[1] * scale)), max(1, int(picture.shape[0] * scale)))
        shown = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
        x, y = view * width_px + (width_px - size[0]) // 2, (VIEW_HEIGHT_PX - size[1]) // 2
        row[y : y + size[1], x : x + size[0]] = shown
        cv2.putText(row, name, (view * width_px + 8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
    return row


def _plot(dataset: Dataset, episode: Episode) -> tuple[Picture, int, int]:
    """Action (solid) and the state of the same name (dotted); the columns of the first and the last tick."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    robot = dataset.embodiment
    rows = slice(episode.start, episode.stop)
    times_s = np.arange(episode.length) * robot.dt_s
    figure = Figure(figsize=(WIDTH_PX / DPI, PLOT_HEIGHT_PX / DPI), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    for column, name in enumerate(robot.action.names):
        (line,) = axes.plot(times_s, dataset.action[rows, column], linewidth=1.2, label=name)
        if f"{name}.position" in robot.state_names:
            measured = dataset.state[rows, robot.state_names.index(f"{name}.position")]
            axes.plot(times_s, measured, linewidth=0.9, linestyle=":", color=line.get_color())
    axes.set(
        xlabel="time, s",
        ylabel=f"action (solid), state (dotted), {robot.action.unit}",
        title=f"{dataset.root.name}, episode {episode.index}: {episode.task}",
    )
    axes.title.set_parse_math(False)  # a task's text is no formula
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    picture = np.ascontiguousarray(drawn[..., :3])
    ends = axes.transData.transform([(times_s[0], 0.0), (times_s[-1], 0.0)])[:, 0]
    return picture[:PLOT_HEIGHT_PX, :WIDTH_PX], round(float(ends[0])), round(float(ends[1]))
