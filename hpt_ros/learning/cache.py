"""Decoded frames on disk, memory-mapped, so that an epoch never decodes video twice.

The cache is named after what it was made from: the SHA-256 of the dataset's files and of the decode settings. It is
written beside its place and renamed when complete, so a cache folder is whole or absent; its checksum is verified
when it is opened, which also brings the frames into the page cache before training reads them in random order.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpt_ros.learning.dataset import Dataset, DatasetError, Episode, decode_video

CACHE_FORMAT = "hpt_ros/frames/1 uint8 rgb24 dataset-size"  # part of the key: change it when decoding changes
_BLOCK_BYTES = 1 << 24

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
    root = dataset.root.absolute()
    return root.with_name(root.name + ".cache")


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
    note = "decoded every video once"
    if folder.exists():
        problem = _problem(folder, shape)
        if problem is None:
            return FrameCache(
                folder, _map(folder, shape), False, f"used the frames cached in {str(folder)!r}"
            )
        note = f"the cache {str(folder)!r} {problem}, so it was built again"
        shutil.rmtree(folder)
    try:
        _build(dataset, folder, shape, progress, decoder)
    except OSError as error:
        raise DatasetError(
            f"the cache {str(folder)!r} cannot be written ({error}); make room or name another folder with --cache"
        ) from error
    return FrameCache(folder, _map(folder, shape), True, note)


def dataset_digest(dataset: Dataset) -> str:
    """SHA-256 over the decode settings and the path and content of every file of the dataset."""
    digest = hashlib.sha256(CACHE_FORMAT.encode())
    views = [stream.name for stream in dataset.embodiment.image_streams]
    digest.update(json.dumps([views, dataset.image_size]).encode())
    for path in dataset.files:
        digest.update(f"\n{path.relative_to(dataset.root).as_posix()} ".encode())
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def _map(folder: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.memmap(folder / "frames.bin", dtype=np.uint8, mode="r", shape=shape)


def _problem(folder: Path, shape: tuple[int, ...]) -> str | None:
    """Why a cache folder cannot be used, or None."""
    try:
        card = json.loads((folder / "cache.json").read_text(encoding="utf-8"))
        size = (folder / "frames.bin").stat().st_size
    except (OSError, ValueError):
        return "is incomplete"
    if (
        not isinstance(card, dict)
        or card.get("shape") != list(shape)
        or size != np.prod(shape, dtype=np.int64)
    ):
        return "is incomplete"
    return (
        None if card.get("crc32") == _checksum(folder / "frames.bin") else "is damaged (its checksum differs)"
    )


def _checksum(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            crc = zlib.crc32(block, crc)
    return crc


def _build(
    dataset: Dataset, folder: Path, shape: tuple[int, ...], progress: Progress | None, decoder: Decoder
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        frames = np.memmap(work / "frames.bin", dtype=np.uint8, mode="w+", shape=shape)
        done, total = 0, shape[0] * shape[1]
        for view in range(shape[1]):
            for path, episodes in _by_file(dataset, view):
                for count in _decode_into(dataset, frames, view, path, episodes, decoder):
                    if progress is not None:
                        progress(done + count, total)
                done += sum(episode.length for episode in episodes)
        frames.flush()
        del frames
        card = {"format": CACHE_FORMAT, "shape": list(shape), "crc32": _checksum(work / "frames.bin")}
        (work / "cache.json").write_text(json.dumps(card) + "\n", encoding="utf-8")
        with contextlib.suppress(FileExistsError):  # another process was quicker: its content is the same
            work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


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
