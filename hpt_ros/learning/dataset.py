"""Reads a LeRobotDataset v3.0 folder together with the embodiment file that travels in it.

Layout (codebase version v3.0, as the `lerobot` package 0.4 writes it): ``meta/info.json`` names the features and the
path templates of data and videos; ``meta/episodes/**.parquet`` says where each episode's rows and frames are;
``data/**.parquet`` holds the vectors of many episodes per file; one mp4 holds the frames of many episodes.
Vectors (state, wrench, tactile, action) are small and held in memory; depth and point clouds are written out once and
memory-mapped (`hpt_ros.learning.columns`); frames are decoded once, by `hpt_ros.learning.cache`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment, image_feature, require_match
from hpt_ros.errors import did_you_mean
from hpt_ros.learning.columns import HELD, LARGE, LazyArrays, StoredColumns, read_parquet, read_vectors
from hpt_ros.learning.errors import DatasetError

VERSION = "v3.0"
EMBODIMENT_FILE = "meta/hpt/embodiment.yaml"  # this project's additions to the format
REPORT_FILE = "meta/hpt/report.json"
ACTION_SOURCES = {
    "command": "commands",
    "state": "the next measured positions",
    "leader": "the leader arm's positions",
}


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
    action_source: str = ""  # what an action is, see `ACTION_SOURCES`; empty if the dataset does not say
    tasks: tuple[str, ...] = field(init=False)  # the episodes' task texts, sorted, each once
    task_index: NDArray[np.int64] = field(init=False)  # (N,), place of each tick's task in `tasks`

    def __post_init__(self) -> None:
        tasks = tuple(sorted({episode.task for episode in self.episodes}))
        index = [tasks.index(episode.task) for episode in self.episodes]
        lengths = [episode.length for episode in self.episodes]
        object.__setattr__(self, "tasks", tasks)
        object.__setattr__(self, "task_index", np.repeat(np.array(index, dtype=np.int64), lengths))

    @property
    def length(self) -> int:
        """Number of ticks N."""
        return int(self.action.shape[0])

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of every view; (0, 0) when the embodiment has no camera."""
        for stream in self.embodiment.image_streams:
            assert stream.image is not None  # the schema saw to it
            return stream.image.height, stream.image.width
        return 0, 0

    def summary(self) -> str:
        """One line for people: episodes, ticks, minutes, views."""
        minutes = self.length * self.embodiment.dt_s / 60
        views = ", ".join(stream.name for stream in self.embodiment.image_streams) or "none"
        return (
            f"{len(self.episodes)} episodes, {self.length} ticks at {self.embodiment.tick_hz:g} Hz "
            f"({minutes:.1f} min), views: {views}"
            + (
                f", actions: {ACTION_SOURCES[self.action_source]}"
                if self.action_source not in ("", "command")
                else ""
            )
        )


def open_dataset(
    root: str | Path, embodiment: Embodiment | None = None, *, cache_root: str | Path | None = None
) -> Dataset:
    """Open a dataset and check everything but the pixels.

    Args:
        root: the folder that holds ``meta/``.
        embodiment: the robot, for datasets that do not carry `EMBODIMENT_FILE`; must agree with it otherwise.
        cache_root: folder for depth and point clouds, which are written out and memory-mapped when they are first
            asked for; a folder beside the dataset if None, as for decoded frames.

    Raises:
        DatasetError: a missing or damaged file, another version, features that are not the embodiment's, counts
            that do not fit.
    """
    root = Path(root)
    info = _read_info(root)
    robot = _embodiment(root, embodiment)
    _check_features(root, info, robot)
    episodes, meta_files = _read_episodes(root, info, robot)
    state, action, arrays, data_files = _read_data(root, info, robot, episodes, cache_root)
    videos = {span.path for episode in episodes for span in episode.videos}
    for path in sorted(videos):
        if not path.is_file():
            raise DatasetError(
                f"dataset {str(root)!r} lacks the video {str(path.relative_to(root))!r} that its episodes name; "
                "copy the dataset again or convert its bags again"
            )
    files = tuple(sorted({root / "meta/info.json", *meta_files, *data_files, *videos}))
    return Dataset(root, robot, episodes, state, action, files, arrays, _action_source(root))


def decode_video(path: Path, fps: float) -> Iterator[NDArray[np.uint8]]:
    """Decode a whole video in order; yields RGB frames (H, W, 3).

    Raises:
        DatasetError: unreadable, damaged, or frames that do not follow one another at `fps`.
    """
    try:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "AUTO"
            for number, frame in enumerate(container.decode(video=0)):
                if frame.time is None or abs(frame.time - number / fps) > 0.5 / fps:
                    raise DatasetError(
                        f"video {str(path)!r} has frame {number} at {frame.time} s, but {number / fps:g} s was "
                        f"expected at {fps:g} frames per second; write it with a constant rate"
                    )
                yield frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    except (av.error.FFmpegError, IndexError, OSError) as error:
        first = " ".join(str(error).split())[:200]
        raise DatasetError(
            f"video {str(path)!r} cannot be decoded ({first}); it is damaged or truncated: copy the dataset again or "
            "convert its bags again"
        ) from error


def _read_info(root: Path) -> dict[str, Any]:
    if not root.is_dir():
        raise DatasetError(
            f"the dataset folder {str(root)!r} does not exist; give the folder that holds 'meta/info.json'"
        )
    path = root / "meta/info.json"
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(
            f"{str(root)!r} has no 'meta/info.json', so it is no LeRobot dataset; give a dataset folder, "
            "or bags with --bags"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            f"{str(path)!r} cannot be read as JSON ({error}); copy the dataset again"
        ) from error
    if not isinstance(info, dict):
        raise DatasetError(
            f"{str(path)!r} is a {type(info).__name__}, but a JSON object was expected; copy the dataset again"
        )
    version = info.get("codebase_version")
    if version != VERSION:
        raise DatasetError(
            f"dataset {str(root)!r} has codebase_version {version!r}, but {VERSION!r} was expected; convert it with "
            "lerobot's convert_dataset_v21_to_v30, or convert its bags again"
        )
    for key, kind in (("features", dict), ("data_path", str), ("fps", (int, float)), ("total_frames", int)):
        if not isinstance(info.get(key), kind):
            raise DatasetError(
                f"{str(path)!r} has {key} = {info.get(key)!r:.80}, which format {VERSION} does not allow; "
                "copy the dataset again"
            )
    return info


def _embodiment(root: Path, given: Embodiment | None) -> Embodiment:
    path = root / EMBODIMENT_FILE
    if not path.is_file():
        if given is None:
            raise DatasetError(
                f"dataset {str(root)!r} has no {EMBODIMENT_FILE!r}; name the robot with --embodiment FILE, "
                "or convert its bags with `hpt convert`"
            )
        return given
    inside = Embodiment.load(path)
    if given is not None:
        require_match(
            given,
            inside,
            a_name="the embodiment file given",
            b_name=f"dataset {str(root)!r}",
            settled="dataset",
        )
        return given
    return inside


def _action_source(root: Path) -> str:
    """What the conversion says that an action is; a report that does not say is of a time when it was the command."""
    path = root / REPORT_FILE
    if not path.is_file():
        return ""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        source = report.get("action_source", "command" if report else "")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f"{str(path)!r} cannot be read as a conversion's report ({error}); copy the dataset again"
        ) from error
    if source and source not in ACTION_SOURCES:
        raise DatasetError(
            f"{str(path)!r} says that actions are {source!r:.60}, but one of {', '.join(ACTION_SOURCES)} was expected; "
            "train with the version that converted the bags"
        )
    return str(source)


def _check_features(root: Path, info: dict[str, Any], robot: Embodiment) -> None:
    where = f"dataset {str(root)!r}"
    if abs(float(info["fps"]) - robot.tick_hz) > 1e-6:
        raise DatasetError(
            f"{where} has fps {info['fps']:g}, but embodiment {robot.name!r} has tick_hz {robot.tick_hz:g}; "
            "convert the bags again with this embodiment"
        )
    for modality in ("image", "depth"):
        sizes = {stream.shape[:2] for stream in robot.streams_of(modality)}
        if len(sizes) > 1:
            raise DatasetError(
                f"{where} has {modality} views of the sizes {sorted(sizes)} (height, width), but all views of a policy "
                "must have one size; give them the same size in the embodiment file and convert again"
            )
    names = {f"observation.{modality}": list(robot.names_of(modality)) for modality in ("state", "wrench")}
    names["action"] = list(robot.action.names)
    for key, wanted in robot.features().items():
        feature = info["features"].get(key)
        if not isinstance(feature, dict):
            raise DatasetError(
                f"{where} lacks the feature {key!r} of embodiment {robot.name!r}; its features are "
                f"{', '.join(info['features'])}{did_you_mean(key, info['features'])}"
            )
        dtype, shape = wanted.dtype, wanted.shape
        if feature.get("dtype") != dtype or tuple(feature.get("shape", ())) != shape:
            raise DatasetError(
                f"{where} has feature {key!r} of dtype {feature.get('dtype')!r} and shape {feature.get('shape')}, but "
                f"embodiment {robot.name!r} has {dtype!r} and {list(shape)}; use files of the same robot"
            )
        found = _flat_names(feature.get("names"))
        if key in names and found is not None and found != names[key]:
            raise DatasetError(
                f"{where} has {key} names {found}, but embodiment {robot.name!r} has {names[key]}; order counts: "
                "use files of the same robot"
            )


def _flat_names(names: Any) -> list[str] | None:
    # LeRobot allows a list, or a mapping of one group name to a list.
    if isinstance(names, dict) and len(names) == 1:
        (names,) = names.values()
    return [str(name) for name in names] if isinstance(names, list) else None


def _inside(root: Path, relative: str) -> Path:
    """Path of a file that data names; it must not leave the folder. Symbolic links are kept: hub caches use them."""
    path = Path(os.path.normpath(root / relative))
    if not path.is_relative_to(Path(os.path.normpath(root))):
        raise DatasetError(
            f"dataset {str(root)!r} names the file {relative!r} outside its own folder; do not use this dataset"
        )
    return path


def _fill(root: Path, info: dict[str, Any], key: str, **values: int | str) -> Path:
    template = info.get(key)
    try:
        return _inside(root, str(template).format(**values))
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise DatasetError(
            f"dataset {str(root)!r} has {key} = {template!r}, which cannot be filled in with {', '.join(values)}; "
            "copy the dataset again"
        ) from error


def _read_episodes(
    root: Path, info: dict[str, Any], robot: Embodiment
) -> tuple[tuple[Episode, ...], tuple[Path, ...]]:
    files = tuple(sorted((root / "meta/episodes").glob("*/*.parquet")))
    if not files:
        raise DatasetError(
            f"dataset {str(root)!r} has no file in 'meta/episodes'; copy the dataset again or convert its bags again"
        )
    keys = [image_feature(stream.name) for stream in robot.image_streams]
    columns = [
        "episode_index",
        "tasks",
        "length",
        "data/chunk_index",
        "data/file_index",
        "dataset_from_index",
        "dataset_to_index",
    ]
    for key in keys:
        columns += [f"videos/{key}/{part}" for part in ("chunk_index", "file_index", "from_timestamp")]
    rows = [row for path in files for row in read_parquet(path, columns).to_pylist()]
    rows.sort(key=lambda row: int(row["dataset_from_index"]))
    episodes: list[Episode] = []
    expected = 0
    for row in rows:
        spans = tuple(
            VideoSpan(
                _fill(
                    root,
                    info,
                    "video_path",
                    video_key=key,
                    chunk_index=row[f"videos/{key}/chunk_index"],
                    file_index=row[f"videos/{key}/file_index"],
                ),
                round(row[f"videos/{key}/from_timestamp"] * info["fps"]),
            )
            for key in keys
        )
        tasks = row["tasks"] or [""]
        if len(tasks) > 1:
            raise DatasetError(
                f"dataset {str(root)!r}, episode {row['episode_index']} has the tasks {', '.join(map(repr, tasks))}, "
                "but one task an episode was expected; split the episode where its task changes"
            )
        episode = Episode(
            row["episode_index"], row["dataset_from_index"], row["dataset_to_index"], tasks[0], spans
        )
        if episode.start != expected or episode.length != row["length"] or episode.length < 1:
            raise DatasetError(
                f"dataset {str(root)!r}, episode {episode.index} has rows {episode.start} to {episode.stop} and length "
                f"{row['length']}, but rows from {expected} and at least one were expected; convert the bags again"
            )
        expected = episode.stop
        episodes.append(episode)
    if expected != info["total_frames"]:
        raise DatasetError(
            f"dataset {str(root)!r} has total_frames {info['total_frames']} in 'meta/info.json', but its episodes hold "
            f"{expected}; copy the dataset again or convert its bags again"
        )
    return tuple(episodes), files


def _read_data(
    root: Path,
    info: dict[str, Any],
    robot: Embodiment,
    episodes: tuple[Episode, ...],
    cache_root: str | Path | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], Mapping[str, NDArray[Any]], tuple[Path, ...]]:
    # Row order is the global index; the files of v3.0 are numbered in that order.
    files = tuple(sorted((root / "data").glob("*/*.parquet")))
    features = robot.features()
    held = [name for name, feature in features.items() if feature.modality in HELD]
    large = {name: feature for name, feature in features.items() if feature.modality in LARGE}
    tables = [read_parquet(path, ["index", "episode_index", *held], also=tuple(large)) for path in files]
    total = sum(table.num_rows for table in tables)
    if total != info["total_frames"]:
        raise DatasetError(
            f"dataset {str(root)!r} has total_frames {info['total_frames']} in 'meta/info.json', but its data files "
            f"hold {total} rows; copy the dataset again or convert its bags again"
        )
    table = pa.concat_tables(tables)
    index = table.column("index").to_numpy()
    episode_index = table.column("episode_index").to_numpy()
    expected = np.repeat([episode.index for episode in episodes], [episode.length for episode in episodes])
    if not np.array_equal(index, np.arange(total)) or not np.array_equal(episode_index, expected):
        wrong = int(np.flatnonzero((index != np.arange(total)) | (episode_index != expected))[0])
        raise DatasetError(
            f"dataset {str(root)!r} has index {index[wrong]} of episode {episode_index[wrong]} in row {wrong}, but "
            f"index {wrong} of episode {expected[wrong]} was expected; convert the bags again"
        )
    vectors = {name: read_vectors(root, table, name, features[name].shape[0], expected) for name in held}
    action = vectors.pop("action")
    # An embodiment without proprioception has a state of no numbers.
    state = vectors.pop("observation.state", np.zeros((total, 0), dtype=np.float32))
    arrays = LazyArrays(vectors, StoredColumns(root, files, large, total, cache_root))
    return state, action, arrays, files
