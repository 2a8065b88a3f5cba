# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Cuts the rests off the ends of a dataset's episodes; deleting, merging and splitting are LeRobot's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset.conversion_report import read_report
from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.layout import ACTION, STATE, features_of
from hpt_ros.dataset.quality.measure import find_motion
from hpt_ros.dataset.reader import Dataset, episodes_with_frames
from hpt_ros.dataset.writer import DatasetWriter
from hpt_ros.errors import Code

KEPT_S = 0.5  # of a rest that is cut off, as in conversion


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What remains of an episode: its number, and the first and one past the last of its ticks that remain."""

    episode: int
    start: int
    stop: int


def find_ends(dataset: Dataset, longest_rest_s: float) -> list[Trimmed]:
    """Return what remains of each episode, in order.

    A rest is what the quality report calls one: neither command nor arm moves faster than 1 % of its velocity limit.
    One that is longer is cut to `KEPT_S`; an episode that rests throughout stays as it is, for a person to judge.

    Raises:
        DatasetError: the longest rest is shorter than what is retained of one.
    """
    if not KEPT_S <= longest_rest_s < math.inf:
        raise DatasetError(
            Code.OUT_OF_RANGE, "the longest rest", longest_rest_s, problem="is {value} s",
            expected=f"at least {KEPT_S:g} s, since that much of each rest stays", remedy="give more",
        )  # fmt: skip
    robot, found = dataset.embodiment, []
    most, kept = round(longest_rest_s * robot.tick_hz), round(KEPT_S * robot.tick_hz)
    for episode in dataset.episodes:
        rows = slice(episode.start, episode.stop)
        moved = np.flatnonzero(
            find_motion(
                robot, dataset.state[rows].astype(np.float64), dataset.action[rows].astype(np.float64)
            )
        )
        start, stop = 0, episode.length
        if len(moved):
            before, after = int(moved[0]) - 1, episode.length - 1 - int(moved[-1])
            start = before - kept if before > most else 0
            stop = episode.length - (after - kept) if after > most else episode.length
        found.append(Trimmed(episode.index, start, stop))
    return found


def trim_dataset(
    dataset: Dataset,
    out: str | Path,
    longest_rest_s: float,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Trimmed]:
    """Write a dataset again without long rests at its episodes' ends; return what remains of each.

    Videos are encoded again; all other values come out as they were.

    Args:
        dataset: opened.
        out: the new dataset's folder.
        longest_rest_s: a longer rest is cut to `KEPT_S`.
        overwrite: replace a dataset that is there.
        progress: called with episodes done and in all.
    """
    robot = dataset.embodiment
    names = {
        feature.stream: name for name, feature in features_of(robot).items() if feature.modality == "image"
    }
    columns: dict[str, NDArray[Any]] = {ACTION: dataset.action, STATE: dataset.state}
    columns |= dict(dataset.arrays)
    columns |= {name: values[:, None] for name, values in dataset.labels.items()}
    ends = find_ends(dataset, longest_rest_s)
    report = _shift(read_report(dataset.root).values, {end.episode: end for end in ends}, robot.dt_s)
    with DatasetWriter(
        out, robot, overwrite=overwrite, labels=tuple(dataset.labels), coded=dataset.coded
    ) as writer:
        for (episode, frames), end in zip(episodes_with_frames(dataset), ends, strict=True):
            written = writer.episode(episode.task)
            try:
                for video in frames.values():
                    for _ in islice(video, end.start):
                        pass
                for tick in range(end.start, end.stop):
                    values = {name: array[episode.start + tick] for name, array in columns.items()}
                    values |= {names[view]: next(video) for view, video in frames.items()}
                    written.add(values)
                data = written.finish()
            except StopIteration as error:
                written.abort()
                raise DatasetError(
                    Code.DAMAGED, f"dataset {str(dataset.root)!r}, episode {episode.index},",
                    problem="has fewer images than ticks", remedy="copy it again",
                ) from error  # fmt: skip
            except BaseException:
                written.abort()
                raise
            writer.append(data)
            if progress is not None:
                progress(writer.episodes, len(ends))
        writer.finish(report)
    return ends


def _shift(report: Mapping[str, Any], ends: Mapping[int, Trimmed], dt_s: float) -> dict[str, Any]:
    """Return a conversion's report with the spans of its episodes as they are now."""
    shifted = dict(report)
    episodes = [dict(entry) for entry in report.get("episodes", ())]
    for entry in episodes:
        spans = [dict(span) for span in entry.get("spans", ())]
        for span in spans:
            if (end := ends.get(span.get("episode_index", -1))) is not None:
                span["start_ns"] = span.get("start_ns", 0) + round(end.start * dt_s * 1e9)
                span["ticks"] = end.stop - end.start
        entry["spans"] = spans
    return shifted | ({"episodes": episodes} if "episodes" in report else {})
