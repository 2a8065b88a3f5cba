# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Datasets of others to a dataset of this project, so that a policy can be pre-trained on them.

A source gives images, one state vector, one action vector and a task text. Other columns are left out and
listed. An embodiment is made from what is in the data unless one is given: it describes the data and is not meant for a
robot, since such datasets say neither topics nor limits nor often what an action is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import yaml
from numpy.typing import NDArray

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.layout import ACTION, STATE, image_feature
from hpt_ros.dataset.writer import DatasetWriter
from hpt_ros.embodiment import FORMAT, Embodiment
from hpt_ros.embodiment.estimates import SLOWEST, default_horizon, widen_range
from hpt_ros.errors import HptError

MODEL = "a model of the data it was imported with; not for a robot: topics and limits are made up"

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class SourceEpisode:
    """An episode of another dataset.

    Attributes:
        name: for messages.
        task: task text.
        state: (length, D); (length, 0) if there is none.
        action: (length, Da).
        frames: view to a function that decodes its images, uint8 RGB (height, width, 3), one a row.
    """

    name: str
    task: str
    state: NDArray[np.floating[Any]]
    action: NDArray[np.floating[Any]]
    frames: Mapping[str, Callable[[], Iterator[Image]]]


class Source(Protocol):
    """Another dataset."""

    @property
    def where(self) -> str:
        """What it is, for messages."""
        ...

    @property
    def fps(self) -> float:
        """Rows a second."""
        ...

    @property
    def robot(self) -> str:
        """The robot that it names; may be empty."""
        ...

    @property
    def views(self) -> Mapping[str, tuple[int, int]]:
        """Names of the views and their size (height, width)."""
        ...

    @property
    def state_names(self) -> Sequence[str]:
        """Names of the state's elements; empty if there is no state."""
        ...

    @property
    def action_names(self) -> Sequence[str]:
        """Names of the action's elements."""
        ...

    @property
    def left_out(self) -> Sequence[str]:
        """Columns that are not taken."""
        ...

    def episodes(self) -> Iterator[SourceEpisode]:
        """Yield all episodes, in order; may be called more than once."""
        ...


@dataclass
class ImportReport:
    """What became of a dataset: episodes and rows written, and name to why an episode was left out."""

    episodes: int = 0
    rows: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


def import_dataset(
    source: Source,
    out: str | Path,
    embodiment: Embodiment | None = None,
    *,
    name: str = "",
    size: tuple[int, int] | None = None,
    task: str = "",
    overwrite: bool = False,
    skip_bad: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """Write a source's episodes as a dataset.

    Args:
        source: the other dataset.
        out: the new dataset's folder.
        embodiment: describes the data; made from it if None.
        name: of a made embodiment; the robot that the source names if empty.
        size: (height, width) of all views of a made embodiment; the smallest view's if None.
        task: task text of episodes that have none.
        overwrite: replace a dataset that is there.
        skip_bad: leave episodes out that cannot be read, and report them.
        progress: called with the number of episodes done.

    Raises:
        DatasetError: the source is damaged, an episode has values that are not finite, or the embodiment does not fit.
    """
    robot = make_embodiment(source, name, size) if embodiment is None else embodiment
    _check_fit(source, robot)
    report = ImportReport()
    with DatasetWriter(out, robot, overwrite=overwrite) as writer:
        for number, episode in enumerate(source.episodes()):
            try:
                _write(writer, robot, episode, task)
            except HptError as error:
                if not skip_bad:
                    raise
                report.skipped[episode.name] = str(error)
            if progress is not None:
                progress(number + 1)
        if not writer.episodes:
            first = next(iter(report.skipped.values()), "it has none")
            raise DatasetError(f"none of the episodes of {source.where} can be imported; the first: {first}")
        report.episodes, report.rows = writer.episodes, writer.frames
        writer.finish(
            {
                "imported_from": source.where,
                "left_out": list(source.left_out),
                "skipped_episodes": report.skipped,
            }
        )
    return report


def _write(writer: DatasetWriter, robot: Embodiment, episode: SourceEpisode, task: str) -> None:
    from hpt_ros.observation.pixels import resized_by_area  # OpenCV, only when it is needed

    for what, vectors in (("state", episode.state), ("action", episode.action)):
        bad = np.argwhere(~np.isfinite(vectors))
        if len(bad):
            row, column = bad[0]
            raise DatasetError(
                f"{episode.name} has the {what} {vectors[row, column]} in row {row}, element {column}, but finite "
                "values were expected; fix the dataset, or leave the episode out with --skip-bad"
            )
    if len(episode.action) < 1:
        raise DatasetError(f"{episode.name} has no rows; fix the dataset, or leave it out with --skip-bad")
    videos = {stream.name: episode.frames[stream.name]() for stream in robot.image_streams}
    streams = {stream.name: stream for stream in robot.image_streams}
    written = writer.episode(episode.task or task or robot.task)
    try:
        for row in range(len(episode.action)):
            values: dict[str, NDArray[Any]] = {ACTION: episode.action[row], STATE: episode.state[row]}
            for view, video in videos.items():
                image = next(video, None)
                if image is None:
                    raise DatasetError(
                        f"{episode.name} has {row} images of view {view!r} for {len(episode.action)} rows; it is cut "
                        "short: copy the dataset again, or leave the episode out with --skip-bad"
                    )
                values[image_feature(view)] = resized_by_area(streams[view], image)
            written.add(values)
        data = written.finish()
    except BaseException:
        written.abort()
        raise
    writer.append(data)


def make_embodiment(source: Source, name: str = "", size: tuple[int, int] | None = None) -> Embodiment:
    """Return an embodiment that describes a source's data; reads all its vectors, and no image."""
    lower = np.full(len(source.action_names), np.inf)
    upper = -lower
    speed, pull = np.zeros(len(lower)), np.zeros(len(lower))
    for episode in source.episodes():
        action = np.asarray(episode.action, dtype=np.float64)
        if not np.isfinite(action).all() or not len(action):
            continue  # refused when it is written
        lower, upper = np.minimum(lower, action.min(axis=0)), np.maximum(upper, action.max(axis=0))
        rate = np.diff(action, axis=0) * source.fps
        if len(rate):
            speed = np.maximum(speed, np.abs(rate).max(axis=0))
        if len(rate) > 1:
            pull = np.maximum(pull, np.abs(np.diff(rate, axis=0) * source.fps).max(axis=0))
    if not np.isfinite(lower).all():
        raise DatasetError(f"{source.where} has no episode with finite actions; fix the dataset")
    lower, upper = widen_range(lower, upper)
    limits = [
        {
            "name": element,
            "lower": float(lower[index]),
            "upper": float(upper[index]),
            "velocity": float(max(speed[index], SLOWEST)),
            "acceleration": float(max(pull[index], SLOWEST)),
        }
        for index, element in enumerate(source.action_names)
    ]
    period = 1.5 / source.fps
    streams: list[dict[str, Any]] = []
    smallest = size or min(source.views.values(), key=math.prod, default=(0, 0))
    for view in source.views:
        streams.append(
            {
                "name": view, "modality": "image", "topic": f"/imported/{view}",
                "type": "sensor_msgs/msg/CompressedImage", "rate_hz": float(source.fps), "tolerance_s": period,
                "image": {"height": smallest[0] - smallest[0] % 2, "width": smallest[1] - smallest[1] % 2},
            }
        )  # fmt: skip
    if source.state_names:
        streams.append(
            {
                "name": "state", "modality": "state", "topic": "/imported/state",
                "type": "std_msgs/msg/Float64MultiArray", "rate_hz": float(source.fps), "tolerance_s": period,
                "length": len(source.state_names),
            }
        )  # fmt: skip
    mapping = {
        "format": FORMAT,
        "name": to_name(name or source.robot or "imported"),
        "description": MODEL,
        "tick_hz": float(source.fps),
        "streams": streams,
        "action": {
            "topic": "/imported/action",
            "type": "trajectory_msgs/msg/JointTrajectory",
            "unit": "unknown",
            "names": list(source.action_names),
            "rate_hz": float(source.fps),
            "horizon": default_horizon(source.fps),
            "limits": limits,
        },
    }
    return Embodiment.loads(
        yaml.safe_dump(mapping, sort_keys=False), where=f"the embodiment made of {source.where}"
    )


def to_name(text: str) -> str:
    """Return the nearest name that an embodiment or a stream may have: small letters, digits and underscores."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return (plain if plain[:1].isalpha() else f"x_{plain}")[:60].rstrip("_")


def _check_fit(source: Source, robot: Embodiment) -> None:
    where = f"embodiment {robot.name!r} does not fit {source.where}:"
    if abs(robot.tick_hz - source.fps) > 1e-6:
        raise DatasetError(
            f"{where} its tick_hz is {robot.tick_hz:g}, the data has {source.fps:g}; correct it"
        )
    for stream in robot.image_streams:
        if stream.name not in source.views:
            raise DatasetError(
                f"{where} it has the view {stream.name!r}, the data has {', '.join(source.views) or 'none'}; name "
                "streams after the data's views"
            )
    for what, ours, theirs in (
        ("state", len(robot.state_names), len(source.state_names)),
        ("action", robot.action.dim, len(source.action_names)),
    ):
        if ours != theirs:
            raise DatasetError(f"{where} its {what} has {ours} elements, the data has {theirs}; correct it")
    others = sorted({stream.modality for stream in robot.streams} - {"image", "state", "language"})
    if others:
        raise DatasetError(
            f"{where} it has streams of {', '.join(others)}, which are not imported; remove them from the file"
        )
