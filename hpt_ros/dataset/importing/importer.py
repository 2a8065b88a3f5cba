# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Datasets of others to a dataset of this project, so that a policy can be pre-trained on them.

A source gives images, one state vector, one action vector, a task text and labels (reward, done, success,
intervention). Other columns are left out and listed. An embodiment is made from what is in the data unless one is
given: it describes the data and is not meant for a robot, since such datasets state neither topics nor limits nor often
what an action is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from hpt_ros.dataset.episode_writer import EpisodeData
from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.importing.source import Source, SourceEpisode, Unread, to_name
from hpt_ros.dataset.layout import ACTION, STATE, stream_feature
from hpt_ros.dataset.writer import DatasetWriter, check_place
from hpt_ros.embodiment import FORMAT, Embodiment
from hpt_ros.embodiment.estimates import SLOWEST, default_horizon, widen_range
from hpt_ros.errors import Code, HptError

MODEL = "a model of the data it was imported with; not for a robot: topics and limits are made up"


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
    coded: bool = False,
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
        coded: store depth as a video of codes.
        progress: called with the number of episodes done.

    Raises:
        DatasetExistsError: as `check_place`.
        DatasetError: the source is damaged, an episode has values that are not finite, or the embodiment does not fit.
    """
    report = ImportReport()
    check_place(out, overwrite=overwrite)
    robot = make_embodiment(source, name, size, skip_bad) if embodiment is None else embodiment
    _check_fit(source, robot)
    with DatasetWriter(out, robot, overwrite=overwrite, labels=tuple(source.labels), coded=coded) as writer:
        for number, unread in enumerate(source.episodes()):
            try:
                for data in _encode(writer, robot, unread, task):
                    writer.append(data)
            except HptError as error:
                if not skip_bad:
                    raise
                report.skipped[unread.name] = str(error)
            if progress is not None:
                progress(number + 1)
        if not writer.episodes:
            first = next(iter(report.skipped.values()), "it has none")
            raise DatasetError(
                Code.EMPTY, f"none of the episodes of {source.where}", first,
                problem=f"can be imported; the first: {first}",
            )  # fmt: skip
        report.episodes, report.rows = writer.episodes, writer.frames
        writer.finish(
            {
                "imported_from": source.where,
                "left_out": list(source.left_out),
                "labels": dict(source.labels),
                "notes": list(source.notes),
                "skipped_episodes": report.skipped,
            }
        )
    return report


def _encode(writer: DatasetWriter, robot: Embodiment, unread: Unread, task: str) -> Sequence[EpisodeData]:
    """Return an episode, or those that it becomes where its task changes: all of them, or an error and none."""
    done: list[EpisodeData] = []
    episodes = unread.read()
    if not any(len(episode.action) for episode in episodes):
        raise DatasetError(
            Code.EMPTY, unread.name, problem="has no rows", remedy="fix the dataset, or leave it out with --skip-bad",
        )  # fmt: skip
    try:
        for number, episode in enumerate(episodes):
            written = writer.episode(episode.task or task or robot.task, number)
            try:
                for values in _ticks(robot, episode):
                    written.add(values)
                done.append(written.finish())
            except BaseException:
                written.abort()
                raise
    except BaseException:
        for data in done:
            data.discard()
        raise
    return done


def _ticks(robot: Embodiment, episode: SourceEpisode) -> Iterator[dict[str, NDArray[Any]]]:
    from hpt_ros.observation.pixels import (
        resize_by_area,
        resize_by_nearest,
    )  # OpenCV, only when it is needed

    labels = [(f"label {label}", values.reshape(-1, 1)) for label, values in episode.labels.items()]
    for what, vectors in (("state", episode.state), ("action", episode.action), *labels):
        with np.errstate(over="ignore"):
            bad = np.argwhere(~np.isfinite(vectors.astype(np.float32)))
        if len(bad):
            row, column = bad[0]
            element = f", element {column}" if vectors.shape[1] > 1 else ""
            raise DatasetError(
                Code.NOT_FINITE, episode.name, vectors[row, column],
                problem=f"has the {what} {{value}} in row {row}{element}",
                expected="finite values of single precision",
                remedy="fix the dataset, or leave the episode out with --skip-bad",
            )  # fmt: skip
    streams = {stream.name: stream for stream in (*robot.image_streams, *robot.streams_of("depth"))}
    videos = {name: episode.frames[name]() for name in streams}
    for row in range(len(episode.action)):
        values: dict[str, NDArray[Any]] = {ACTION: episode.action[row], STATE: episode.state[row]}
        values |= {label: labelled[row : row + 1] for label, labelled in episode.labels.items()}
        for view, video in videos.items():
            image = next(video, None)
            if image is None:
                raise DatasetError(
                    Code.DAMAGED, episode.name, row,
                    problem=f"has {{value}} images of view {view!r} for {len(episode.action)} rows: it is cut short",
                    remedy="copy the dataset again, or leave the episode out with --skip-bad",
                )  # fmt: skip
            resized = resize_by_nearest if streams[view].modality == "depth" else resize_by_area
            values[stream_feature(streams[view].modality, view)] = resized(streams[view], image)
        yield values


def make_embodiment(
    source: Source, name: str = "", size: tuple[int, int] | None = None, skip_bad: bool = False
) -> Embodiment:
    """Return an embodiment that describes a source's data; reads all its vectors, and no image.

    Episodes that cannot be read do not count if `skip_bad` is true, and are an error otherwise.
    """
    if not source.views and not source.depths and not source.state_names:
        raise DatasetError(
            Code.MISSING, source.where, source.left_out,
            problem="has neither images nor a state that a policy could observe",
            remedy="name columns with --state, of those that were left out: "
            f"{', '.join(source.left_out)[:400] or 'none'}",
        )  # fmt: skip
    lower = np.full(len(source.action_names), np.inf)
    upper = -lower
    speed, pull = np.zeros(len(lower)), np.zeros(len(lower))
    failed: list[str] = []
    for action in _actions(source, skip_bad, failed):
        lower, upper = np.minimum(lower, action.min(axis=0)), np.maximum(upper, action.max(axis=0))
        rate = np.diff(action, axis=0) * source.fps
        if len(rate):
            speed = np.maximum(speed, np.abs(rate).max(axis=0))
        if len(rate) > 1:
            pull = np.maximum(pull, np.abs(np.diff(rate, axis=0) * source.fps).max(axis=0))
    if not np.isfinite(lower).all():
        raise DatasetError(
            Code.EMPTY, source.where,
            problem=f"has no episode that can be read; the first: {failed[0]}"
            if failed else "has no episode with finite actions",
            remedy="" if failed else "fix the dataset",
        )  # fmt: skip
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
    for modality, kind, views in (
        ("image", "sensor_msgs/msg/CompressedImage", source.views),
        ("depth", "sensor_msgs/msg/Image", source.depths),
    ):
        smallest = size or min(views.values(), key=math.prod, default=(0, 0))
        for view in views:
            streams.append(
                {
                    "name": view, "modality": modality, "topic": f"/imported/{view}", "type": kind,
                    "rate_hz": float(source.fps), "tolerance_s": period,
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


def _actions(source: Source, skip_bad: bool, failed: list[str]) -> Iterator[NDArray[np.float64]]:
    """Yield the actions of all episodes that can be written, (length, Da); why others cannot is added to `failed`."""
    for unread in source.episodes():
        try:
            episodes = unread.read()
        except HptError as error:
            if not skip_bad:
                raise
            failed.append(str(error))  # reported when it is written
            continue
        for episode in episodes:
            action = np.asarray(episode.action, dtype=np.float64)
            with np.errstate(over="ignore"):
                finite = np.isfinite(action.astype(np.float32)).all()
            if finite and len(action):
                yield action


def _check_fit(source: Source, robot: Embodiment) -> None:
    where = f"embodiment {robot.name!r} does not fit {source.where}:"
    if abs(robot.tick_hz - source.fps) > 1e-6:
        raise DatasetError(
            Code.MISMATCH, where, robot.tick_hz, problem=f"its tick_hz is {{value}}, the data has {source.fps:g}",
            remedy="correct it",
        )  # fmt: skip
    views = {"image": source.views, "depth": source.depths}
    for stream in robot.streams:
        if stream.modality in views and stream.name not in views[stream.modality]:
            raise DatasetError(
                Code.MISMATCH, where, stream.name,
                problem="it has the view {value}, the data has "
                f"{', '.join(views[stream.modality]) or 'none'}",
                remedy="name streams after the data's views",
            )  # fmt: skip
    for what, ours, theirs in (
        ("state", len(robot.state_names), len(source.state_names)),
        ("action", robot.action.dim, len(source.action_names)),
    ):
        if ours != theirs:
            raise DatasetError(
                Code.MISMATCH, where, ours, problem=f"its {what} has {{value}} elements, the data has {theirs}",
                remedy="correct it",
            )  # fmt: skip
    others = sorted({stream.modality for stream in robot.streams} - {*views, "state", "language"})
    if others:
        raise DatasetError(
            Code.UNSUPPORTED, where, others, problem=f"it has streams of {', '.join(others)}, which are not imported",
            remedy="remove them from the file",
        )  # fmt: skip
