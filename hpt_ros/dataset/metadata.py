# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a LeRobotDataset v3.0 states of itself: ``meta/info.json``, tasks and this project's files; read and checked."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hpt_ros.dataset.conversion_report import ACTION_SOURCES, list_reported_episodes, read_report
from hpt_ros.dataset.depth_codes import DepthCodes
from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.layout import (
    EMBODIMENT,
    EPISODES,
    FILES_PER_CHUNK,
    INFO,
    TASKS,
    VERSION,
    parquet_files,
)  # fmt: skip
from hpt_ros.dataset.recognise import find_below, recognise
from hpt_ros.dataset.tables import Record, read_json, read_rows
from hpt_ros.embodiment import Embodiment, require_match
from hpt_ros.errors import Code

IMPORTED_VERSIONS = ("v2.0", "v2.1", "v3.0")  # of LeRobotDataset, by `hpt import`
MOST_LENGTH = 1 << 24  # of an axis of a feature


@dataclass(frozen=True, slots=True)
class StoredFeature:
    """What ``meta/info.json`` states of a feature.

    Attributes:
        dtype: "video", "image", "string", or numpy's name.
        shape: of one row's value.
        names: of its elements, flattened; None if there are none, or not one for each.
        depth: it is marked as depth, or has one channel.
        codes: which distances a video of depth holds; None if it is none as lerobot stores it.
    """

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] | None
    depth: bool
    codes: DepthCodes | None = None

    @property
    def is_numeric(self) -> bool:
        """Whether its values are numbers or logical: what others call it (string, language, depth, ...) is neither."""
        try:
            return np.dtype(self.dtype.removeprefix("torch.")).kind in "fiub"
        except TypeError:
            return False

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of an image, which has its channels last, or first in datasets that were made so."""
        channels_first = len(self.shape) == 3 and self.shape[0] in (1, 3) and self.shape[2] not in (1, 3)
        height, width, *_ = self.shape[1:] if channels_first else self.shape
        return height, width


@dataclass(frozen=True, slots=True)
class Info:
    """``meta/info.json`` of a dataset, checked.

    Attributes:
        root: the dataset's folder.
        version: of the format.
        fps: rows a second.
        total_frames: rows in all; 0 where others do not state it.
        total_episodes: the same of episodes.
        robot_type: the robot that it names; may be empty.
        chunks_size: episodes a folder of v2.
        features: by name.
        paths: templates of data and videos, by the key of ``meta/info.json``.
    """

    root: Path
    version: str
    fps: float
    total_frames: int
    total_episodes: int
    robot_type: str
    chunks_size: int
    features: Mapping[str, StoredFeature]
    paths: Mapping[str, Any]

    def fill_path(self, key: str, **values: int | str) -> Path:
        """Return the path that a template gives; it lies inside the dataset.

        Raises:
            DatasetError: the template needs other values, or leads out of the folder.
        """
        template = self.paths.get(key)
        try:
            if isinstance(template, str):
                return path_inside(self.root, template.format(**values))
        except (KeyError, IndexError, ValueError, AttributeError, TypeError):
            pass  # reported below
        raise DatasetError(
            Code.INVALID, f"dataset {str(self.root)!r}", str(template)[:120],
            problem=f"has {key} = {{value}}, which cannot be filled in with {', '.join(values)}",
            remedy="copy the dataset again",
        )  # fmt: skip


def read_info(root: Path, versions: Sequence[str] = (VERSION,), fps: float | None = None) -> Info:
    """Return ``meta/info.json`` of a dataset of one of some versions, its keys checked.

    Args:
        root: the dataset's folder.
        versions: that are read.
        fps: rows a second where the file states none that can be.

    Raises:
        DatasetError: no dataset, another version, or a key that is missing or of another type.
    """
    if not root.exists():
        raise DatasetError(
            Code.NOT_FOUND, f"the dataset folder {str(root)!r}", remedy=f"give the folder that holds {INFO!r}",
        )  # fmt: skip
    try:
        info = read_json(root / INFO)
    except (FileNotFoundError, NotADirectoryError) as error:
        kind = recognise(root)
        what, remedy = (kind.name, kind.remedy) if kind else ("no LeRobot dataset", "give a dataset folder")
        below = find_below(root) if kind is None and root.is_dir() else []
        if below and (inner := recognise(below[0])) is not None:
            remedy = f"{str(below[0])!r} in it is {inner.name}: {inner.remedy}"
        raise DatasetError(
            Code.UNREADABLE, repr(str(root)), INFO, problem=f"has no {INFO!r}, it is {what}", remedy=remedy,
        ) from error  # fmt: skip
    version = info.text("codebase_version")
    if version not in versions:
        remedy = (
            "make a dataset of it with `hpt import`"
            if version in IMPORTED_VERSIONS
            else "bring it to one of these with lerobot's own scripts"
        )
        raise DatasetError(
            Code.UNSUPPORTED, f"dataset {str(root)!r}", version, problem="has codebase_version {value}",
            expected=" or ".join(versions), remedy=remedy,
        )  # fmt: skip
    if version == VERSION and not parquet_files(root, EPISODES) and (root / "meta/episodes.jsonl").is_file():
        raise DatasetError(
            Code.MISMATCH, f"dataset {str(root)!r}", version,
            problem="has codebase_version {value}, but the files of v2.1 (meta/episodes.jsonl)",
            remedy=f"correct the version in {INFO}, or copy the dataset again",
        )  # fmt: skip
    stated = _rate(info.values.get("fps"))
    if stated is None and fps is None:
        remedy = info.remedy if versions == (VERSION,) else "add --fps HZ"
        raise replace(info, remedy=remedy).wrong("fps", "0.1 to 1000 rows a second")
    features = info.record("features")
    return Info(
        root,
        version,
        stated or fps or 0.0,
        info.integer("total_frames") if "total_frames" in info or (root / EMBODIMENT).is_file() else 0,
        _count(info.values.get("total_episodes")),
        str(info.values.get("robot_type") or ""),
        info.integer("chunks_size", 1) if "chunks_size" in info else FILES_PER_CHUNK,
        {name: _parse_feature(features.record(name)) for name in features.values},
        {"data_path": info.text("data_path"), "video_path": info.values.get("video_path")},
    )


def _rate(stated: Any) -> float | None:
    """Return rows a second, which others write as a number or as a text; None if it is neither or cannot be."""
    try:
        rate = (
            float(stated) if isinstance(stated, (int, float, str)) and not isinstance(stated, bool) else 0.0
        )
    except (ValueError, OverflowError):
        return None
    return rate if 0.1 <= rate <= 1000 else None


def _count(stated: Any) -> int:
    """Return a count that nobody needs; 0 if it is none."""
    return stated if isinstance(stated, int) and not isinstance(stated, bool) and stated > 0 else 0


def _parse_feature(feature: Record) -> StoredFeature:
    dtype = feature.text("dtype")
    shape = feature.values.get("shape")
    shape = shape if isinstance(shape, list) else [shape]
    shape = [int(length) if isinstance(length, float) and length.is_integer() else length for length in shape]
    if not all(
        isinstance(length, int) and not isinstance(length, bool) and 0 <= length < MOST_LENGTH
        for length in shape
    ):
        raise feature.wrong("shape", "a list of lengths")
    pictures = dtype in ("video", "image")
    if pictures and (len(shape) not in (2, 3) or not all(shape)):
        raise feature.wrong("shape", "height, width and channels")
    names = _flat_names(feature.values.get("names"), math.prod(shape))
    depth = pictures and (_is_marked_depth(feature) or len(shape) == 2 or 1 in (shape[0], shape[-1]))
    return StoredFeature(
        dtype, tuple(shape), names, depth, _depth_codes(feature) if dtype == "video" else None
    )


def _depth_codes(feature: Record) -> DepthCodes | None:
    info = feature.values.get("info")
    if not isinstance(info, dict) or not str(info.get("video.pix_fmt")).startswith("gray12"):
        return None
    try:
        return DepthCodes.from_info(info)
    except ValueError as error:
        raise feature.wrong("info", f"distances in order ({error})") from error


def _is_marked_depth(feature: Record) -> bool:
    """Return whether a feature is marked as depth in one of the positions where versions of lerobot put it.

    Source: `depth_keys` of lerobot 0.6, datasets/dataset_metadata.py.
    """
    for key in ("info", "video_info"):
        mark = feature.values.get(key)
        if isinstance(mark, dict) and (
            any(mark.get(name) for name in ("is_depth_map", "video.is_depth_map"))
            or mark.get("video.channels") == 1
            or str(mark.get("video.pix_fmt")).startswith("gray")
        ):
            return True
    return False


def _flat_names(names: Any, count: int) -> tuple[str, ...] | None:
    """Return names of elements, out of a list, lists in a list, or lists by group; None if they are not `count`."""
    if isinstance(names, dict):
        groups = {str(name): _flat_list(value) for name, value in names.items()}
        flat = [name for part in groups.values() for name in part] or list(groups)  # names to indices
        if len(groups) > 1 and len(set(flat)) < len(flat):  # two arms with the same joints
            flat = [f"{group}_{name}" for group, part in groups.items() for name in part]
    else:
        flat = _flat_list(names)
    return tuple(flat) if flat and len(flat) == count and all(flat) else None


def _flat_list(names: Any) -> list[str]:
    if isinstance(names, str):
        return [names]
    return [name for part in names for name in _flat_list(part)] if isinstance(names, list) else []


def read_embodiment(root: Path, given: Embodiment | None) -> Embodiment:
    """Return the robot: `given`, which must agree with the one that the dataset carries, or that one.

    Raises:
        HptError: there is neither, or they differ.
    """
    path = root / EMBODIMENT
    if not path.is_file():
        if given is None:
            raise DatasetError(
                Code.MISSING, f"dataset {str(root)!r}", EMBODIMENT,
                problem="has no {value}, so it was made elsewhere, or edited by lerobot, which does not copy it",
                remedy="make a dataset of it with `hpt import`, or name the robot with --embodiment FILE",
            )  # fmt: skip
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


def read_action_source(root: Path) -> str | None:
    """Return what the conversion reports an action to be, one of `ACTION_SOURCES`; None without a report.

    A report that does not say is of a time when it was the command.
    """
    report = read_report(root)
    if "action_source" not in report:
        return "command" if report.values else None
    source = report.text("action_source")
    if source not in ACTION_SOURCES:
        raise report.wrong("action_source", f"one of {', '.join(ACTION_SOURCES)}")
    return source


def read_tasks(root: Path) -> dict[int, str]:
    """Return the task texts by their index.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    found = {}
    for row in read_rows(root / TASKS, ["task_index"], every=True):
        # pandas keeps the text as the index; later versions of lerobot name it.
        name = next((name for name in row.values if name != "task_index"), "task")
        found[row.integer("task_index")] = row.text(name)
    return found


def read_image_sizes(root: Path) -> dict[str, list[list[int]]]:
    """Return the sizes that each camera's images had before they were resized, [height, width] in pixels, each once.

    A camera of which the conversion reports nothing, as in datasets of others, is not in it.
    """
    found: dict[str, list[list[int]]] = {}
    for episode in list_reported_episodes(root):
        sizes = episode.record("image_sizes") if "image_sizes" in episode else None
        if sizes is None or not episode.integer("kept"):
            continue
        for name, size in sizes.values.items():
            if not (
                isinstance(size, list) and len(size) == 2 and all(isinstance(item, int) for item in size)
            ):
                raise sizes.wrong(name, "[height, width]")
            if size not in found.setdefault(name, []):
                found[name].append(size)
    return found


def path_inside(root: Path, relative: str) -> Path:
    """Return the path of a file that data names; symbolic links are retained, since hub caches use them.

    Raises:
        DatasetError: it leads out of the dataset's folder.
    """
    path = Path(os.path.normpath(root / relative))
    if not path.is_relative_to(Path(os.path.normpath(root))):
        raise DatasetError(
            Code.INVALID, f"dataset {str(root)!r}", relative, problem="names the file {value} outside its own folder",
            remedy="do not use this dataset",
        )  # fmt: skip
    return path
