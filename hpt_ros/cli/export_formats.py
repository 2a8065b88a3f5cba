# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The two layouts of `hpt export`, written episode by episode, so that memory does not grow with the dataset.

HDF5: robomimic's (https://robomimic.github.io/docs/datasets/overview.html): ``data/demo_i`` with ``actions``,
``dones``, ``rewards`` and ``obs/*``, and the filter keys ``mask/success`` and ``mask/failure``. Zarr: the replay buffer
of diffusion policy (real-stanford/diffusion_policy): ``data/*`` with all episodes one after another, and
``meta/episode_ends``; in Zarr format 2, which its loader reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset import Dataset
from hpt_ros.dataset.conversion_report import list_reported_episodes
from hpt_ros.dataset.layout import features_of
from hpt_ros.dataset.reader import episodes_with_frames
from hpt_ros.extras import require_extra

_ROBOMIMIC = {"done": "dones", "reward": "rewards"}
Progress = Callable[[int, int], None]
ZARR_CHUNK_BYTES = 1 << 20


def write_hdf5(path: Path, dataset: Dataset, progress: Progress) -> None:
    """Write robomimic's layout.

    Where the dataset has no rewards, the reward is 1 at the last tick of an episode whose outcome was recorded as
    success and 0 elsewhere; episodes carry their ``task`` and ``outcome`` as attributes.
    """
    h5py = require_extra("h5py", extra="export", what="hpt export to HDF5")
    outcomes = _outcomes(dataset)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = dataset.length
        # robomimic asks for it to make a simulator; a real robot has none.
        data.attrs["env_args"] = json.dumps(
            {"env_name": dataset.embodiment.name, "env_type": -1, "env_kwargs": {}}
        )
        data.attrs["fps"] = dataset.embodiment.tick_hz
        data.attrs["embodiment"] = dataset.embodiment.to_yaml()
        for number, (episode, pictures) in enumerate(episodes_with_frames(dataset)):
            rows = slice(episode.start, episode.stop)
            outcome = outcomes.get(episode.index, "unknown")
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = episode.length
            demo.attrs["task"], demo.attrs["outcome"] = episode.task, outcome
            last = np.zeros(episode.length, np.uint8)
            last[-1] = 1
            demo.create_dataset("actions", data=dataset.action[rows])
            known = {"next.done": last, "next.reward": (last * (outcome == "success")).astype(np.float32)}
            known |= {name: values[rows] for name, values in dataset.labels.items()}
            for name, values in known.items():
                short = name.rpartition(".")[2]
                demo.create_dataset(_ROBOMIMIC.get(short, short), data=values)
            observed = demo.create_group("obs")
            for name, values in _columns(dataset).items():
                observed.create_dataset(name, data=values[rows])
            for name, frames in pictures.items():
                stored = observed.create_dataset(
                    f"{name}_image",
                    shape=(episode.length, *_view_shape(dataset, name)),
                    dtype=np.uint8,
                    chunks=(1, *_view_shape(dataset, name)),
                    compression="gzip",
                    compression_opts=1,
                )
                for tick, frame in enumerate(frames):
                    stored[tick] = frame
            progress(number + 1, len(dataset.episodes))
        for outcome in ("success", "failure"):
            names = [
                f"demo_{number}"
                for number, episode in enumerate(dataset.episodes)
                if outcomes.get(episode.index) == outcome
            ]
            if names:
                file.create_dataset(f"mask/{outcome}", data=np.array(names, dtype="S"))


def write_zarr(path: Path, dataset: Dataset, progress: Progress) -> None:
    """Write diffusion policy's layout: ``action``, ``state``, one array per view and stream, and ``episode_ends``."""
    zarr = require_extra("zarr", extra="export", what="hpt export to Zarr")
    # zarr 2 is the newest for Python 3.10: what it writes is format 2, its arrays are called datasets.
    root = zarr.open_group(str(path), mode="w", **({"zarr_format": 2} if zarr.__version__ >= "3" else {}))
    root.attrs["fps"] = dataset.embodiment.tick_hz
    root.attrs["embodiment"] = dataset.embodiment.to_yaml()
    root.attrs["tasks"] = [episode.task for episode in dataset.episodes]
    data, meta = root.create_group("data"), root.create_group("meta")

    def new_array(group: Any) -> Any:
        return group.create_array if hasattr(group, "create_array") else group.create_dataset

    def create(name: str, shape: tuple[int, ...], dtype: Any) -> Any:
        row_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        rows = min(max(1, ZARR_CHUNK_BYTES // row_bytes), dataset.length)
        return new_array(data)(name, shape=(dataset.length, *shape), dtype=dtype, chunks=(rows, *shape))

    labels = {name.rpartition(".")[2]: values for name, values in dataset.labels.items()}
    columns = {"action": dataset.action, **_columns(dataset), **labels}
    stored = {name: create(name, values.shape[1:], values.dtype) for name, values in columns.items()}
    views = {
        stream.name: create(stream.name, _view_shape(dataset, stream.name), np.uint8)
        for stream in dataset.embodiment.image_streams
    }
    ends = new_array(meta)("episode_ends", shape=(len(dataset.episodes),), dtype=np.int64)
    for number, (episode, pictures) in enumerate(episodes_with_frames(dataset)):
        rows = slice(episode.start, episode.stop)
        for name, values in columns.items():
            stored[name][rows] = values[rows]
        for name, frames in pictures.items():
            row = episode.start
            while block := list(islice(frames, views[name].chunks[0] - row % views[name].chunks[0])):
                views[name][row : row + len(block)] = np.stack(block)
                row += len(block)
        ends[number] = episode.stop
        progress(number + 1, len(dataset.episodes))


def _columns(dataset: Dataset) -> dict[str, NDArray[Any]]:
    """Short name to values (N, ...) of everything observed but pictures."""
    found: dict[str, NDArray[Any]] = {"state": dataset.state} if dataset.embodiment.state_names else {}
    for name, feature in features_of(dataset.embodiment).items():
        if name in dataset.arrays and feature.modality not in ("image", "state", "action"):
            found[f"{feature.modality}_{feature.stream}".rstrip("_")] = dataset.arrays[name]
    return found


def _view_shape(dataset: Dataset, name: str) -> tuple[int, ...]:
    return dataset.embodiment.stream(name).shape


def _outcomes(dataset: Dataset) -> dict[int, str]:
    """Outcome by episode, as it was recorded; empty for datasets that were not converted here."""
    return {
        span.integer("episode_index"): recorded.text("outcome")
        for recorded in list_reported_episodes(dataset.root)
        for span in recorded.records("spans")
        if span.integer("episode_index", -1) >= 0  # -1: too short to keep
    }
