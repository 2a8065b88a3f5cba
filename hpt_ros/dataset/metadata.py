# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a LeRobotDataset v3.0 says of itself: ``meta/info.json`` and this project's files beside it, checked."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.embodiment import Embodiment, require_match
from hpt_ros.errors import did_you_mean

VERSION = "v3.0"
EMBODIMENT_FILE = "meta/hpt/embodiment.yaml"  # this project's additions to the format
REPORT_FILE = "meta/hpt/report.json"
ACTION_SOURCES = {
    "command": "commands",
    "state": "the next measured positions",
    "leader": "the leader arm's positions",
}


def read_info(root: Path) -> dict[str, Any]:
    """Return ``meta/info.json`` of a dataset of `VERSION`, its keys checked.

    Raises:
        DatasetError: no dataset, another version, or a key that is missing or of another type.
    """
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


def read_embodiment(root: Path, given: Embodiment | None) -> Embodiment:
    """Return the robot: `given`, which must agree with the one that the dataset carries, or that one.

    Raises:
        HptError: there is neither, or they differ.
    """
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


def read_action_source(root: Path) -> str:
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


def fill_path(root: Path, info: dict[str, Any], key: str, **values: int | str) -> Path:
    """Return the path that a template of ``meta/info.json`` gives; it lies inside the dataset.

    Raises:
        DatasetError: the template needs other values, or leads out of the folder.
    """
    template = info.get(key)
    try:
        return _inside(root, str(template).format(**values))
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise DatasetError(
            f"dataset {str(root)!r} has {key} = {template!r}, which cannot be filled in with {', '.join(values)}; "
            "copy the dataset again"
        ) from error
