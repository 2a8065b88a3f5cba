# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Finished bags of a conversion that was interrupted, so that the same command goes on where it was.

One folder a bag lies in a hidden folder beside the dataset's place: its video segments and large arrays, its vectors
and statistics (NumPy), and its report (JSON). It is built under another name and renamed when it is whole and on disk,
and it is named after all that the result depends on, so what is there counts and what changed is converted again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rosbag_tools
from hpt_ros.atomic import replace_atomically
from hpt_ros.dataset.conversion_report import Blank, Dropped, EpisodeReport, Span
from hpt_ros.dataset.episode_writer import EpisodeData
from hpt_ros.dataset.files import write_json
from hpt_ros.dataset.statistics import FeatureStatistics

CONTENT, ARRAYS = "content.json", "arrays.npz"


@dataclass
class Converted:
    """What became of one bag."""

    reports: list[EpisodeReport] = field(default_factory=list)
    episodes: list[EpisodeData] = field(default_factory=list)


def find_resume_folder(out: Path) -> Path:
    """Where the finished bags of a dataset wait for its completion."""
    return out.with_name(f".{out.name}.kept")


def key_of(bag: Path, *depends_on: str) -> str:
    """A name for the result of a bag: of its place, its files' sizes and times, and the texts that matter."""
    files = sorted(path for path in bag.rglob("*") if path.is_file()) if bag.is_dir() else [bag]
    parts = [rosbag_tools.__version__, str(bag.resolve()), *depends_on]
    for path in files:
        status = path.stat()
        parts += [str(path.relative_to(bag)), str(status.st_size), str(status.st_mtime_ns)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def convert_once(place: Path, folder: Path, work: Callable[[Path], Converted]) -> Converted:
    """The result that lies at a place, made first if it is not there.

    Args:
        place: the bag's folder, named by `key_of`.
        folder: where the segments and arrays are to be found afterwards; they are links, to be consumed.
        work: converts the bag into the folder that it is given.
    """
    with contextlib.suppress(OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return _load(place, folder)
    # It is not there, or somebody changed it.
    shutil.rmtree(place, ignore_errors=True)
    with replace_atomically(place) as building:
        building.mkdir()
        _save(building, work(building))
    return _load(place, folder)


def _save(place: Path, converted: Converted) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    episodes = []
    for number, episode in enumerate(converted.episodes):
        for name, values in episode.vectors.items():
            arrays[f"{number}|vector|{name}"] = values
        for name, statistics in episode.statistics.items():
            for key, value in statistics.items():
                arrays[f"{number}|statistics|{name}|{key}"] = value
        episodes.append(
            {
                "task": episode.task,
                "length": episode.length,
                "segments": {name: path.name for name, path in episode.segments.items()},
                "arrays": {name: path.name for name, path in episode.arrays.items()},
            }
        )
    with (place / ARRAYS).open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    reports = [dataclasses.asdict(report) for report in converted.reports]
    write_json(place / CONTENT, {"reports": reports, "episodes": episodes})


def _load(place: Path, folder: Path) -> Converted:
    content = json.loads((place / CONTENT).read_text(encoding="utf-8"))
    vectors: list[dict[str, NDArray[np.float32]]] = [{} for _ in content["episodes"]]
    statistics: list[dict[str, FeatureStatistics]] = [{} for _ in content["episodes"]]
    with np.load(place / ARRAYS, allow_pickle=False) as stored:
        for name in stored.files:
            number, kind, *rest = name.split("|")
            if kind == "vector":
                vectors[int(number)][rest[0]] = stored[name]
            else:
                statistics[int(number)].setdefault(rest[0], {})[rest[1]] = stored[name]

    def linked(names: Mapping[str, str]) -> dict[str, Path]:
        found = {}
        for name, file in names.items():
            found[name] = folder / f"{place.name}-{Path(file).name}"
            _link(place / Path(file).name, found[name])
        return found

    episodes = [
        EpisodeData(
            episode["task"],
            episode["length"],
            vectors[number],
            linked(episode["segments"]),
            linked(episode["arrays"]),
            statistics[number],
        )
        for number, episode in enumerate(content["episodes"])
    ]
    return Converted([_report(entry) for entry in content["reports"]], episodes)


def _report(entry: dict[str, Any]) -> EpisodeReport:
    entry["dropped"] = {name: Dropped(**dropped) for name, dropped in entry["dropped"].items()}
    entry["blank"] = {name: Blank(**blank) for name, blank in entry["blank"].items()}
    entry["spans"] = [Span(**span) for span in entry["spans"]]
    return EpisodeReport(**entry)


def _link(source: Path, place: Path) -> None:
    place.unlink(missing_ok=True)
    try:
        os.link(source, place)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, place)
