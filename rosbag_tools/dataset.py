"""Writes LeRobotDataset v3.0 folders: parquet rows, mp4 videos, meta; atomically.

Layout (https://huggingface.co/docs/lerobot/lerobot-dataset-v3): many episodes share a file;
``meta/episodes/**.parquet`` says which rows and which seconds of which video belong to each. This project adds
``meta/hpt/embodiment.yaml`` and ``meta/hpt/report.json``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment, image_feature
from rosbag_tools.errors import BagError, DatasetExistsError
from rosbag_tools.files import (
    ACTION,
    COUNTERS,
    DATA_FILE_MB,
    DATA_PATH,
    EMBODIMENT_PATH,
    EPISODES_PATH,
    FILES_PER_CHUNK,
    REPORT_PATH,
    STATE,
    VERSION,
    VIDEO_FILE_MB,
    VIDEO_PATH,
    DataFiles,
    VideoFiles,
    check_video_sizes,
    data_schema,
    flush,
    replace,
    whole_fps,
    write_json,
    write_tasks,
)
from rosbag_tools.statistics import FeatureStatistics, ImageStatistics, aggregate, of_vectors, plain
from rosbag_tools.video import SegmentWriter, video_info


@dataclass(frozen=True)
class EpisodeData:
    """A finished episode that waits to be appended: rows in memory, pictures in video segments.

    Attributes:
        task: task text.
        state: float32 (length, D); (length, 0) without state streams.
        action: float32 (length, Da).
        segments: image stream name to its encoded segment.
        images: image stream name to the statistics of its pictures.
    """

    task: str
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    segments: Mapping[str, Path]
    images: Mapping[str, FeatureStatistics]

    @property
    def length(self) -> int:
        """Number of ticks."""
        return len(self.action)


class EpisodeWriter:
    """Takes an episode tick by tick; pictures go straight into the encoder.

    Args:
        folder: where the video segments go.
        stem: first part of their file names.
        embodiment: the robot.
        task: task text.
    """

    def __init__(self, folder: Path, stem: str, embodiment: Embodiment, task: str) -> None:
        self._task = task
        self._embodiment = embodiment
        self._state: list[NDArray[np.float32]] = []
        self._action: list[NDArray[np.float32]] = []
        self._videos: dict[str, SegmentWriter] = {}
        self._images: dict[str, ImageStatistics] = {}
        fps = whole_fps(embodiment)
        for stream in embodiment.image_streams:
            assert stream.image is not None
            path = folder / f"{stem}-{stream.name}.mp4"
            self._videos[stream.name] = SegmentWriter(path, fps, stream.image.height, stream.image.width)
            self._images[stream.name] = ImageStatistics()

    def add(self, images: Mapping[str, NDArray[np.uint8]], state: NDArray[Any], action: NDArray[Any]) -> None:
        """Add a tick: RGB uint8 (height, width, 3) per image stream, state (D,), action (Da,).

        Raises:
            BagError: a wrong shape or type.
        """
        for name, feature in self._embodiment.features().items():
            shape = feature.shape
            value = {STATE: state, ACTION: action}.get(name)
            if value is None:
                value = images.get(name.removeprefix(image_feature("")))
            got = None if value is None else value.shape
            if got != shape:
                raise BagError(
                    f"feature {name!r} of a tick has shape {got}, but {shape} was expected; pass "
                    "what the embodiment file says"
                )
        for name, video in self._videos.items():
            video.add(images[name])
            self._images[name].add(images[name])
        self._state.append(np.asarray(state, dtype=np.float32))
        self._action.append(np.asarray(action, dtype=np.float32))

    def finish(self) -> EpisodeData:
        """Finish the segments and return the episode; it must have at least one tick."""
        for video in self._videos.values():
            video.close()
        return EpisodeData(
            task=self._task,
            state=np.stack(self._state),
            action=np.stack(self._action),
            segments={name: video.path for name, video in self._videos.items()},
            images={name: images.result() for name, images in self._images.items()},
        )

    def abort(self) -> None:
        """Delete what was written."""
        for video in self._videos.values():
            video.abort()


class DatasetWriter:
    """Builds a dataset beside its place and moves it there when it is whole; use it in a ``with`` statement.

    Leaving the block without `finish`, or with an exception, deletes what was built; a dataset that was there before
    stays until the new one takes its place.

    Args:
        out: the dataset's folder.
        embodiment: the robot; fixes features and rate.
        overwrite: replace a dataset that is there.

    Raises:
        DatasetExistsError: `out` is there and `overwrite` is false.
        BagError: the embodiment does not fit the format, or `out` cannot be written.
    """

    def __init__(self, out: str | Path, embodiment: Embodiment, *, overwrite: bool = False) -> None:
        self.out = Path(out)
        self.embodiment = embodiment
        self._fps = whole_fps(embodiment)
        check_video_sizes(embodiment)
        if os.path.lexists(self.out):
            if not overwrite:
                raise DatasetExistsError(
                    f"the output folder {str(self.out)!r} exists already; give another --out, or "
                    "--overwrite to replace it"
                )
            if not (self.out / "meta" / "info.json").is_file():
                raise DatasetExistsError(
                    f"{str(self.out)!r} is no LeRobot dataset (no meta/info.json), so --overwrite does not "
                    "delete it; give another --out"
                )
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            # Beside its place: a rename within one file system is atomic.
            self.folder = Path(tempfile.mkdtemp(prefix=f".{self.out.name}.building-", dir=self.out.parent))
        except OSError as error:
            raise BagError(
                f"the output folder {str(self.out)!r} cannot be made ({error.strerror}); give another --out"
            ) from error
        self.segments = self.folder / "segments"
        self.segments.mkdir()
        self._tasks: dict[str, int] = {}
        self._rows = 0
        self._data = DataFiles(self.folder, data_schema(embodiment))
        self._videos = {
            stream.name: VideoFiles(self.folder, stream.name, self._fps)
            for stream in embodiment.image_streams
        }
        self._records: list[dict[str, Any]] = []
        self._statistics: list[dict[str, FeatureStatistics]] = []
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
        """Episodes appended so far."""
        return len(self._records)

    @property
    def frames(self) -> int:
        """Ticks appended so far."""
        return self._rows

    def episode(self, task: str) -> EpisodeWriter:
        """A writer for the next episode in this process; pass what its `finish` returns to `append`."""
        return EpisodeWriter(self.segments, f"{self.episodes:06d}", self.embodiment, task)

    def append(self, episode: EpisodeData) -> None:
        """Add an episode at the end; its video segments are consumed."""
        index, length = self.episodes, episode.length
        task_index = self._tasks.setdefault(episode.task, len(self._tasks))
        columns: dict[str, NDArray[Any]] = {
            STATE: episode.state,
            ACTION: episode.action,
            "timestamp": (np.arange(length) / self._fps).astype(np.float32),
            "frame_index": np.arange(length),
            "episode_index": np.full(length, index),
            "index": np.arange(self._rows, self._rows + length),
            "task_index": np.full(length, task_index),
        }
        if not self.embodiment.state_names:
            del columns[STATE]
        chunk, file = self._data.append(columns)
        record: dict[str, Any] = {
            "episode_index": index,
            "tasks": [episode.task],
            "length": length,
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": self._rows,
            "dataset_to_index": self._rows + length,
        }
        statistics = {name: of_vectors(values) for name, values in columns.items()}
        for name, files in self._videos.items():
            key = image_feature(name)
            chunk, file, first = files.append(episode.segments[name], length)
            record |= {
                f"videos/{key}/chunk_index": chunk,
                f"videos/{key}/file_index": file,
                f"videos/{key}/from_timestamp": first / self._fps,
                f"videos/{key}/to_timestamp": (first + length) / self._fps,
            }
            statistics[key] = dict(episode.images[name])
        for name, part in plain(statistics).items():
            record |= {f"stats/{name}/{key}": value for key, value in part.items()}
        record |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        self._records.append(record)
        self._statistics.append(statistics)
        self._rows += length

    def finish(self, report: Mapping[str, Any] | None = None) -> Path:
        """Write the meta folder, flush everything to disk and move the dataset to its place.

        Args:
            report: goes to ``meta/hpt/report.json``.

        Raises:
            BagError: no episode was appended.
        """
        if not self._records:
            raise BagError(
                f"no episode is left for the dataset {str(self.out)!r}; see the reasons above, nothing was written"
            )
        self._close_files()
        shutil.rmtree(self.segments)
        write_json(self.folder / "meta" / "info.json", self._info())
        write_json(self.folder / "meta" / "stats.json", plain(aggregate(self._statistics)))
        write_tasks(self.folder / "meta" / "tasks.parquet", list(self._tasks))
        episodes = self.folder / EPISODES_PATH.format(chunk_index=0, file_index=0)
        episodes.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(self._records), episodes, compression="snappy")
        place = self.folder / EMBODIMENT_PATH
        place.parent.mkdir(parents=True)
        place.write_text(self.embodiment.to_yaml(), encoding="utf-8")
        write_json(self.folder / REPORT_PATH, dict(report or {}))
        flush(self.folder)
        self.folder.chmod(0o755)  # mkdtemp made it private
        replace(self.folder, self.out)
        self._finished = True
        return self.out

    def _close_files(self) -> None:
        self._data.close()
        for files in self._videos.values():
            files.close()

    def _info(self) -> dict[str, Any]:
        features: dict[str, Any] = {}
        for stream in self.embodiment.image_streams:
            assert stream.image is not None
            height, width = stream.image.height, stream.image.width
            features[image_feature(stream.name)] = {
                "dtype": "video",
                "shape": [height, width, 3],
                "names": ["height", "width", "channels"],
                "info": video_info(height, width, self._fps),
            }
        if self.embodiment.state_names:
            names = list(self.embodiment.state_names)
            features[STATE] = {"dtype": "float32", "shape": [len(names)], "names": names}
        names = list(self.embodiment.action.names)
        features[ACTION] = {"dtype": "float32", "shape": [len(names)], "names": names}
        for name in COUNTERS:
            dtype = "float32" if name == "timestamp" else "int64"
            features[name] = {"dtype": dtype, "shape": [1], "names": None}
        return {
            "codebase_version": VERSION,
            "robot_type": self.embodiment.name,
            "total_episodes": self.episodes,
            "total_frames": self._rows,
            "total_tasks": len(self._tasks),
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": DATA_FILE_MB,
            "video_files_size_in_mb": VIDEO_FILE_MB,
            "fps": self._fps,
            "splits": {"train": f"0:{self.episodes}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self.embodiment.image_streams else None,
            "features": features,
        }


def write_dataset(
    out: str | Path,
    embodiment: Embodiment,
    episodes: Iterable[tuple[str, Mapping[str, NDArray[np.uint8]], NDArray[Any], NDArray[Any]]],
    *,
    overwrite: bool = False,
) -> Path:
    """Write a dataset from arrays, as tests and tools that have no bags do.

    Args:
        out: the dataset's folder.
        embodiment: the robot.
        episodes: task text, image stream name to uint8 (length, height, width, 3), state (length, D),
            action (length, Da).
        overwrite: replace a dataset that is there.
    """
    with DatasetWriter(out, embodiment, overwrite=overwrite) as writer:
        for task, images, state, action in episodes:
            episode = writer.episode(task)
            for tick in range(len(action)):
                episode.add(
                    {name: pictures[tick] for name, pictures in images.items()}, state[tick], action[tick]
                )
            writer.append(episode.finish())
        return writer.finish()
