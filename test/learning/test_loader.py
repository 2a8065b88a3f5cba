# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Batches made ahead: the same ones by a thread and by any number of processes, and what happens when these end."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
import torch
from support.refused import refused
from support.tiny_mixture import mapping_of_recipe, start_processes, write_robots

from hpt_ros.dataset import Dataset
from hpt_ros.errors import Code, HptError
from hpt_ros.learning import open_cache, read_recipe, train
from hpt_ros.learning.batch_source import BatchSource
from hpt_ros.learning.batches import BatchMaker, MicroBatch
from hpt_ros.learning.distributed import processes
from hpt_ros.learning.loader import ReaderError, prefetch, spare_readers
from hpt_ros.learning.mixture import Mixture, mixture_of, open_mixture
from hpt_ros.learning.mixture_config import load_mixture

from .conftest import make_recipe


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    return open_mixture(load_mixture(write_robots(tmp_path_factory.mktemp("robots"))), 0.3, 0)


def tensors_of(batch: MicroBatch) -> Iterator[torch.Tensor]:
    yield from batch.inputs.values()
    yield from (batch.action, batch.is_pad)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_any_number_of_readers_makes_the_same_batches(
    dataset: Dataset, cache_root: Path, device: str
) -> None:
    """The maker's device says where images are changed: on the CPU by the reader, for a GPU afterwards."""
    recipe = make_recipe(micro_batch=3, augment={"erase": 0.3, "state_noise": 0.01})
    source = BatchSource(dataset, ("image", "state"), open_cache(dataset, cache_root).frames)
    make = BatchMaker(mixture_of(dataset, 0.3, 0), [source], recipe, device=device)
    wanted = [[part.on("cpu") for part in make(step)] for step in range(4, 11)]
    assert not torch.equal(wanted[0][0].inputs["image"], wanted[1][0].inputs["image"])
    for readers in (0, 1, 3):
        with prefetch(make, 4, 11, readers=readers) as batches:
            for step in wanted:
                made = [part.on("cpu") for part in batches.next()]
                assert [part.weight for part in made] == [part.weight for part in step]
                for a, b in zip(made, step, strict=True):
                    assert a.inputs.keys() == b.inputs.keys()
                    assert all(map(torch.equal, tensors_of(a), tensors_of(b)))


def test_a_run_is_the_same_with_readers_and_goes_on_with_others(
    dataset: Dataset, tmp_path: Path, cache_root: Path
) -> None:
    recipe = make_recipe(augment={"state_noise": 0.01})
    train(dataset, recipe, tmp_path / "thread", cache_root=cache_root)
    train(dataset, recipe, tmp_path / "parts", cache_root=cache_root, readers=2, stop_after=5)
    train(dataset, recipe, tmp_path / "parts", cache_root=cache_root, readers=1, resume=True)
    a, b = (
        torch.load(tmp_path / run / "train_state.pt", weights_only=True)["policy"]
        for run in ("thread", "parts")
    )
    assert all(torch.equal(value, b[name]) for name, value in a.items())


def test_two_processes_with_readers_compute_what_one_does(mixture: Mixture, tmp_path: Path) -> None:
    recipe = read_recipe(mapping_of_recipe(lr=1e-4, augment={"state_noise": 0.01}), where="test recipe")

    def work(rank: int) -> None:
        with processes("cpu") as joined:
            train(mixture, recipe, tmp_path / "two", processes=joined, readers=1)

    started = start_processes(2, work)
    train(mixture, recipe, tmp_path / "one")
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0, 0]
    a, b = (
        torch.load(tmp_path / run / "train_state.pt", weights_only=True)["policy"] for run in ("one", "two")
    )
    assert max(float((value - b[name]).abs().max()) for name, value in a.items()) < 1e-6


@pytest.mark.parametrize("readers", [0, 2])
def test_when_a_batch_cannot_be_made_expect_its_error_with_its_fields(readers: int) -> None:
    def make(step: int) -> list[int]:
        if step == 2:
            raise HptError(Code.DAMAGED, "the file", "x.mp4", remedy="copy it again")
        return [step]

    with prefetch(make, 0, 5, readers=readers) as batches:
        assert [batches.next(), batches.next()] == [[0], [1]]
        with refused(HptError, Code.DAMAGED, subject="the file", value="x.mp4"):
            batches.next()


def test_a_decoder_that_the_other_process_has_dropped_does_not_hold_up_a_reader(dataset: Dataset) -> None:
    """Freed in a fork, a decoder with threads waits for ever: they are in the process that it was opened in."""

    def drop() -> None:
        container = av.open(str(dataset.episodes[0].videos[0].path))
        container.streams.video[0].thread_type = "FRAME"
        container.streams.video[0].codec_context.thread_count = 2
        held: list[object] = [container, next(container.decode(video=0))]
        held.append(held)

    def make(step: int) -> list[int]:
        gc.collect()
        return [step]

    gc.disable()
    try:
        drop()
        with prefetch(make, 0, 3, readers=1) as batches:
            drop()  # and what is dropped later is not in the reader
            assert [batches.next() for _ in range(3)] == [[0], [1], [2]]
    finally:
        gc.enable()


def test_when_a_reader_is_killed_expect_one_sentence() -> None:
    def make(step: int) -> list[int]:
        if step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return [step]

    with (
        refused(ReaderError, Code.UNAVAILABLE, match="SIGKILL.*--shm-size.*--readers"),
        prefetch(make, 0, 20, readers=2) as batches,
    ):
        for _ in range(20):
            batches.next()
    assert multiprocessing.active_children() == []


def test_when_a_reader_is_killed_while_the_network_works_expect_the_same() -> None:
    with (
        refused(ReaderError, Code.UNAVAILABLE),
        prefetch(lambda step: [os.getpid()], 0, 20, readers=1) as batches,
    ):
        os.kill(batches.next()[0], signal.SIGKILL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            sum(range(1000))


def in_session(session: int) -> list[int]:
    """Processes of a session that have not ended."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, own = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(own) == session and state != "Z":
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_when_a_run_is_ended_expect_no_process_left(
    dataset: Dataset, tmp_path: Path, cache_root: Path, ended_by: int
) -> None:
    open_cache(dataset, cache_root)
    recipe = make_recipe(iterations=100_000, log_every=1, validation_every=100_000)
    out = tmp_path / "run"

    def work() -> None:
        os.setsid()
        result = train(dataset, recipe, out, cache_root=cache_root, readers=2)
        os._exit(130 if result.interrupted else 1)

    run = multiprocessing.get_context("fork").Process(target=work)
    run.start()
    assert run.pid is not None
    deadline = time.monotonic() + 60
    while not (out / "metrics.jsonl").is_file() or not (out / "metrics.jsonl").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(in_session(run.pid)) == 3
    if ended_by == signal.SIGINT:
        os.killpg(run.pid, ended_by)  # as a terminal does
    else:
        os.kill(run.pid, ended_by)
    run.join(60)
    assert run.exitcode == (-signal.SIGKILL if ended_by == signal.SIGKILL else 130)
    while in_session(run.pid):  # a reader looks every few seconds whether it still has a parent
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_readers_take_the_cores_that_the_network_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(32)))
    assert spare_readers("cpu", threads=30) == 2
    assert spare_readers("cpu", threads=32) == 0
    assert spare_readers("cuda", threads=32) == 8
    assert spare_readers("cuda:1", threads=32, world=8) == 3
    assert spare_readers("cpu", threads=1, world=64) == 0
