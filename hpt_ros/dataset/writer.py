# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Writes LeRobotDataset v3.0 folders: parquet rows, mp4 videos, meta; atomically.

Layout (https://huggingface.co/docs/lerobot/lerobot-dataset-v3): many episodes share a file;
``meta/episodes/**.parquet`` states which rows and which seconds of which video belong to each. This project adds
``meta/hpt/embodiment.yaml`` and ``meta/hpt/report.json``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hpt_ros.atomic import flush, make_beside, move
from hpt_ros.dataset.append import ExistingDataset
from hpt_ros.dataset.episode_writer import EpisodeData, EpisodeWriter, open_array
from hpt_ros.dataset.errors import DatasetError, DatasetExistsError
from hpt_ros.dataset.files import (
    DataFiles,
    VideoFiles,
    check_video_sizes,
    write_json,
    write_tasks,
)
from hpt_ros.dataset.info import make_info
from hpt_ros.dataset.layout import (
    ACTION,
    EMBODIMENT,
    EPISODES,
    EPISODES_PATH,
    INFO,
    REPORT,
    STATE,
    STATISTICS,
    TASKS,
    EpisodeRow,
    FileIndex,
    VideoStart,
    data_schema,
    features_of,
    integer_fps,
    is_dataset,
    join_feature_name,
    statistics_columns,
)
from hpt_ros.dataset.statistics import FeatureStatistics, aggregate, to_lists, vector_statistics
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code


def check_place(out: str | Path, *, overwrite: bool) -> None:
    """Raise DatasetExistsError if something is at a dataset's location, and is not to be replaced, or is no dataset."""
    out = Path(out)
    if not os.path.lexists(out):
        return
    if not overwrite:
        raise DatasetExistsError(
            Code.EXISTS, f"the output folder {str(out)!r}",
            remedy="give another --out, or --overwrite to replace it",
        )  # fmt: skip
    if not is_dataset(out):
        raise DatasetExistsError(
            Code.CONFLICT, repr(str(out)), INFO, problem="is no LeRobot dataset (it lacks {value})",
            remedy="give another --out: --overwrite replaces datasets alone",
        )  # fmt: skip


class DatasetWriter:
    """Builds a dataset beside its location and moves it there when it is complete; use it in a ``with`` statement.

    Leaving the block without `finish`, or with an exception, deletes what was built; a dataset that was there before
    stays until the new one takes its place.

    Args:
        out: the dataset's folder.
        embodiment: the robot; fixes features and rate.
        overwrite: replace a dataset that is there.
        existing: the dataset at `out`, to which episodes are appended; it is replaced by one that has them all.
        labels: those of `layout.LABELS` that each tick has.
        coded: store depth as a video of codes, as LeRobot does, which loses up to half a code's step; in rows if not.
            A dataset that is appended to keeps its own way.

    Raises:
        DatasetExistsError: `out` is there, `overwrite` is false and `existing` is None.
        DatasetError: the embodiment does not fit the format, or `out` cannot be written.
    """

    def __init__(
        self,
        out: str | Path,
        embodiment: Embodiment,
        *,
        overwrite: bool = False,
        existing: ExistingDataset | None = None,
        labels: Sequence[str] = (),
        coded: bool = False,
    ) -> None:
        self.out = Path(out)
        self.embodiment = embodiment
        self.labels = tuple(labels)
        self._fps = integer_fps(embodiment)
        self.coded = coded if existing is None else existing.depth == "video"
        self._features = features_of(embodiment, self.coded)
        check_video_sizes(embodiment, self.coded)
        if existing is None:
            check_place(self.out, overwrite=overwrite)
        try:
            self.folder = make_beside(self.out, "building")
        except OSError as error:
            raise DatasetError(
                Code.UNWRITABLE, f"the output folder {str(self.out)!r}", problem="cannot be made",
                cause=error.strerror, remedy="give another --out",
            ) from error  # fmt: skip
        self.segments = self.folder / "segments"
        self.segments.mkdir()
        self._existing = existing
        self._tasks = {text: index for index, text in enumerate(existing.tasks if existing else ())}
        self._rows = existing.rows if existing else 0
        self._data = DataFiles(
            self.folder, data_schema(self._features, labels), existing.last_file() if existing else None
        )
        self._videos = {}
        for name, feature in self._features.items():
            if not feature.in_rows:
                last = existing.last_file(name) if existing else None
                self._videos[name] = VideoFiles(self.folder, name, self._fps, last)
        self._records: list[dict[str, Any]] = []
        self._statistics: list[dict[str, FeatureStatistics]] = []
        if existing is not None:
            for row, statistics in zip(existing.episodes, existing.statistics, strict=True):
                self._record(row, statistics)
        self._finished = False

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._finished:
            self._close_files()
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def episodes(self) -> int:
        """Episodes so far, those of an existing dataset included."""
        return len(self._records)

    @property
    def frames(self) -> int:
        """Ticks so far, those of an existing dataset included."""
        return self._rows

    def episode(self, task: str, ahead: int = 0) -> EpisodeWriter:
        """Return a writer for an episode in this process; pass what its `finish` returns to `append`.

        Args:
            task: task text.
            ahead: how many that were not appended yet come before it.
        """
        stem = f"{self.episodes + ahead:06d}"
        return EpisodeWriter(self.segments, stem, self.embodiment, task, self.labels, coded=self.coded)

    def append(self, episode: EpisodeData) -> None:
        """Add an episode at the end; its video segments are consumed."""
        index, length = self.episodes, episode.length
        task_index = self._tasks.setdefault(episode.task, len(self._tasks))
        counters: dict[str, NDArray[Any]] = {
            "timestamp": (np.arange(length) / self._fps).astype(np.float32),
            "frame_index": np.arange(length),
            "episode_index": np.full(length, index),
            "index": np.arange(self._rows, self._rows + length),
            "task_index": np.full(length, task_index),
        }
        large = {
            name: open_array(path, self._features[name], length) for name, path in episode.arrays.items()
        }
        data_file = self._data.append({**episode.vectors, **large, **counters})
        for path in episode.arrays.values():
            path.unlink()
        statistics = {name: vector_statistics(values) for name, values in counters.items()} | dict(
            episode.statistics
        )
        videos = {}
        for name, files in self._videos.items():
            video_file, first = files.append(episode.segments[self._features[name].stream], length)
            videos[name] = VideoStart(video_file, first / self._fps)
        row = EpisodeRow(index, (episode.task,), length, self._rows, self._rows + length, data_file, videos)
        self._record(row, statistics)
        self._rows += length

    def _record(self, row: EpisodeRow, statistics: dict[str, FeatureStatistics]) -> None:
        self._records.append(
            {
                **row.to_columns(self._fps),
                **statistics_columns(to_lists(statistics)),
                **FileIndex(0, 0).columns(EPISODES),
            }
        )
        self._statistics.append(statistics)

    def finish(self, report: Mapping[str, Any] | None = None) -> Path:
        """Write the meta folder, flush everything to disk and move the dataset to its location.

        Args:
            report: goes to ``meta/hpt/report.json``.

        Raises:
            DatasetError: no episode was appended.
        """
        if not self._records:
            raise DatasetError(
                Code.EMPTY, f"no episode is left for the dataset {str(self.out)!r}",
                remedy="see the reasons above, nothing was written",
            )  # fmt: skip
        self._close_files()
        shutil.rmtree(self.segments)
        if self._existing is not None:
            self._existing.link_into(self.folder)
            report = self._existing.merge_report(report or {})
        write_json(
            self.folder / INFO,
            make_info(
                self.embodiment, self.episodes, self._rows, len(self._tasks), self.labels, coded=self.coded
            ),
        )
        write_json(self.folder / STATISTICS, to_lists(aggregate(self._statistics)))
        write_tasks(self.folder / TASKS, list(self._tasks))
        episodes = self.folder / FileIndex(0, 0).path(EPISODES_PATH)
        episodes.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(self._records), episodes, compression="snappy")
        embodiment_file = self.folder / EMBODIMENT
        embodiment_file.parent.mkdir(parents=True)
        embodiment_file.write_text(self.embodiment.to_yaml(), encoding="utf-8")
        write_json(self.folder / REPORT, dict(report or {}))
        flush(self.folder)
        self.folder.chmod(0o755)  # mkdtemp made it private
        move(self.folder, self.out)
        self._finished = True
        return self.out

    def _close_files(self) -> None:
        self._data.close()
        for files in self._videos.values():
            files.close()


Arrays = Mapping[str, NDArray[Any]]


def write_dataset(
    out: str | Path,
    embodiment: Embodiment,
    episodes: Iterable[tuple[str, Arrays, NDArray[Any], NDArray[Any]]],
    *,
    overwrite: bool = False,
    coded: bool = False,
) -> Path:
    """Write a dataset from arrays, as tests and tools that have no bags do.

    Args:
        out: the dataset's folder.
        embodiment: the robot.
        episodes: task text; stream name to its arrays (length, *sample), such as uint8 (length, height, width, 3) for
            images, and the name of a joined modality other than the state to (length, D), such as ``"wrench"``; state
            (length, D); action (length, Da).
        overwrite: replace a dataset that is there.
        coded: store depth as a video of codes.
    """
    keys = {feature.stream: name for name, feature in features_of(embodiment).items() if feature.stream}
    with DatasetWriter(out, embodiment, overwrite=overwrite, coded=coded) as writer:
        for task, arrays, state, action in episodes:
            episode = writer.episode(task)
            columns = {keys.get(name) or join_feature_name(name): values for name, values in arrays.items()}
            columns |= {STATE: state, ACTION: action}
            try:
                for tick in range(len(action)):
                    episode.add({name: values[tick] for name, values in columns.items()})
                data = episode.finish()
            except BaseException:
                episode.abort()
                raise
            writer.append(data)
        return writer.finish()
