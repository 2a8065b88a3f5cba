# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""LeRobotDataset v2.0, v2.1 and v3.0, as the `lerobot` package wrote them, for import.

v2 (https://huggingface.co/docs/lerobot): a parquet file and videos for each episode, ``meta/episodes.jsonl`` and
``meta/tasks.jsonl``. v3: many episodes a file, ``meta/episodes/**.parquet`` locates them. Images are videos, or PNG or
JPEG in the parquet rows.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import av.error
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.importing.importer import Image, SourceEpisode, to_name
from hpt_ros.dataset.layout import (
    ACTION,
    COUNTERS,
    DATA,
    EMBODIMENT,
    EPISODES,
    FILES_PER_CHUNK,
    IMAGES,
    INFO,
    OBSERVATION,
    STATE,
    FileIndex,
    VideoStart,
    parquet_files,
)
from hpt_ros.dataset.metadata import fill_path, path_inside, read_info, read_tasks
from hpt_ros.embodiment import ImageSpec, Stream
from hpt_ros.embodiment.estimates import make_unique

VERSIONS = ("v2.0", "v2.1", "v3.0")


@dataclass(frozen=True)
class _Place:
    """Where an episode is: its number, rows, parquet file, and video and first second of each view."""

    index: int
    length: int
    data: Path
    videos: Mapping[str, tuple[Path, float]]


class LeRobotSource:
    """A LeRobot dataset's folder.

    Raises:
        DatasetError: it is none, of another version, of this project already, or damaged.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.where = f"dataset {str(self.root)!r}"
        if (self.root / EMBODIMENT).is_file():
            raise DatasetError(f"{self.where} is one of this project already; train on it as it is")
        self._info = read_info(self.root, VERSIONS)
        self.version = str(self._info["codebase_version"])
        try:
            self.fps = float(self._info["fps"])
            features = {str(name): dict(feature) for name, feature in self._info["features"].items()}
            self._keys, self.views = _views(features)
            self.state_names = _names(features[STATE], "state") if STATE in features else []
            self.action_names = _names(features[ACTION], "action")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DatasetError(
                f"{self.where} has a {INFO} without {error}, but fps and features with an action were "
                "expected; copy it again"
            ) from error
        self.robot = str(self._info.get("robot_type") or "")
        known = {STATE, ACTION, *self._keys.values(), *COUNTERS, "next.done"}
        self.left_out = [name for name in features if name not in known]
        # View to feature of those that are videos; the others' images are in the rows.
        self._videos = {
            name: key for name, key in self._keys.items() if features[key].get("dtype") == "video"
        }

    def episodes(self) -> Iterator[SourceEpisode]:
        """Yield all episodes; one in which the task changes becomes several."""
        tasks = self._tasks()
        opened: tuple[Path, pa.Table] | None = None
        for place in self._places():
            if opened is None or opened[0] != place.data:
                opened = place.data, self._table(place.data)
            table = opened[1]
            wanted = np.asarray(table.column("episode_index").to_numpy() == place.index)
            rows = table.filter(pa.array(wanted))
            name = f"episode {place.index} of {self.where}"
            if rows.num_rows != place.length:
                raise DatasetError(
                    f"{name} has {rows.num_rows} rows, but its meta states {place.length}; copy the dataset again"
                )
            yield from self._split(name, place, rows, tasks)

    def _split(
        self, name: str, place: _Place, rows: pa.Table, tasks: Mapping[int, str]
    ) -> Iterator[SourceEpisode]:
        index = rows.column("task_index").to_numpy()
        cuts = [0, *(np.flatnonzero(np.diff(index)) + 1).tolist(), len(index)]
        state = _vectors(rows, STATE, len(self.state_names), name)
        action = _vectors(rows, ACTION, len(self.action_names), name)
        for start, stop in itertools.pairwise(cuts):
            frames: dict[str, Callable[[], Iterator[Image]]] = {}
            for view, key in self._keys.items():
                if view not in self._videos:
                    frames[view] = partial(self._images, rows.column(key).slice(start, stop - start), view)
                else:
                    path, first_s = place.videos[view]
                    frames[view] = partial(
                        decode_span, path, first_s + start / self.fps, stop - start, self.fps
                    )
            task = tasks.get(int(index[start]), "") if stop > start else ""
            yield SourceEpisode(name, task, state[start:stop], action[start:stop], frames)

    def _images(self, column: Any, view: str) -> Iterator[Image]:
        from hpt_ros.observation import decode_compressed_image

        height, width = self.views[view]
        stream = Stream(
            view,
            "image",
            f"/{view}",
            "sensor_msgs/msg/CompressedImage",
            1.0,
            1.0,
            image=ImageSpec(height, width),
        )
        for entry in column.to_pylist():
            data = (entry or {}).get("bytes")
            if not data:
                data = path_inside(self.root, str((entry or {}).get("path"))).read_bytes()
            yield decode_compressed_image(stream, SimpleNamespace(data=data, format="png or jpeg"))

    def _places(self) -> Iterator[_Place]:
        return self._places_v3() if self.version == "v3.0" else self._places_v2()

    def _places_v2(self) -> Iterator[_Place]:
        size = int(self._info.get("chunks_size", FILES_PER_CHUNK))
        for line in self._lines("meta/episodes.jsonl"):
            index = int(line["episode_index"])
            values = {"episode_chunk": index // size, "episode_index": index}
            videos = {
                view: (self._fill("video_path", video_key=key, **values), 0.0)
                for view, key in self._videos.items()
            }
            yield _Place(index, int(line["length"]), self._fill("data_path", **values), videos)

    def _places_v3(self) -> Iterator[_Place]:
        for path in parquet_files(self.root, EPISODES):
            for row in self._table(path).to_pylist():
                try:
                    index, length = int(row["episode_index"]), int(row["length"])
                    data = FileIndex.from_columns(row, DATA)
                    starts = {view: VideoStart.from_columns(row, key) for view, key in self._videos.items()}
                except (KeyError, TypeError) as error:
                    raise DatasetError(
                        f"{self.where} has {path.name!r} in {EPISODES} without {error}; copy it again"
                    ) from error
                videos = {
                    view: (
                        self._fill("video_path", video_key=self._videos[view], **start.file.values()),
                        start.from_s,
                    )
                    for view, start in starts.items()
                }
                yield _Place(index, length, self._fill("data_path", **data.values()), videos)

    def _tasks(self) -> dict[int, str]:
        if self.version != "v3.0":
            return {int(line["task_index"]): str(line["task"]) for line in self._lines("meta/tasks.jsonl")}
        return read_tasks(self.root)

    def _table(self, path: Path) -> pa.Table:
        try:
            return pq.read_table(path)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DatasetError(
                f"{self.where} has {str(path.name)!r}, which cannot be read ({' '.join(str(error).split())[:120]}); "
                "copy it again"
            ) from error

    def _lines(self, name: str) -> list[dict[str, Any]]:
        try:
            text = (self.root / name).read_text(encoding="utf-8")
            return [dict(json.loads(line)) for line in text.splitlines() if line.strip()]
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise DatasetError(
                f"{self.where} has no {name} that can be read ({' '.join(str(error).split())[:120]}); copy it again"
            ) from error

    def _fill(self, key: str, **values: int | str) -> Path:
        return fill_path(self.root, self._info, key, **values)


def decode_span(path: Path, start_s: float, count: int, fps: float) -> Iterator[Image]:
    """Yield `count` images of a video from a time on, uint8 RGB (height, width, 3).

    Raises:
        DatasetError: it cannot be decoded, or a image does not lie at its time.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if start_s > 0:
                container.seek(int(start_s / float(stream.time_base or 1)), stream=stream, backward=True)
            found = 0
            for frame in container.decode(stream):
                at_s = -1.0 if frame.time is None else float(frame.time)
                if at_s < start_s - 0.5 / fps:
                    continue
                wanted_s = start_s + found / fps
                if abs(at_s - wanted_s) > 0.5 / fps:
                    raise DatasetError(
                        f"video {str(path)!r} has a image at {at_s:.4f} s where {wanted_s:.4f} s was expected; its "
                        "rate is not constant: fix the dataset"
                    )
                yield np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
                found += 1
                if found == count:
                    return
    except (av.error.FFmpegError, IndexError, OSError) as error:
        raise DatasetError(
            f"video {str(path)!r} cannot be decoded ({' '.join(str(error).split())[:120]}); copy the dataset again"
        ) from error


def _views(features: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, str], dict[str, tuple[int, int]]]:
    keys: dict[str, str] = {}
    sizes: dict[str, tuple[int, int]] = {}
    wanted = [
        name
        for name, feature in features.items()
        if feature.get("dtype") in ("video", "image")
        and not (feature.get("info") or feature.get("video_info") or {}).get("video.is_depth_map")
    ]
    names = make_unique([to_name(name.removeprefix(IMAGES).removeprefix(OBSERVATION)) for name in wanted])
    for view, name in zip(names, wanted, strict=True):
        shape = [int(length) for length in features[name]["shape"]]
        # (height, width, channels), or channels first in datasets that were made so.
        height, width = (shape[1], shape[2]) if shape[0] == 3 and shape[2] != 3 else (shape[0], shape[1])
        keys[view], sizes[view] = name, (height, width)
    return keys, sizes


def _names(feature: Mapping[str, Any], what: str) -> list[str]:
    (dim,) = (int(length) for length in feature["shape"])
    names: Any = feature.get("names")
    if isinstance(names, dict) and len(names) == 1:
        (names,) = names.values()
    if not isinstance(names, list) or len(names) != dim or not all(names):
        names = [f"{what}_{index}" for index in range(dim)]
    return make_unique([str(name) for name in names])


def _vectors(rows: pa.Table, name: str, dim: int, where: str) -> NDArray[np.float32]:
    if not dim:
        return np.zeros((rows.num_rows, 0), dtype=np.float32)
    try:
        values = np.array(rows.column(name).to_pylist(), dtype=np.float32)
    except (KeyError, ValueError, TypeError) as error:
        raise DatasetError(
            f"{where} has a {name} that is no vector of {dim} ({error}); copy the dataset again"
        ) from error
    if values.size != dim * rows.num_rows:
        raise DatasetError(
            f"{where} has a {name} of shape {values.shape}, but {dim} elements were expected; copy the dataset again"
        )
    return values.reshape(rows.num_rows, dim)
