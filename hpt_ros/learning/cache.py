# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Decoded frames, and a frozen encoder's features of them, on disk, so that no epoch decodes or encodes twice.

A cache is named after what it was made from: the SHA-256 of the dataset's files and of the settings. It is built by a
pool of processes of one thread each, in parts: a build that is killed goes on with the part that it was at, and of two
runs that want the same one builds (`hpt_ros.dataset.memmap_cache`). It is memory-mapped: what a process holds of it is
the kernel's cache of files, which it takes back when memory is short.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hpt_ros.dataset import DatasetError
from hpt_ros.dataset.memmap_cache import Finished, cache_beside, checksum_of, digest_of, open_mapped, reserve
from hpt_ros.dataset.reader import Dataset, Episode
from hpt_ros.dataset.video_reader import decode_video
from hpt_ros.devices import usable_cores
from hpt_ros.errors import Code
from hpt_ros.learning.loader import in_processes
from hpt_ros.learning.samples import side_by_side

FRAMES = "frames.bin"
CACHE_FORMAT = "hpt_ros/frames/1 uint8 rgb24 dataset-size"  # part of the key: change it when decoding changes
FEATURES_FORMAT = "hpt_ros/features/2"  # 1: of a BatchNorm in training mode
# Frames that are decoded at a time: a few seconds' work, so that a pool stays busy and little is lost with it.
PART_FRAMES = 512

Progress = Callable[[int, int], None]  # (frames done, frames in all)


@dataclass(frozen=True, slots=True)
class FrameCache:
    """Frames of a dataset: uint8 (N, V, H, W, 3), RGB, views in the embodiment's order; read-only."""

    folder: Path
    frames: NDArray[np.uint8]
    built: bool  # false when an earlier run's cache was used
    note: str  # for people: what was done and why


def pool_size() -> int:
    """Return how many processes build a cache: one a core; none from within a pool, which may have no pools."""
    return 0 if multiprocessing.current_process().daemon else usable_cores()


def default_cache_root(dataset: Dataset) -> Path:
    """The folder beside the dataset that holds its caches."""
    return cache_beside(dataset.root)


def open_cache(
    dataset: Dataset,
    root: str | Path | None = None,
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda sentence: None,
    workers: int | None = None,
) -> FrameCache:
    """Open the dataset's cache; build it first when it is absent, incomplete or damaged.

    Args:
        dataset: an opened dataset.
        root: folder that holds caches (several datasets may share it); `default_cache_root` if None.
        progress: called while frames are decoded.
        say: called with a sentence when another process builds it and this one waits.
        workers: processes that decode; 0: this one; `pool_size` if None.

    Raises:
        DatasetError: a video is damaged, too short or of the wrong size, or the cache cannot be written.
        ReaderError: a process that decodes was killed.
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
        lambda path: _build(dataset, path, shape, progress, pool_size() if workers is None else workers),
        lambda: say(f"waiting for another process that builds the cache {str(folder)!r}"),
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


Encode = Callable[[NDArray[Any], NDArray[np.int64]], NDArray[Any]]


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
    say: Callable[[str], None] = lambda sentence: None,
    workers: int = 0,
) -> NDArray[Any]:
    """What a frozen encoder makes of every frame of a dataset, computed once and memory-mapped.

    Args:
        dataset: an opened dataset.
        frames: its frames, as `open_cache` gives them; None for depth, which is read from the dataset.
        encode: pictures of n ticks, and the ticks' rows (n,), to features (n, V, cells, width). It is given uint8
            (n, V, H, W, 3), or uint16 (n, V, H, W) of millimetres for depth; it must not depend on anything that
            `key` does not name.
        key: what else the features depend on: a hash of the encoder's weights and settings.
        root: folder that holds caches; `default_cache_root` if None.
        modality: "image" or "depth".
        dtype: float32, or float16 for half the room.
        batch_size: ticks encoded at a time.
        progress: called with ticks done and ticks in all.
        say: as for `open_cache`.
        workers: processes that encode; 0: this one.

    Returns:
        (N, V, cells, width) of `dtype`, read-only.

    Raises:
        DatasetError: no pictures to encode, features that are not finite in `dtype`, or the cache cannot be written.
        ReaderError: a process that encodes was killed.
    """
    count = len(dataset.embodiment.streams_of(modality))
    if modality not in ("image", "depth") or not count or (modality == "image" and frames is None):
        raise DatasetError(
            Code.MISSING, f"dataset {str(dataset.root)!r}", modality,
            problem="has no pictures of modality {value} to encode", remedy="train without cached features",
        )  # fmt: skip

    def encode_rows(rows: NDArray[np.int64]) -> NDArray[Any]:
        pictures = side_by_side(dataset, modality, rows) if frames is None else frames[rows]
        found = np.asarray(encode(pictures, rows)).astype(dtype)
        if found.ndim != 4 or found.shape[:2] != (len(rows), count):
            raise DatasetError(
                Code.WRONG_SHAPE, f"the {modality} encoder's output", list(found.shape),
                problem="has the shape {value}",
                expected=f"(ticks, views, cells, width), of {len(rows)} ticks and {count} views",
                remedy="train without cached features",
            )  # fmt: skip
        if not np.isfinite(found).all():
            raise DatasetError(
                Code.NOT_FINITE, f"the {modality} encoder's output", int(rows[0]),
                problem=f"is no finite {np.dtype(dtype).name} at tick {{value}} or soon after",
                remedy="check its weights, or cache float32",
            )  # fmt: skip
        return found

    def build(path: Path) -> tuple[int, ...]:
        blocks = [
            np.arange(start, min(start + batch_size, dataset.length))
            for start in range(0, dataset.length, batch_size)
        ]
        first = encode_rows(blocks[0])  # says how large a tick's features are
        shape = (dataset.length, *first.shape[1:])
        values = reserve(path, dtype, shape)
        parts = [
            CacheBlock(
                f"{rows[0]}-{rows[-1]}",
                len(rows),
                (rows,),
                lambda rows=rows: first if rows is blocks[0] else encode_rows(rows),  # type: ignore[misc]
            )
            for rows in blocks
        ]
        _fill(values, parts, path, progress, workers)
        return shape

    text = json.dumps([FEATURES_FORMAT, dataset_digest(dataset), modality, np.dtype(dtype).name, key])
    name = f"features-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    folder = (Path(root) if root is not None else default_cache_root(dataset)) / name
    waiting = f"waiting for another process that builds the cache {str(folder)!r}"
    stored = open_mapped(folder, "features.bin", dtype, text, None, build, lambda: say(waiting))
    if stored.values.shape[:2] != (dataset.length, count):
        raise DatasetError(
            Code.WRONG_SHAPE, f"the cache {str(folder)!r}", list(stored.values.shape),
            problem="holds features of shape {value}", expected=f"{dataset.length} ticks of {count} views",
            remedy="delete that folder",
        )  # fmt: skip
    return stored.values


@dataclass(frozen=True, slots=True)
class CacheBlock:
    """A part of an array that is made at a time.

    Attributes:
        name: tells it from the array's other parts.
        size: for progress.
        place: its index in the array.
        make: returns its values.
    """

    name: str
    size: int
    place: tuple[Any, ...]
    make: Callable[[], NDArray[Any]]


def _fill(
    values: NDArray[Any], parts: Sequence[CacheBlock], path: Path, progress: Progress | None, workers: int
) -> None:
    """Write the parts that are not written yet, by so many processes."""
    finished = Finished(path)
    todo = [part for part in parts if not finished.has(part.name, lambda part=part: values[part.place])]  # type: ignore[misc]
    total = sum(part.size for part in parts)
    done = total - sum(part.size for part in todo)

    def make(part: CacheBlock) -> int:
        made = part.make()
        values[part.place] = made  # a map that all processes share
        return checksum_of(made)

    with ExitStack() as stack:
        # One part is not worth a process, and more processes than parts have nothing to do.
        count = min(workers, len(todo)) if len(todo) > 1 else 0
        made = (
            stack.enter_context(in_processes(make, todo, count)).next if count else map(make, todo).__next__
        )
        for part in todo:
            finished.add(part.name, made())
            done += part.size
            if progress is not None:
                progress(done, total)
    finished.remove()


def _build(
    dataset: Dataset, path: Path, shape: tuple[int, ...], progress: Progress | None, workers: int
) -> tuple[int, ...]:
    rows = [(episode.start, episode.stop) for episode in dataset.episodes]
    frames = reserve(path, np.uint8, shape, rows)
    parts = [part for view in range(shape[1]) for part in _parts_of_view(dataset, view, shape[2:], workers)]
    _fill(frames, parts, path, progress, workers)
    return shape


def _parts_of_view(dataset: Dataset, view: int, size: tuple[int, ...], workers: int) -> Iterator[CacheBlock]:
    """Frames of one view, about `PART_FRAMES` of one file at a time, in the order in which they lie there."""
    files: dict[Path, list[Episode]] = {}
    for episode in dataset.episodes:
        files.setdefault(episode.videos[view].path, []).append(episode)
    for path, episodes in files.items():
        places = np.concatenate(
            [np.arange(episode.length) + episode.videos[view].first_frame for episode in episodes]
        )
        rows = np.concatenate([np.arange(episode.start, episode.stop) for episode in episodes])
        order = np.argsort(places, kind="stable")
        places, rows = places[order], rows[order]
        if (np.diff(places) == 0).any():
            raise DatasetError(
                Code.CONFLICT, f"video {str(path)!r}",
                problem="is shared by episodes whose frames overlap", remedy="convert the bags again",
            )  # fmt: skip
        for start in range(0, len(places), PART_FRAMES):
            here = slice(start, start + PART_FRAMES)
            decode = _Decode(path, dataset.embodiment.tick_hz, places[here], size, 1 if workers else 0)
            name = f"view {view}, rows {rows[here][0]} to {rows[here][-1]}"
            yield CacheBlock(name, len(places[here]), (rows[here], view), decode)


@dataclass(frozen=True, slots=True)
class _Decode:
    """Decodes frames of one file, of ascending numbers, to (n, H, W, 3)."""

    path: Path
    fps: float
    numbers: NDArray[np.int64]
    size: tuple[int, ...]  # (H, W, 3)
    threads: int

    def __call__(self) -> NDArray[np.uint8]:
        found = np.empty((len(self.numbers), *self.size), dtype=np.uint8)
        first, last = int(self.numbers[0]), int(self.numbers[-1])
        place = 0
        for number, frame in enumerate(decode_video(self.path, self.fps, first, self.threads), first):
            if frame.shape != self.size:
                raise DatasetError(
                    Code.WRONG_SHAPE, f"video {str(self.path)!r}", list(frame.shape),
                    problem="has frames of shape {value}", expected=f"{list(self.size)} as the embodiment says",
                    remedy="use files of the same robot",
                )  # fmt: skip
            if number == self.numbers[place]:
                found[place] = frame
                place += 1
            if number == last:
                return found
        raise DatasetError(
            Code.DAMAGED, f"video {str(self.path)!r}", int(self.numbers[place]),
            problem="is truncated: it ends before frame {value}", expected=f"{last + 1} frames for its episodes",
            remedy="copy the dataset again, or convert its bags again",
        )  # fmt: skip
