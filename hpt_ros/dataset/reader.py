# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Reads a LeRobotDataset v3.0 folder together with the embodiment file that travels in it.

Layout (codebase version v3.0, as the `lerobot` package 0.4 writes it): ``meta/info.json`` names the features and the
path templates of data and videos; ``meta/episodes/**.parquet`` states where each episode's rows and frames are;
``data/**.parquet`` holds the vectors of many episodes per file; one mp4 holds the frames of many episodes.
Vectors are small and read into memory; arrays of several axes, as depth and point clouds, are written out once and
memory-mapped (`hpt_ros.dataset.columns`); frames are decoded once, by `hpt_ros.learning.cache`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset.columns import LazyArrays, MappedColumns, read_vectors
from hpt_ros.dataset.conversion_report import ACTION_SOURCES
from hpt_ros.dataset.depth_codes import DepthCodes
from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.feature_check import check_features
from hpt_ros.dataset.layout import (
    ACTION,
    DATA,
    EPISODES,
    INFO,
    LABELS,
    STATE,
    EpisodeRow,
    Feature,
    parquet_files,
)
from hpt_ros.dataset.metadata import Info, read_action_source, read_embodiment, read_info
from hpt_ros.dataset.selection import check_known
from hpt_ros.dataset.tables import integers, numbers, read_parquet, read_rows
from hpt_ros.dataset.video_reader import CodedVideos, decode_video
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, format_count

TIMESTAMP = "timestamp"
RATE_OFF = 0.1  # ratio by which rows may be further apart in time than the rate says, or less


@dataclass(frozen=True, slots=True)
class VideoSpan:
    """Where an episode's frames of one view are."""

    path: Path
    first_frame: int


@dataclass(frozen=True, slots=True)
class Episode:
    """One demonstration: rows ``start .. stop - 1`` of the dataset."""

    index: int
    start: int
    stop: int
    task: str
    videos: tuple[VideoSpan, ...]  # in the embodiment's view order
    coded: Mapping[str, VideoSpan] = field(
        default_factory=dict
    )  # feature that is a video of codes to its frames

    @property
    def length(self) -> int:
        """Number of ticks."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Dataset:
    """An opened and checked dataset; N ticks in all, D state and Da action dimensions."""

    root: Path
    embodiment: Embodiment
    episodes: tuple[Episode, ...]
    state: NDArray[np.float32]  # (N, D), raw units
    action: NDArray[np.float32]  # (N, Da), raw units
    files: tuple[Path, ...]  # every file that the content depends on, sorted
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # other features but videos: (N, *shape)
    action_source: str | None = (
        None  # what an action is, see `ACTION_SOURCES`; None if the dataset does not say
    )
    labels: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # those of `LABELS` that there are: (N,)
    tasks: tuple[str, ...] = field(init=False)  # the episodes' task texts, sorted, each once
    task_index: NDArray[np.int64] = field(init=False)  # (N,), place of each tick's task in `tasks`

    def __post_init__(self) -> None:
        tasks = tuple(sorted({episode.task for episode in self.episodes}))
        index = np.zeros(len(self.action), dtype=np.int64)
        for episode in self.episodes:
            index[episode.start : episode.stop] = tasks.index(episode.task)
        object.__setattr__(self, "tasks", tasks)
        object.__setattr__(self, "task_index", index)

    @property
    def length(self) -> int:
        """Number of ticks N, those of episodes that were not selected included."""
        return int(self.action.shape[0])

    def select(self, numbers: Sequence[int]) -> Dataset:
        """Return the same dataset with these episodes alone; its arrays keep their rows.

        Raises:
            DatasetError: one is not there.
        """
        check_known(numbers, (episode.index for episode in self.episodes), f"dataset {str(self.root)!r}")
        return replace(self, episodes=tuple(e for e in self.episodes if e.index in set(numbers)))

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of every view; (0, 0) when the embodiment has no camera."""
        for stream in self.embodiment.image_streams:
            assert stream.image is not None  # the schema saw to it
            return stream.image.height, stream.image.width
        return 0, 0

    @property
    def coded(self) -> bool:
        """Whether its depth is stored as a video of codes."""
        return any(episode.coded for episode in self.episodes)

    def summary(self) -> str:
        """Return one line for people: episodes, ticks, minutes, views."""
        minutes = self.length * self.embodiment.dt_s / 60
        views = ", ".join(stream.name for stream in self.embodiment.image_streams) or "none"
        return (
            f"{format_count(len(self.episodes), 'episode')}, {self.length} ticks at {self.embodiment.tick_hz:g} Hz "
            f"({minutes:.1f} min), views: {views}"
            + (
                f", actions: {ACTION_SOURCES[self.action_source]}"
                if self.action_source not in (None, "command")
                else ""
            )
        )


def open_dataset(
    root: str | Path, embodiment: Embodiment | None = None, *, cache_root: str | Path | None = None
) -> Dataset:
    """Open a dataset and check everything but the pixels.

    Args:
        root: the folder that holds ``meta/``.
        embodiment: the robot, for datasets that do not carry one; must agree with it otherwise.
        cache_root: folder for depth and point clouds, which are written out and memory-mapped when they are first
            asked for; a folder beside the dataset if None, as for decoded frames.

    Raises:
        DatasetError: a missing or damaged file, another version, features that are not the embodiment's, counts
            that do not fit.
    """
    root = Path(root)
    info = read_info(root)
    robot = read_embodiment(root, embodiment)
    features = check_features(info, robot)
    episodes, meta_files = _read_episodes(info, features)
    state, action, arrays, labels, data_files = _read_data(info, features, episodes, cache_root)
    videos = {span.path for episode in episodes for span in (*episode.videos, *episode.coded.values())}
    for path in sorted(videos):
        if not path.is_file():
            raise DatasetError(
                Code.NOT_FOUND, f"dataset {str(root)!r}", str(path.relative_to(root)),
                problem="lacks the video {value} that its episodes name",
                remedy="copy the dataset again or convert its bags again",
            )  # fmt: skip
    files = tuple(sorted({root / INFO, *meta_files, *data_files, *videos}))
    return Dataset(root, robot, episodes, state, action, files, arrays, read_action_source(root), labels)


def episodes_with_frames(
    dataset: Dataset,
) -> Iterator[tuple[Episode, dict[str, Iterator[NDArray[np.uint8]]]]]:
    """Yield each episode with the frames of each view; videos of many episodes are decoded once, in order."""
    names = [stream.name for stream in dataset.embodiment.image_streams]
    playing: dict[str, tuple[Path, int, Iterator[NDArray[np.uint8]]]] = {}
    for episode in dataset.episodes:
        frames: dict[str, Iterator[NDArray[np.uint8]]] = {}
        for name, span in zip(names, episode.videos, strict=True):
            path, index, video = playing.get(name, (None, 0, iter(())))
            if path != span.path or index > span.first_frame:
                index, video = 0, decode_video(span.path, dataset.embodiment.tick_hz)
            for _ in islice(video, span.first_frame - index):
                pass
            frames[name] = islice(video, episode.length)
            playing[name] = (span.path, span.first_frame + episode.length, video)
        yield episode, frames


def _read_episodes(
    info: Info, features: Mapping[str, Feature]
) -> tuple[tuple[Episode, ...], tuple[Path, ...]]:
    root = info.root
    files = parquet_files(root, EPISODES)
    if not files:
        raise DatasetError(
            Code.EMPTY, f"dataset {str(root)!r}", EPISODES, problem="has no file in {value}",
            remedy="copy the dataset again or convert its bags again",
        )  # fmt: skip
    keys = [name for name, feature in features.items() if not feature.in_rows]
    columns = EpisodeRow.column_names(keys)
    rows = [EpisodeRow.from_columns(row, keys) for path in files for row in read_rows(path, columns)]
    rows.sort(key=lambda row: row.start)
    episodes: list[Episode] = []
    expected = 0
    for row in rows:
        spans = {
            key: VideoSpan(
                info.fill_path("video_path", video_key=key, **video.file.values()),
                round(video.from_s * info.fps),
            )
            for key, video in row.videos.items()
        }
        coded = {key: span for key, span in spans.items() if features[key].coded}
        views = tuple(span for key, span in spans.items() if key not in coded)
        tasks = row.tasks or ("",)
        if len(tasks) > 1:
            raise DatasetError(
                Code.UNSUPPORTED, f"dataset {str(root)!r}, episode {row.index}", list(tasks),
                problem=f"has the tasks {', '.join(map(repr, tasks))}", expected="one task an episode",
                remedy="split the episode where its task changes",
            )  # fmt: skip
        episode = Episode(row.index, row.start, row.stop, tasks[0], views, coded)
        if episode.start != expected or episode.length != row.length or episode.length < 1:
            raise DatasetError(
                Code.DAMAGED, f"dataset {str(root)!r}, episode {episode.index}", (episode.start, episode.stop),
                problem=f"has rows {episode.start} to {episode.stop} and length {row.length}",
                expected=f"rows from {expected} and at least one", remedy="convert the bags again",
            )  # fmt: skip
        expected = episode.stop
        episodes.append(episode)
    if expected != info.total_frames:
        raise DatasetError(
            Code.MISMATCH, f"dataset {str(root)!r}", info.total_frames,
            problem=f"has total_frames {{value}} in {INFO!r}, but its episodes hold {expected}",
            remedy="copy the dataset again or convert its bags again",
        )  # fmt: skip
    return tuple(episodes), files


def _read_data(
    info: Info,
    features: Mapping[str, Feature],
    episodes: tuple[Episode, ...],
    cache_root: str | Path | None,
) -> tuple[
    NDArray[np.float32],
    NDArray[np.float32],
    Mapping[str, NDArray[Any]],
    Mapping[str, NDArray[Any]],
    tuple[Path, ...],
]:
    root = info.root
    # Row order is the global index; the files of v3.0 are numbered in that order.
    files = parquet_files(root, DATA)
    held = [name for name, feature in features.items() if feature.in_rows and not feature.is_large]
    large = {name: feature for name, feature in features.items() if feature.is_large}
    also = tuple(name for name, feature in large.items() if feature.in_rows)
    labelled = [name for name in LABELS if name in info.features]
    timed = [name for name in (TIMESTAMP,) if name in info.features]
    tables = [
        read_parquet(path, ["index", "episode_index", *timed, *held, *labelled], also=also) for path in files
    ]
    total = sum(table.num_rows for table in tables)
    if total != info.total_frames:
        raise DatasetError(
            Code.MISMATCH, f"dataset {str(root)!r}", info.total_frames,
            problem=f"has total_frames {{value}} in {INFO!r}, but its data files hold {total} rows",
            remedy="copy the dataset again or convert its bags again",
        )  # fmt: skip
    if not tables:
        raise DatasetError(
            Code.EMPTY, f"dataset {str(root)!r}", DATA, problem="has no file in {value}",
            remedy="copy the dataset again",
        )  # fmt: skip
    where = f"dataset {str(root)!r}"
    index, episode_index = (
        np.concatenate([integers(table, name, where) for table in tables])
        for name in ("index", "episode_index")
    )
    expected = np.repeat([episode.index for episode in episodes], [episode.length for episode in episodes])
    if not np.array_equal(index, np.arange(total)) or not np.array_equal(episode_index, expected):
        wrong = int(np.flatnonzero((index != np.arange(total)) | (episode_index != expected))[0])
        raise DatasetError(
            Code.DAMAGED, f"dataset {str(root)!r}", index[wrong],
            problem=f"has index {index[wrong]} of episode {episode_index[wrong]} in row {wrong}",
            expected=f"index {wrong} of episode {expected[wrong]}", remedy="convert the bags again",
        )  # fmt: skip
    if timed:
        times = np.concatenate([numbers(table, TIMESTAMP, 1, where)[:, 0] for table in tables])
        _require_rate(times, expected, info.fps, where)
    vectors = {name: read_vectors(root, tables, name, features[name].shape[0], expected) for name in held}
    action = vectors.pop(ACTION)
    # An embodiment without proprioception has a state of no numbers.
    state = vectors.pop(STATE, np.zeros((total, 0), dtype=np.float32))
    coded = {
        name: CodedVideos(
            info.features[name].codes or DepthCodes(),
            info.fps,
            [
                (item.coded[name].path, item.coded[name].first_frame, item.start, item.length)
                for item in episodes
            ],
        )
        for name, feature in large.items()
        if feature.coded
    }
    arrays = LazyArrays(vectors, MappedColumns(root, files, large, total, cache_root, coded))
    labels = {
        name: np.concatenate([numbers(table, name, 1, where)[:, 0] for table in tables]).astype(LABELS[name])
        for name in labelled
    }
    return state, action, arrays, labels, files


def _require_rate(times: NDArray[Any], episodes: NDArray[np.int64], fps: float, where: str) -> None:
    """Raise DatasetError if rows are further apart in time, or less, than the rate that the dataset claims.

    A policy that learns ticks of another rate moves a robot too fast or too slowly.
    """
    steps = np.diff(times.astype(np.float64))[np.diff(episodes) == 0]
    steps = steps[np.isfinite(steps)]
    step_s = float(np.median(steps)) if len(steps) else 0.0
    if step_s > 0 and abs(step_s * fps - 1) > RATE_OFF:
        raise DatasetError(
            Code.MISMATCH, f"{where}, fps", fps, problem="is {value}",
            expected=f"{1 / step_s:.4g}, since the timestamps of its rows are {step_s:.4g} s apart",
            remedy=f"correct the one that is wrong: fps in {INFO!r} with tick_hz of the embodiment, or the timestamps",
        )  # fmt: skip
