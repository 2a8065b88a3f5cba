# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Decoded frames on disk, memory-mapped, so that an epoch never decodes video twice.

The cache is named after what it was made from: the SHA-256 of the dataset's files and of the decode settings. It is
written beside its place and renamed when complete, so a cache folder is whole or absent; its checksum is verified
when it is opened, which also brings the frames into the page cache before training reads them in random order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hpt_ros.dataset import DatasetError
from hpt_ros.dataset.memmap_cache import cache_beside, digest_of, open_mapped
from hpt_ros.dataset.reader import Dataset, Episode
from hpt_ros.dataset.video_reader import decode_video
from hpt_ros.learning.samples import side_by_side

FRAMES = "frames.bin"
CACHE_FORMAT = "hpt_ros/frames/1 uint8 rgb24 dataset-size"  # part of the key: change it when decoding changes
FEATURES_FORMAT = "hpt_ros/features/1"

Progress = Callable[[int, int], None]  # (frames done, frames in all)
Decoder = Callable[[Path, float], Iterator[NDArray[np.uint8]]]


@dataclass(frozen=True, slots=True)
class FrameCache:
    """Frames of a dataset: uint8 (N, V, H, W, 3), RGB, views in the embodiment's order; read-only."""

    folder: Path
    frames: NDArray[np.uint8]
    built: bool  # false when an earlier run's cache was used
    note: str  # for people: what was done and why


def default_cache_root(dataset: Dataset) -> Path:
    """The folder beside the dataset that holds its caches."""
    return cache_beside(dataset.root)


def open_cache(
    dataset: Dataset,
    root: str | Path | None = None,
    *,
    progress: Progress | None = None,
    decoder: Decoder = decode_video,
) -> FrameCache:
    """Open the dataset's cache; build it first when it is absent, incomplete or damaged.

    Args:
        dataset: an opened dataset.
        root: folder that holds caches (several datasets may share it); `default_cache_root` if None.
        progress: called while frames are decoded.
        decoder: yields the frames of one video file in order.

    Raises:
        DatasetError: a video is damaged, too short or of the wrong size, or the cache cannot be written.
    """
    folder = (Path(root) if root is not None else default_cache_root(dataset)) / dataset_digest(dataset)[:16]
    shape = (dataset.length, len(dataset.embodiment.image_streams), *dataset.image_size, 3)
    if shape[1] == 0:
        return FrameCache(folder, np.zeros(shape, dtype=np.uint8), False, "no camera, so no frames to cache")
    stored = open_mapped(
        folder,
        FRAMES,
        np.uint8,
        CACHE_FORMAT,
        shape,
        lambda path: _build(dataset, path, shape, progress, decoder),
    )
    note = stored.rebuilt or (
        "decoded every video once" if stored.built else f"used the frames cached in {str(folder)!r}"
    )
    return FrameCache(folder, stored.values, stored.built, note)


def dataset_digest(dataset: Dataset) -> str:
    """SHA-256 over the decode settings and the path and content of every file of the dataset."""
    views = [stream.name for stream in dataset.embodiment.image_streams]
    settings: list[Any] = [views, dataset.image_size]
    if sum(episode.length for episode in dataset.episodes) < dataset.length:
        settings.append([episode.index for episode in dataset.episodes])  # the others' frames are not decoded
    return digest_of(dataset.files, dataset.root, CACHE_FORMAT, json.dumps(settings))


Encode = Callable[[NDArray[Any]], NDArray[Any]]


def open_feature_cache(
    dataset: Dataset,
    frames: NDArray[np.uint8] | None,
    encode: Encode,
    key: str,
    root: str | Path | None = None,
    *,
    modality: str = "image",
    dtype: DTypeLike = np.float32,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> NDArray[Any]:
    """What a frozen encoder makes of every frame of a dataset, computed once and memory-mapped.

    Args:
        dataset: an opened dataset.
        frames: its frames, as `open_cache` gives them; None for depth, which is read from the dataset.
        encode: pictures of n ticks to features (n, V, cells, width). It is given uint8 (n, V, H, W, 3), or uint16
            (n, V, H, W) of millimetres for depth; it must not depend on anything that `key` does not name.
        key: what else the features depend on: a hash of the encoder's weights and settings.
        root: folder that holds caches; `default_cache_root` if None.
        modality: "image" or "depth".
        dtype: float32, or float16 for half the room.
        batch_size: ticks encoded at a time.
        progress: called with ticks done and ticks in all.

    Returns:
        (N, V, cells, width) of `dtype`, read-only.

    Raises:
        DatasetError: no pictures to encode, features that are not finite in `dtype`, or the cache cannot be written.
    """
    count = len(dataset.embodiment.streams_of(modality))
    if modality not in ("image", "depth") or not count or (modality == "image" and frames is None):
        raise DatasetError(
            f"dataset {str(dataset.root)!r} has no pictures of modality {modality!r} to encode; "
            "train without cached features"
        )

    def pictures(rows: NDArray[np.int64]) -> NDArray[Any]:
        return side_by_side(dataset, modality, rows) if frames is None else frames[rows]

    def build(path: Path) -> tuple[int, ...]:
        values: NDArray[Any] | None = None
        for start in range(0, dataset.length, batch_size):
            rows = np.arange(start, min(start + batch_size, dataset.length))
            found = np.asarray(encode(pictures(rows)))
            if values is None:
                values = np.memmap(path, dtype=dtype, mode="w+", shape=(dataset.length, *found.shape[1:]))
            if found.ndim != 4 or found.shape != (len(rows), count, *values.shape[2:]):
                raise DatasetError(
                    f"the {modality} encoder gave features of shape {list(found.shape)} for {len(rows)} ticks of "
                    f"{count} views, but (ticks, views, cells, width) was expected; train without cached features"
                )
            values[start : start + len(rows)] = found
            if not np.isfinite(values[start : start + len(rows)]).all():
                raise DatasetError(
                    f"the {modality} encoder gave features that are no finite {np.dtype(dtype).name} at tick {start} "
                    "or soon after; check its weights, or cache float32"
                )
            if progress is not None:
                progress(start + len(rows), dataset.length)
        assert values is not None  # a dataset has at least one tick
        shape = values.shape
        del values  # unmapped, and so written
        return shape

    text = json.dumps([FEATURES_FORMAT, dataset_digest(dataset), modality, np.dtype(dtype).name, key])
    name = f"features-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    folder = (Path(root) if root is not None else default_cache_root(dataset)) / name
    stored = open_mapped(folder, "features.bin", dtype, text, None, build)
    if stored.values.shape[:2] != (dataset.length, count):
        raise DatasetError(
            f"the cache {str(folder)!r} holds features of shape {list(stored.values.shape)}, but {dataset.length} "
            f"ticks of {count} views were expected; delete that folder"
        )
    return stored.values


def _build(
    dataset: Dataset, path: Path, shape: tuple[int, ...], progress: Progress | None, decoder: Decoder
) -> tuple[int, ...]:
    frames = np.memmap(path, dtype=np.uint8, mode="w+", shape=shape)
    done, total = 0, shape[0] * shape[1]
    for view in range(shape[1]):
        for video, episodes in _by_file(dataset, view):
            for count in _decode_into(dataset, frames, view, video, episodes, decoder):
                if progress is not None:
                    progress(done + count, total)
            done += sum(episode.length for episode in episodes)
    frames.flush()
    return shape


def _by_file(dataset: Dataset, view: int) -> list[tuple[Path, list[Episode]]]:
    files: dict[Path, list[Episode]] = {}
    for episode in dataset.episodes:
        files.setdefault(episode.videos[view].path, []).append(episode)
    return list(files.items())


def _decode_into(
    dataset: Dataset,
    frames: NDArray[np.uint8],
    view: int,
    path: Path,
    episodes: list[Episode],
    decoder: Decoder,
) -> Iterator[int]:
    """Decode one file and store the frames of its episodes; yields how many were stored so far."""
    rows: dict[int, int] = {}  # frame in the file -> row of the dataset
    for episode in episodes:
        first = episode.videos[view].first_frame
        rows.update((first + step, episode.start + step) for step in range(episode.length))
    wanted, stored, number = max(rows) + 1, 0, -1
    if len(rows) != sum(episode.length for episode in episodes):
        raise DatasetError(
            f"video {str(path)!r} is shared by episodes whose frames overlap; convert the bags again"
        )
    for number, frame in enumerate(decoder(path, dataset.embodiment.tick_hz)):
        if frame.shape != frames.shape[2:]:
            raise DatasetError(
                f"video {str(path)!r} has frames of shape {list(frame.shape)}, but the embodiment says "
                f"{list(frames.shape[2:])}; use files of the same robot"
            )
        row = rows.get(number)
        if row is not None:
            frames[row, view] = frame
            stored += 1
            yield stored
        if number + 1 == wanted:
            break
    if number + 1 < wanted:
        raise DatasetError(
            f"video {str(path)!r} holds {number + 1} frames, but the episodes need {wanted}; it is truncated: copy the "
            "dataset again or convert its bags again"
        )
