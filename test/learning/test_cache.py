# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Caches of frames and features: what is in them, and what happens to a build when the world is not as it should be."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.refused import refused
from support.tiny_dataset import episode_arrays, write_dataset

from hpt_ros.dataset import Dataset, DatasetError, open_dataset
from hpt_ros.dataset.memmap_cache import Finished, checksum_of, open_mapped
from hpt_ros.dataset.video_reader import decode_video
from hpt_ros.errors import Code, HptError
from hpt_ros.learning import cache as caches
from hpt_ros.learning import open_cache
from hpt_ros.learning.cache import default_cache_root
from hpt_ros.learning.loader import ReaderError


def start(work: Callable[[], object]) -> multiprocessing.process.BaseProcess:
    """Start a copy of this process."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def message_of(work: Callable[[], object]) -> str:
    """What a copy of this process is commanded when it cannot do its work; empty if it can."""
    receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)

    def tell() -> None:
        try:
            work()
        except HptError as error:
            sender.send(str(error))
        else:
            sender.send("")

    process = start(tell)
    assert receiver.poll(60)
    process.join()
    message: str = receiver.recv()
    return message


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_frames_are_those_of_the_episodes(dataset: Dataset, tmp_path: Path) -> None:
    frames = open_cache(dataset, tmp_path).frames
    for episode in dataset.episodes:
        original = episode_arrays(episode.index, episode.length)[0].astype(int)
        difference = np.abs(frames[episode.start : episode.stop].astype(int) - original)
        assert difference.mean() < 4  # H.264 is lossy; a frame of another episode is far away
        other = episode_arrays(episode.index + 1, episode.length)[0].astype(int)
        assert np.abs(frames[episode.start : episode.stop] - other).mean() > 8


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_any_number_of_workers_builds_the_same_once(dataset: Dataset, tmp_path: Path, workers: int) -> None:
    done: list[tuple[int, int]] = []
    first = open_cache(dataset, tmp_path, workers=workers, progress=lambda *now: done.append(now))
    assert first.built
    assert done[-1] == (2 * dataset.length, 2 * dataset.length)
    assert done == sorted(done)
    done.clear()
    second = open_cache(dataset, tmp_path, workers=workers, progress=lambda *now: done.append(now))
    assert not second.built
    assert done == []
    assert np.array_equal(first.frames, second.frames)
    assert np.array_equal(first.frames, open_cache(dataset, tmp_path / "other", workers=0).frames)
    assert [path.name for path in first.folder.iterdir() if path.suffix == ".parts"] == []


@pytest.mark.parametrize("first", [1, 2, 7, 30, 45])
def test_decoding_may_begin_anywhere(dataset: Dataset, first: int) -> None:
    path = dataset.episodes[0].videos[0].path
    whole = list(decode_video(path, 10.0))
    assert len(whole) == 46
    for a, b in zip(whole[first:], decode_video(path, 10.0, first, threads=1), strict=True):
        assert np.array_equal(a, b)


def test_when_parts_are_smaller_than_files_expect_the_same_frames(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = open_cache(dataset, tmp_path / "whole").frames
    monkeypatch.setattr(caches, "PART_FRAMES", 5)
    assert np.array_equal(open_cache(dataset, tmp_path / "parts").frames, whole)


@pytest.mark.parametrize("damage", ["flip", "truncate", "no card", "older format"])
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
    elif damage == "no card":
        (good.folder / "cache.json").unlink()
    else:
        record = json.loads((good.folder / "cache.json").read_text())
        (good.folder / "cache.json").write_text(json.dumps(record | {"format": "hpt_ros/frames/0"}))
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
    with refused(DatasetError, Code.UNWRITABLE, subject=str(tmp_path / "file"), remedy="--cache"):
        open_cache(dataset, tmp_path / "file")


def test_when_the_disk_is_full_expect_one_sentence_and_nothing_left(dataset: Dataset, tmp_path: Path) -> None:
    """The largest file that the process may write stands for the disk: beyond, the system refuses likewise."""

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        open_cache(dataset, tmp_path)

    assert "cannot be written (File too large); make room" in message_of(work)
    assert list(tmp_path.iterdir()) == []


def test_when_the_place_may_not_be_written_expect_a_cache_that_is_there_used() -> None:
    """A dataset on a read-only share: another user's, since root may write everywhere."""
    place = Path(tempfile.mkdtemp())
    try:
        place.chmod(0o755)
        write_dataset(place / "tiny")
        dataset = open_dataset(place / "tiny")

        def work() -> None:
            if os.getuid() == 0:
                os.setuid(65534)
            open_cache(dataset)

        place.chmod(0o555)
        sentence = message_of(work)
        assert f"the cache '{place}/tiny.cache/" in sentence
        assert "(Permission denied: " in sentence
        assert "name another folder with --cache" in sentence
        place.chmod(0o755)
        open_cache(dataset)
        for path in (place, *place.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        assert message_of(work) == ""
    finally:
        for path in (place, *place.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(place)


def test_when_two_runs_want_a_cache_expect_one_to_build_and_the_other_to_wait(tmp_path: Path) -> None:
    said: list[str] = []
    go = tmp_path / "go"

    def build(path: Path) -> tuple[int, ...]:
        until(go.exists)
        path.write_bytes(bytes(8))
        with (tmp_path / "built").open("a") as file:
            file.write("once ")
        return (8,)

    def waiting() -> None:
        said.append("waiting")
        go.touch()

    folder = tmp_path / "cache/array"
    first = start(lambda: open_mapped(folder, "a.bin", np.uint8, "f", (8,), build))
    until(folder.with_name(".array.building").exists)
    second = open_mapped(folder, "a.bin", np.uint8, "f", (8,), build, waiting)
    first.join(60)
    assert first.exitcode == 0
    assert said == ["waiting"]
    assert not second.built
    assert (tmp_path / "built").read_text() == "once "
    assert [path.name for path in folder.parent.iterdir()] == ["array"]


def test_when_the_file_system_has_no_locks_expect_the_cache_all_the_same(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")  # as Lustre without its flock option

    monkeypatch.setattr("fcntl.flock", refuse)
    assert open_cache(dataset, tmp_path, workers=0).built
    assert not open_cache(dataset, tmp_path, workers=0).built
    assert len(list(tmp_path.iterdir())) == 1


def test_when_a_build_is_killed_expect_the_next_to_go_on(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "PART_FRAMES", 10)

    def killed_at(done: int, total: int) -> None:
        if done >= total // 2:
            os.kill(os.getpid(), signal.SIGKILL)

    process = start(lambda: open_cache(dataset, tmp_path / "a", progress=killed_at))
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    done: list[int] = []
    again = open_cache(dataset, tmp_path / "a", progress=lambda now, _: done.append(now))
    assert done[0] > dataset.length / 2  # of 2 * length
    assert np.array_equal(again.frames, open_cache(dataset, tmp_path / "b").frames)
    assert [path.name for path in (tmp_path / "a").iterdir()] == [again.folder.name]


def test_a_part_counts_as_written_only_with_its_values(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32)
    notes = Finished(tmp_path / "a.bin")
    notes.add("first half", checksum_of(values[:3]))
    again = Finished(tmp_path / "a.bin")
    assert again.has("first half", lambda: values[:3])
    assert not again.has("second half", lambda: values[3:])
    values[1] = 7  # the note reached the disk before the power cut, the values did not
    assert not again.has("first half", lambda: values[:3])


def test_when_a_worker_is_killed_expect_one_sentence_and_no_process_left(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = os.getpid()

    def decode(*_: object) -> None:
        assert os.getpid() != parent
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(caches, "decode_video", decode)
    with refused(ReaderError, Code.UNAVAILABLE, problem="SIGKILL"):
        open_cache(dataset, tmp_path, workers=2)
    assert multiprocessing.active_children() == []
    assert list(tmp_path.iterdir()) == []
