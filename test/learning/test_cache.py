# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.tiny_dataset import episode_arrays

from hpt_ros.dataset import Dataset, DatasetError, open_dataset
from hpt_ros.dataset.video_reader import decode_video
from hpt_ros.learning import open_cache
from hpt_ros.learning.cache import default_cache_root


class CountingDecoder:
    """The real decoder; counts the files that it opened."""

    def __init__(self) -> None:
        self.files: list[Path] = []

    def __call__(self, path: Path, fps: float) -> Iterator[np.ndarray]:
        self.files.append(path)
        return decode_video(path, fps)


def test_frames_are_those_of_the_episodes(dataset: Dataset, tmp_path: Path) -> None:
    frames = open_cache(dataset, tmp_path).frames
    for episode in dataset.episodes:
        original = episode_arrays(episode.index, episode.length)[0].astype(int)
        difference = np.abs(frames[episode.start : episode.stop].astype(int) - original)
        assert difference.mean() < 4  # H.264 is lossy; a frame of another episode is far away
        other = episode_arrays(episode.index + 1, episode.length)[0].astype(int)
        assert np.abs(frames[episode.start : episode.stop] - other).mean() > 8


def test_each_video_is_decoded_once_and_never_again(dataset: Dataset, tmp_path: Path) -> None:
    decoder = CountingDecoder()
    first = open_cache(dataset, tmp_path, decoder=decoder)
    assert first.built
    assert sorted(decoder.files) == sorted(
        {span.path for episode in dataset.episodes for span in episode.videos}
    )
    decoder.files.clear()
    second = open_cache(dataset, tmp_path, decoder=decoder)
    assert not second.built
    assert decoder.files == []
    assert np.array_equal(first.frames, second.frames)


@pytest.mark.parametrize("damage", ["flip", "truncate", "no card"])
def test_when_the_cache_is_damaged_expect_it_rebuilt_and_said(
    dataset: Dataset, tmp_path: Path, damage: str
) -> None:
    good = open_cache(dataset, tmp_path)
    wanted = np.array(good.frames)
    path = good.folder / "frames.bin"
    if damage == "flip":
        with path.open("r+b") as file:
            file.seek(1000)
            file.write(bytes([255 - wanted.reshape(-1)[1000]]))
    elif damage == "truncate":
        os.truncate(path, 5000)
    else:
        (good.folder / "cache.json").unlink()
    again = open_cache(dataset, tmp_path)
    assert again.built
    assert "built again" in again.note
    assert np.array_equal(again.frames, wanted)


def test_when_the_data_change_expect_another_cache(own_folder: Path, tmp_path: Path) -> None:
    before = open_cache(open_dataset(own_folder), tmp_path / "cache")
    front = own_folder / "videos/observation.images.front/chunk-000/file-000.mp4"
    front.write_bytes(
        (own_folder / "videos/observation.images.wrist/chunk-000/file-000.mp4").read_bytes() + b"\0" * 8
    )
    after = open_cache(open_dataset(own_folder), tmp_path / "cache")
    assert after.folder != before.folder


def test_the_default_place_is_beside_the_dataset(own_folder: Path) -> None:
    dataset = open_dataset(own_folder)
    cache = open_cache(dataset)
    assert cache.folder.parent == default_cache_root(dataset) == own_folder.parent / "copy.cache"
    assert open_dataset(own_folder).files == dataset.files  # the dataset itself is as it was


def test_when_the_cache_folder_cannot_be_written_expect_its_name(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="cannot be written.*--cache"):
        open_cache(dataset, tmp_path / "file")
