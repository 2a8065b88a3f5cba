# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""LeRobotDataset v2.0, v2.1 and v3.0, as the `lerobot` package and converters of others wrote them, for import.

v2 (https://huggingface.co/docs/lerobot): a parquet file and videos for each episode, ``meta/episodes.jsonl`` and
``meta/tasks.jsonl``. v3: many episodes a file, ``meta/episodes/**.parquet`` locates them. Images are videos, or PNG or
JPEG in the parquet rows. Of a dataset of others no column but those of state, action and images need be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.importing.images import decode_files, is_depth_file
from hpt_ros.dataset.importing.row_order import in_order, odd_times
from hpt_ros.dataset.importing.source import (
    ACTIONS,
    STATES,
    TEXTS,
    Image,
    SourceEpisode,
    Unread,
    choose_columns,
    label_of,
    split_by_task,
    to_name,
    whole_fps,
)
from hpt_ros.dataset.importing.video_spans import decode_span
from hpt_ros.dataset.layout import (
    COUNTERS,
    DATA,
    EMBODIMENT,
    EPISODES,
    IMAGES,
    INFO,
    OBSERVATION,
    FileIndex,
    VideoStart,
    parquet_files,
)
from hpt_ros.dataset.metadata import IMPORTED_VERSIONS, StoredFeature, path_inside, read_info, read_tasks
from hpt_ros.dataset.tables import Record, integers, numbers, read_json_lines, read_parquet, read_rows
from hpt_ros.embodiment.estimates import make_unique
from hpt_ros.errors import Code


@dataclass(frozen=True, slots=True)
class _Location:
    """Where an episode is: its number, length and tasks, its parquet file, and video and first second of each view."""

    index: int
    length: int
    tasks: tuple[str, ...]
    data: Path
    videos: Mapping[str, tuple[Path, float]]


class LeRobotSource:
    """A LeRobot dataset's folder.

    Args:
        root: the folder.
        fps: rows a second, if it is not what ``meta/info.json`` states.
        action, state: columns that make the vectors, in this order; the usual ones if None, no state if empty.

    Raises:
        DatasetError: it is none, of another version, of this project already, or damaged.
    """

    def __init__(
        self,
        root: str | Path,
        fps: float | None = None,
        action: Sequence[str] | None = None,
        state: Sequence[str] | None = None,
    ) -> None:
        self.root = Path(root)
        self.where = f"dataset {str(self.root)!r}"
        if (self.root / EMBODIMENT).is_file():
            raise DatasetError(
                Code.CONFLICT, self.where, problem="is one of this project already", remedy="train on it as it is",
            )  # fmt: skip
        self._opened: tuple[Path, pa.Table] | None = None
        self._known_tasks: dict[int, str] | None = None
        self._info = read_info(self.root, IMPORTED_VERSIONS, fps)
        features = self._info.features
        self._odd: dict[str, str] = {}  # episode to what its times say
        self.fps, self._notes = whole_fps(self._info.fps, fps, f"{INFO} states")
        self.robot = self._info.robot_type
        vectors = {
            name: int(np.prod(feature.shape))
            for name, feature in features.items()
            if feature.is_numeric and name not in COUNTERS
        }
        self._action = choose_columns(self.where, vectors, action, ACTIONS, "action")
        self._state = choose_columns(self.where, vectors, state, STATES, "state")
        self.action_names = self._names(self._action, "action")
        self.state_names = self._names(self._state, "state")
        self.labels = {label_of(name): name for name, dim in vectors.items() if dim == 1 and label_of(name)}
        self._text = next(
            (name for name in TEXTS if name in features and features[name].dtype == "string"), ""
        )
        self._videos: dict[str, str] = {}
        depth = self._depth_views()
        keys = [
            name for name, feature in features.items()
            if feature.dtype in ("video", "image") and (name not in depth or feature.codes is not None)
        ]  # fmt: skip
        names = [to_name(name.removeprefix(IMAGES).removeprefix(OBSERVATION)) for name in keys]
        self._keys = dict(zip(make_unique(names), keys, strict=True))
        self.views = {view: features[key].size for view, key in self._keys.items() if key not in depth}
        self.depths = {view: features[key].size for view, key in self._keys.items() if key in depth}
        taken = {*self._state, *self._action, *keys, *self.labels.values(), *COUNTERS, self._text}
        self.left_out = [
            f"{name} (depth)" if name in depth else name for name in features if name not in taken
        ]
        # View to feature of those that are videos; the others' images are in the rows.
        self._videos = {view: key for view, key in self._keys.items() if features[key].dtype == "video"}

    def _names(self, columns: Sequence[str], what: str) -> list[str]:
        found: list[str] = []
        for column in columns:
            feature: StoredFeature = self._info.features[column]
            prefix = what if len(columns) == 1 else to_name(column.removeprefix(OBSERVATION))
            found += feature.names or [f"{prefix}_{index}" for index in range(int(np.prod(feature.shape)))]
        return make_unique(found)

    def _depth_views(self) -> set[str]:
        """Return the image features that are marked as depth, or whose first image has one channel of 16 bits."""
        features = self._info.features
        depth = {name for name, feature in features.items() if feature.depth}
        unmarked = [
            name for name, feature in features.items() if feature.dtype == "image" and not feature.depth
        ]
        unread = next(self._locations(), None) if unmarked else None
        if unread is not None:
            try:
                table = self._table(unread[1]().data)
                for name in unmarked:
                    if (
                        name in table.column_names
                        and table.num_rows
                        and is_depth_file(self._bytes(table[name][0]))
                    ):
                        depth.add(name)
            except DatasetError:
                pass  # reported when that episode is read
        return depth

    def episodes(self) -> Iterator[Unread]:
        """Yield all episodes, in order; each is read when it is asked for."""
        count = 0
        for name, locate in self._locations():
            count += 1
            yield Unread(name, partial(self._read, name, locate))
        if self._info.total_episodes not in (0, count):
            self._note(f"{INFO} states {self._info.total_episodes} episodes, {count} are listed")

    @property
    def notes(self) -> list[str]:
        """What people should know of how it is taken; complete when the episodes were read."""
        odd = [f"{name}: {what}" for name, what in list(self._odd.items())[:1]]
        if odd:
            more = f", and those of {len(self._odd) - 1} more" if len(self._odd) > 1 else ""
            odd[0] += f"{more}, but rows are taken as {self.fps:g} a second; name another rate with --fps"
        return [*self._notes, *odd]

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def _read(self, name: str, locate: Callable[[], _Location]) -> list[SourceEpisode]:
        """Return an episode; one in which the task changes becomes several."""
        location = locate()
        rows = self._table(location.data)
        if self._info.version == "v3.0":
            rows = rows.filter(pa.array(integers(rows, "episode_index", name) == location.index))
        if rows.num_rows != location.length:
            raise DatasetError(
                Code.MISMATCH, name, rows.num_rows,
                problem=f"has {{value}} rows in {str(location.data.relative_to(self.root))!r}, but its meta states "
                f"{location.length}",
                remedy="copy the dataset again, or leave the episode out with --skip-bad",
            )  # fmt: skip

        rows = in_order(rows, name)
        if what := odd_times(rows, self.fps, name):
            self._odd[name] = what

        def frames(start: int, stop: int) -> dict[str, Callable[[], Iterator[Image]]]:
            found: dict[str, Callable[[], Iterator[Image]]] = {}
            for view, key in self._keys.items():
                if view in self._videos:
                    path, first_s = location.videos[view]
                    codes = self._info.features[key].codes if view in self.depths else None
                    found[view] = partial(
                        decode_span, path, first_s, range(start, stop), self._info.fps, codes
                    )
                else:
                    found[view] = partial(self._images, name, rows, key, view, start, stop)
            return found

        return split_by_task(
            name,
            self._texts(name, rows, location),
            self._vectors(name, rows, self._state, len(self.state_names)),
            self._vectors(name, rows, self._action, len(self.action_names)),
            {label: numbers(rows, column, 1, name)[:, 0] for label, column in self.labels.items()},
            frames,
        )

    def _vectors(self, name: str, rows: pa.Table, columns: Sequence[str], dim: int) -> NDArray[np.float64]:
        dims = [int(np.prod(self._info.features[column].shape)) for column in columns]
        parts = [numbers(rows, column, size, name) for column, size in zip(columns, dims, strict=True)]
        return np.concatenate(parts, axis=1) if parts else np.zeros((rows.num_rows, dim))

    def _texts(self, name: str, rows: pa.Table, location: _Location) -> list[str]:
        """Return the task of each row: by its index, else of a column of texts, else the episode's only one."""
        if self._text and self._text in rows.column_names:
            return [str(text or "").strip() for text in rows.column(self._text).to_pylist()]
        only = location.tasks[0] if len(location.tasks) == 1 else ""
        if "task_index" not in rows.column_names:
            return [only] * rows.num_rows
        try:
            tasks = self._tasks()
        except DatasetError as error:
            if not only:
                raise
            self._note(f"tasks are those of the episodes ({error})")
            tasks = {}
        return [tasks.get(index, only) for index in integers(rows, "task_index", name).tolist()]

    def _images(
        self, name: str, rows: pa.Table, key: str, view: str, start: int, stop: int
    ) -> Iterator[Image]:
        if key not in rows.column_names:
            raise DatasetError(
                Code.MISSING, name, key, problem="has no column {value} of images", remedy="copy the dataset again",
            )  # fmt: skip
        column = rows.column(key)
        entries = (self._bytes(column[row]) for row in range(start, stop))
        yield from decode_files(name, view, self.views[view], entries)

    def _bytes(self, entry: pa.Scalar) -> bytes:
        """Return the file in a row of an image column: bytes, or {bytes, path} as Hugging Face's datasets keep it."""
        content = entry.as_py()
        data = content.get("bytes") if isinstance(content, dict) else content
        if isinstance(data, bytes) and data:
            return data
        path = content.get("path") if isinstance(content, dict) else content
        if not isinstance(path, str) or not path:
            raise DatasetError(
                Code.MISSING, self.where, problem="has a row without an image",
                remedy="leave that episode out with --skip-bad",
            )  # fmt: skip
        try:
            return path_inside(self.root, path).read_bytes()
        except (OSError, ValueError) as error:
            raise DatasetError(
                Code.NOT_FOUND, self.where, path, problem="lacks the image {value} that a row names",
                remedy="copy it again, or leave that episode out with --skip-bad",
            ) from error  # fmt: skip

    def _locations(self) -> Iterator[tuple[str, Callable[[], _Location]]]:
        """Yield name and place of each episode; what is wrong with a row is reported when the position is asked for."""
        rows: Iterable[Record]
        if self._info.version == "v3.0":
            paths = parquet_files(self.root, EPISODES)
            if not paths:
                raise DatasetError(
                    Code.NOT_FOUND, self.where, EPISODES, problem="has no Parquet file in meta/episodes",
                    remedy="copy the dataset again",
                )  # fmt: skip
            rows, locate = (row for path in paths for row in read_rows(path, [], every=True)), self._locate_v3
        else:
            rows, locate = read_json_lines(self.root / "meta/episodes.jsonl"), self._locate_v2
        seen: set[int | None] = set()
        for number, row in enumerate(rows):
            index = row.values.get("episode_index")
            name = f"episode {number if index is None else index!s:.20} of {self.where}"
            again = isinstance(index, int) and index in seen
            seen.add(index if isinstance(index, int) else None)
            yield name, partial(_check_listing, name) if again else partial(locate, row)

    def _locate_v2(self, row: Record) -> _Location:
        index = row.integer("episode_index")
        values = {"episode_chunk": index // self._info.chunks_size, "episode_index": index}
        videos = {
            view: (self._find_file(self._info.fill_path("video_path", video_key=key, **values), key), 0.0)
            for view, key in self._videos.items()
        }
        tasks = row.texts("tasks") if "tasks" in row else ()
        return _Location(
            index,
            row.integer("length"),
            tasks,
            self._find_file(self._info.fill_path("data_path", **values)),
            videos,
        )

    def _find_file(self, path: Path, folder: str = "") -> Path:
        """Return an episode's file, or the only one of its name in another chunk, where chunks_size is wrong."""
        if path.exists() or not path.is_relative_to(self.root):
            return path
        top = self.root / path.relative_to(self.root).parts[0]
        others = [other for other in top.rglob(path.name) if not folder or folder in other.parts]
        if len(others) != 1:
            return path
        self._note(f"files lie in other chunks than chunks_size in {INFO} states")
        return others[0]

    def _locate_v3(self, row: Record) -> _Location:
        videos = {}
        for view, key in self._videos.items():
            start = VideoStart.from_columns(row, key)
            videos[view] = (
                self._info.fill_path("video_path", video_key=key, **start.file.values()),
                start.from_s,
            )
        data = self._info.fill_path("data_path", **FileIndex.from_columns(row, DATA).values())
        tasks = row.texts("tasks") if "tasks" in row else ()
        return _Location(row.integer("episode_index"), row.integer("length"), tasks, data, videos)

    def _tasks(self) -> dict[int, str]:
        if self._known_tasks is None:
            if self._info.version == "v3.0":
                self._known_tasks = read_tasks(self.root)
            else:
                lines = read_json_lines(self.root / "meta/tasks.jsonl")
                texts: dict[int, set[str]] = {}
                for line in lines:
                    texts.setdefault(line.integer("task_index"), set()).add(line.text("task"))
                several = sorted(index for index, found in texts.items() if len(found) > 1)
                if several:
                    self._note(
                        f"task {several[0]} has several texts in meta/tasks.jsonl: the episodes' own are taken"
                    )
                self._known_tasks = {
                    index: next(iter(found)) for index, found in texts.items() if len(found) == 1
                }
        return self._known_tasks

    def _table(self, path: Path) -> pa.Table:
        if self._opened is None or self._opened[0] != path:
            self._opened = path, read_parquet(path, [], every=True)
        return self._opened[1]


def _check_listing(name: str) -> _Location:
    raise DatasetError(
        Code.DUPLICATE, name, problem="is listed a second time in meta/episodes",
        remedy="remove that row, or leave it out with --skip-bad",
    )  # fmt: skip
