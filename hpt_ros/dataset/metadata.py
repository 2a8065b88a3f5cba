# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a LeRobotDataset v3.0 states of itself: ``meta/info.json``, tasks and this project's files; made and checked."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpt_ros.dataset.columns import read_parquet
from hpt_ros.dataset.conversion_report import ACTION_SOURCES, read_report
from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.layout import (
    ACTION,
    COUNTERS,
    DATA_FILE_MB,
    DATA_PATH,
    EMBODIMENT,
    FILES_PER_CHUNK,
    INFO,
    REPORT,
    TASKS,
    VERSION,
    VIDEO_FILE_MB,
    VIDEO_PATH,
    features_of,
    integer_fps,
    joined_feature,
)  # fmt: skip
from hpt_ros.dataset.video import CODEC_NAME, PIXEL_FORMAT
from hpt_ros.embodiment import Embodiment, require_match
from hpt_ros.errors import did_you_mean
from hpt_ros.modalities import Layout


def read_info(root: Path, versions: Sequence[str] = (VERSION,)) -> dict[str, Any]:
    """Return ``meta/info.json`` of a dataset of one of some versions, its keys checked.

    Raises:
        DatasetError: no dataset, another version, or a key that is missing or of another type.
    """
    if not root.is_dir():
        raise DatasetError(
            f"the dataset folder {str(root)!r} does not exist; give the folder that holds {INFO!r}"
        )
    path = root / INFO
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(
            f"{str(root)!r} has no {INFO!r}, so it is no LeRobot dataset; give a dataset folder, "
            "or name the bags themselves"
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
    if version not in versions:
        raise DatasetError(
            f"dataset {str(root)!r} has codebase_version {version!r}, but {' or '.join(versions)} was expected; bring "
            "it up to that with lerobot's own scripts (convert_dataset_v21_to_v30), or convert its bags again"
        )
    for key, kind in (("features", dict), ("data_path", str), ("fps", (int, float)), ("total_frames", int)):
        if not isinstance(info.get(key), kind):
            raise DatasetError(
                f"{str(path)!r} has {key} = {info.get(key)!r:.80}, which format {version} does not allow; "
                "copy the dataset again"
            )
    return info


def make_info(embodiment: Embodiment, episodes: int, frames: int, tasks: int) -> dict[str, Any]:
    """Return ``meta/info.json`` of a dataset of so many episodes, frames and tasks."""
    fps = integer_fps(embodiment)
    names = {modality.name: list(modality.axes) for modality in embodiment.modalities}
    names["action"] = list(embodiment.action.names)
    features: dict[str, Any] = {}
    for key, feature in features_of(embodiment).items():
        elements = (
            embodiment.stream(feature.stream).names
            if feature.stream
            else embodiment.names_of(feature.modality)
        )
        features[key] = {
            "dtype": feature.dtype,
            "shape": list(feature.shape),
            "names": names[feature.modality] or list(elements),
        }
        if feature.is_video:
            features[key]["info"] = _video_info(feature.shape[0], feature.shape[1], fps)
    for name, dtype in COUNTERS.items():
        features[name] = {"dtype": dtype, "shape": [1], "names": None}
    return {
        "codebase_version": VERSION,
        "robot_type": embodiment.name,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": DATA_FILE_MB,
        "video_files_size_in_mb": VIDEO_FILE_MB,
        "fps": fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if embodiment.image_streams else None,
        "features": features,
    }


def _video_info(height: int, width: int, fps: int) -> dict[str, Any]:
    return {
        "video.height": height,
        "video.width": width,
        "video.codec": CODEC_NAME,
        "video.pix_fmt": PIXEL_FORMAT,
        "video.is_depth_map": False,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
    }


def read_embodiment(root: Path, given: Embodiment | None) -> Embodiment:
    """Return the robot: `given`, which must agree with the one that the dataset carries, or that one.

    Raises:
        HptError: there is neither, or they differ.
    """
    path = root / EMBODIMENT
    if not path.is_file():
        if given is None:
            raise DatasetError(
                f"dataset {str(root)!r} has no {EMBODIMENT!r}; name the robot with --embodiment FILE, "
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


def read_action_source(root: Path) -> str:
    """Return what the conversion reports an action to be, one of `ACTION_SOURCES`; empty if there is no report.

    A report that does not say is of a time when it was the command.
    """
    report = read_report(root)
    source = report.get("action_source", "command" if report else "")
    if source and source not in ACTION_SOURCES:
        raise DatasetError(
            f"{str(root / REPORT)!r} states that actions are {source!r:.60}, but one of {', '.join(ACTION_SOURCES)} "
            "was expected; train with the version that converted the bags"
        )
    return str(source)


def read_tasks(root: Path) -> dict[int, str]:
    """Return the task texts by their index.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    path = root / TASKS
    columns = read_parquet(path, ["task_index"], every=True).to_pydict()
    # pandas keeps the text as the index; later versions of lerobot name it.
    texts = next((values for name, values in columns.items() if name != "task_index"), None)
    if texts is None:
        raise DatasetError(f"{str(path)!r} has no column of task texts; copy the dataset again")
    return {int(index): str(text) for index, text in zip(columns["task_index"], texts, strict=True)}


def read_image_sizes(root: Path) -> dict[str, list[list[int]]]:
    """Return the sizes that each camera's images had before they were resized, [height, width] in pixels, each once.

    A camera of which the conversion reports nothing, as in datasets of others, is not in it.
    """
    found: dict[str, list[list[int]]] = {}
    try:
        for episode in read_report(root).get("episodes", []):
            for name, (height, width) in episode.get("image_sizes", {}).items():
                if episode["kept"] and [height, width] not in found.setdefault(name, []):
                    found[name].append([int(height), int(width)])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{str(root / REPORT)!r} has episodes that cannot be read ({error}); copy the dataset again"
        ) from error
    return found


def check_features(root: Path, info: dict[str, Any], robot: Embodiment) -> None:
    """Check that rate, features, shapes, dtypes and names are the embodiment's.

    Raises:
        DatasetError: they are not; both values are named.
    """
    where = f"dataset {str(root)!r}"
    if abs(float(info["fps"]) - robot.tick_hz) > 1e-6:
        raise DatasetError(
            f"{where} has fps {info['fps']:g}, but embodiment {robot.name!r} has tick_hz {robot.tick_hz:g}; "
            "convert the bags again with this embodiment"
        )
    for modality in robot.modalities:
        sizes = {stream.shape[:2] for stream in robot.streams_of(modality.name)}
        if modality.layout is Layout.STACKED and len(sizes) > 1:
            raise DatasetError(
                f"{where} has {modality.name} views of the sizes {sorted(sizes)} (height, width), but all views of a "
                "policy must have one size; give them the same size in the embodiment file and convert again"
            )
    names = {
        joined_feature(modality.name): list(robot.names_of(modality.name))
        for modality in robot.modalities
        if modality.layout is Layout.JOINED
    }
    names[ACTION] = list(robot.action.names)
    for key, wanted in features_of(robot).items():
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


def path_inside(root: Path, relative: str) -> Path:
    """Return the path of a file that data names; symbolic links are kept, since hub caches use them.

    Raises:
        DatasetError: it leads out of the dataset's folder.
    """
    path = Path(os.path.normpath(root / relative))
    if not path.is_relative_to(Path(os.path.normpath(root))):
        raise DatasetError(
            f"dataset {str(root)!r} names the file {relative!r} outside its own folder; do not use this dataset"
        )
    return path


def fill_path(root: Path, info: dict[str, Any], key: str, **values: int | str) -> Path:
    """Return the path that a template of ``meta/info.json`` gives; it lies inside the dataset.

    Raises:
        DatasetError: the template needs other values, or leads out of the folder.
    """
    template = info.get(key)
    try:
        return path_inside(root, str(template).format(**values))
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise DatasetError(
            f"dataset {str(root)!r} has {key} = {template!r}, which cannot be filled in with {', '.join(values)}; "
            "copy the dataset again"
        ) from error
