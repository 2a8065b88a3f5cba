# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""LeRobotDataset v3.0 on disk: where each file lies, and what its columns and features are named.

Source: https://huggingface.co/docs/lerobot/lerobot-dataset-v3 and what the `lerobot` package 0.4 writes. Many episodes
share a data file and a video; the rows of ``meta/episodes`` state which rows and which seconds belong to each. This
project adds the two files of ``meta/hpt``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code
from hpt_ros.modalities import MODALITIES, Layout

if TYPE_CHECKING:
    from hpt_ros.dataset.tables import Record

VERSION = "v3.0"
# Below a dataset's folder.
INFO, STATISTICS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EMBODIMENT, REPORT = "meta/hpt/embodiment.yaml", "meta/hpt/report.json"
DATA, VIDEOS, EPISODES = "data", "videos", "meta/episodes"
_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH = f"{DATA}/{_FILE}.parquet"
EPISODES_PATH = f"{EPISODES}/{_FILE}.parquet"
VIDEO_PATH = f"{VIDEOS}/{{video_key}}/{_FILE}.mp4"
FILES_PER_CHUNK = 1000
# LeRobot's own limits: a new file is begun when the last one has reached its size.
DATA_FILE_MB, VIDEO_FILE_MB = 100, 200

OBSERVATION, IMAGES = "observation.", "observation.images."
STATE, ACTION = "observation.state", "action"
# Column of the data files that is no feature of the robot to its dtype.
VIDEO = "video"  # LeRobot's dtype of what is stored as frames
COUNTERS: Mapping[str, str] = {
    "timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64", "task_index": "int64",
}  # fmt: skip
# Columns that say of a row what no sensor measures, to their dtype; each is there in datasets that have it. The
# names of the
# first four are LeRobot's; `intervention` is true where a person had taken over.
LABELS: Mapping[str, str] = {
    "next.reward": "float32", "next.done": "bool", "next.success": "bool", "next.truncated": "bool",
    "intervention": "bool",
}  # fmt: skip
TASK_TEXT = "__index_level_0__"  # pandas keeps a task's text as the index of its table


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of a robot.

    Attributes:
        modality: its streams', or "action".
        stream: the stream's name; empty where all streams of the modality are joined.
        dtype: "video", or numpy's name.
        shape: of one tick's value.
        coded: its values are uint16 distances that the dataset stores as a video of `DepthCodes`.
    """

    modality: str
    stream: str
    dtype: str
    shape: tuple[int, ...]
    coded: bool = False

    @property
    def is_video(self) -> bool:
        """Whether its values are the frames of a colour video."""
        return self.dtype == VIDEO

    @property
    def in_rows(self) -> bool:
        """Whether it is stored as a column of the data files, not in a video."""
        return not (self.is_video or self.coded)

    @property
    def is_large(self) -> bool:
        """Whether its values are arrays of several axes, which an hour of does not fit into memory."""
        return not self.is_video and len(self.shape) > 1


def join_feature_name(modality: str) -> str:
    """Return the feature's name of a modality whose streams make one vector."""
    return f"{OBSERVATION}{MODALITIES[modality].folder or modality}"


def stream_feature(modality: str, stream_name: str) -> str:
    """Return the feature's name of a stream that is a feature of its own."""
    return f"{join_feature_name(modality)}.{stream_name}"


def image_feature(stream_name: str) -> str:
    """Return the feature's name of an image stream."""
    return stream_feature("image", stream_name)


def features_of(embodiment: Embodiment, coded: bool = False) -> dict[str, Feature]:
    """Return the robot's features by name; `coded` where the dataset stores as codes what may be stored so.

    One per stream whose samples lie side by side with others, one vector each of modalities that are joined, and the
    action. The task's text is no feature: datasets keep it per episode.
    """
    found: dict[str, Feature] = {}
    for modality in embodiment.modalities:
        name, dtype, streams = modality.name, modality.stored_as, embodiment.streams_of(modality.name)
        if modality.layout is Layout.STACKED:
            for stream in streams:
                found[stream_feature(name, stream.name)] = Feature(
                    name, stream.name, dtype, stream.shape, coded and modality.coded
                )
        elif modality.layout is Layout.JOINED:
            found[join_feature_name(name)] = Feature(name, "", dtype, modality.shape(streams))
    found[ACTION] = Feature("action", "", "float32", (embodiment.action.dim,))
    return found


def data_schema(features: Mapping[str, Feature], labels: Iterable[str] = ()) -> pa.Schema:
    """Return the columns of the data files; `labels` are those of `LABELS` that there are."""
    fields = [pa.field(name, _column_type(feature)) for name, feature in features.items() if feature.in_rows]
    columns = {**{name: LABELS[name] for name in labels}, **COUNTERS}
    fields += [pa.field(name, pa.from_numpy_dtype(np.dtype(dtype))) for name, dtype in columns.items()]
    return pa.schema(fields)


def _column_type(feature: Feature) -> pa.DataType:
    kind = pa.from_numpy_dtype(feature.dtype)
    if len(feature.shape) == 1:
        # LeRobot reads a feature of shape (1,) as a plain column.
        return kind if feature.shape == (1,) else pa.list_(kind, *feature.shape)
    for _ in feature.shape:
        kind = pa.list_(kind)  # what is under LeRobot's own columns of several dimensions
    return kind


def integer_fps(embodiment: Embodiment) -> int:
    """Return the tick rate as the integer that the format wants.

    Raises:
        DatasetError: it is none.
    """
    if embodiment.tick_hz != int(embodiment.tick_hz) or embodiment.tick_hz < 1:
        raise DatasetError(
            Code.INVALID, f"embodiment {embodiment.name!r}", embodiment.tick_hz,
            problem=f"has tick_hz {{value}}, but LeRobotDataset {VERSION} keeps whole frames per second",
            remedy="choose a whole number of Hz",
        )  # fmt: skip
    return int(embodiment.tick_hz)


def is_dataset(folder: Path) -> bool:
    """Return whether a folder holds a LeRobot dataset of any version."""
    return (folder / INFO).is_file()


def parquet_files(root: Path, kind: str) -> tuple[Path, ...]:
    """Return the parquet files below a dataset's `DATA` or `EPISODES`, in the order of their rows."""
    return tuple(sorted((root / kind).glob("*/*.parquet")))


@dataclass(frozen=True, slots=True, order=True)
class FileIndex:
    """Which file of a kind: its chunk, and its number in the chunk."""

    chunk: int
    file: int

    def path(self, template: str, **values: str) -> str:
        """Return the path below the dataset's folder; `template` is one of the three ``_PATH``."""
        return template.format(**self.values(), **values)

    def values(self) -> dict[str, int]:
        """Return what a template of ``meta/info.json`` is filled in with."""
        return {"chunk_index": self.chunk, "file_index": self.file}

    def after(self) -> FileIndex:
        """Return the next file's index."""
        if self.file + 1 < FILES_PER_CHUNK:
            return FileIndex(self.chunk, self.file + 1)
        return FileIndex(self.chunk + 1, 0)

    def columns(self, prefix: str) -> dict[str, int]:
        """Return the index as columns of ``meta/episodes``."""
        return {f"{prefix}/{name}": value for name, value in self.values().items()}

    @classmethod
    def from_columns(cls, row: Record, prefix: str) -> FileIndex:
        """Return the index in the columns of a row; one that is missing or wrong raises DatasetError."""
        return cls(row.integer(f"{prefix}/chunk_index"), row.integer(f"{prefix}/file_index"))


@dataclass(frozen=True, slots=True)
class VideoStart:
    """Where an episode begins in the video of one view."""

    file: FileIndex
    from_s: float

    @classmethod
    def from_columns(cls, row: Record, key: str) -> VideoStart:
        """Return an image feature's start from a row; a column that is missing or wrong raises DatasetError."""
        prefix = f"{VIDEOS}/{key}"
        return cls(FileIndex.from_columns(row, prefix), row.number(f"{prefix}/from_timestamp", 0.0))


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """A row of ``meta/episodes``, but for statistics.

    Attributes:
        index: the episode's number.
        tasks: its task texts.
        length: its ticks.
        start, stop: its rows in all data files, one after another.
        data: its data file.
        videos: feature that is stored as a video to where its frames begin.
    """

    index: int
    tasks: tuple[str, ...]
    length: int
    start: int
    stop: int
    data: FileIndex
    videos: Mapping[str, VideoStart]

    def to_columns(self, fps: int) -> dict[str, Any]:
        """Return the row's columns by name; `fps` is the dataset's."""
        row: dict[str, Any] = {
            "episode_index": self.index,
            "tasks": list(self.tasks),
            "length": self.length,
            **self.data.columns(DATA),
            "dataset_from_index": self.start,
            "dataset_to_index": self.stop,
        }
        for key, video in self.videos.items():
            first = round(video.from_s * fps)
            row |= video.file.columns(f"{VIDEOS}/{key}")
            row[f"{VIDEOS}/{key}/from_timestamp"] = video.from_s
            row[f"{VIDEOS}/{key}/to_timestamp"] = (first + self.length) / fps
        return row

    @staticmethod
    def column_names(keys: Iterable[str]) -> list[str]:
        """Return the columns that `from_columns` reads; `keys` are the features that are stored as videos."""
        video = ("chunk_index", "file_index", "from_timestamp")
        return [
            *("episode_index", "tasks", "length", "dataset_from_index", "dataset_to_index"),
            *(f"{DATA}/{part}" for part in ("chunk_index", "file_index")),
            *(f"{VIDEOS}/{key}/{part}" for key in keys for part in video),
        ]

    @classmethod
    def from_columns(cls, row: Record, keys: Iterable[str]) -> EpisodeRow:
        """Return the row of some columns; one that is missing or wrong raises DatasetError."""
        return cls(
            row.integer("episode_index"),
            row.texts("tasks") if "tasks" in row else (),
            row.integer("length"),
            row.integer("dataset_from_index"),
            row.integer("dataset_to_index"),
            FileIndex.from_columns(row, DATA),
            {key: VideoStart.from_columns(row, key) for key in keys},
        )


def statistics_column(feature: str, key: str) -> str:
    """Return the column of ``meta/episodes`` of a figure of a feature."""
    return f"stats/{feature}/{key}"


def statistics_columns(statistics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the columns of ``meta/episodes`` for statistics by feature and name."""
    return {
        statistics_column(name, key): value
        for name, part in statistics.items()
        for key, value in part.items()
    }


def statistics_from_columns(row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return statistics by feature and name from the columns of a row of ``meta/episodes``."""
    found: dict[str, dict[str, Any]] = {}
    for column, value in row.items():
        if column.startswith("stats/"):
            name, _, key = column.removeprefix("stats/").rpartition("/")
            found.setdefault(name, {})[key] = value
    return found
