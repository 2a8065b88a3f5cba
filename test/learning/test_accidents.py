# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Several processes, one of which ends or all of which are wrong: one sentence, and the last save is as it was."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from support.refused import refused
from support.tiny_mixture import mapping_of_recipe, start_processes
from torch.distributed.checkpoint.filesystem import FileSystemWriter

from hpt_ros.cli.main import main
from hpt_ros.errors import Code, HptError
from hpt_ros.learning import read_recipe, train
from hpt_ros.learning.batches import BatchMaker
from hpt_ros.learning.distributed import processes
from hpt_ros.learning.mixture import Mixture
from hpt_ros.learning.sharded import ShardError
from hpt_ros.model import load_multi_checkpoint

CHANGES: dict[str, Any] = {"iterations": 6, "validation_every": 2, "lr": 1e-4, "batch_size": 10}
RECIPE = read_recipe(mapping_of_recipe(**CHANGES, shard=True), where="test recipe")


@pytest.fixture(scope="module")
def whole(mixture: Mixture, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The averaged weights of a run without accidents."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(mixture, read_recipe(mapping_of_recipe(**CHANGES), where="test recipe"), run)
    return load_multi_checkpoint(run / "last").policy.tensors()


def killed(*_: Any, **__: Any) -> None:
    """End this process as the kernel does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def in_two(work: Any) -> list[int | None]:
    started = start_processes(2, work)
    for process in started:
        process.join(90)
    return [process.exitcode for process in started]


def require_resumed(mixture: Mixture, run: Path, whole: dict[str, torch.Tensor]) -> None:
    """Go on with what is there, by two processes, to the weights of the run without accidents."""
    said: list[str] = []

    class Says:
        def say(self, sentence: str) -> None:
            said.append(sentence)
            if sentence.startswith("resumed"):
                (run / "said").write_text(sentence)

        def bar(self, label: str, done: int, total: int, note: str = "") -> None:
            pass

    def work(rank: int) -> None:
        with processes("cpu") as joined:
            train(mixture, RECIPE, run, processes=joined, resume=True, report=Says())

    assert in_two(work) == [0, 0]
    assert (run / "said").read_text() == "resumed after step 2 of 6"
    ours = load_multi_checkpoint(run / "last").policy.tensors()
    assert max(float((value - whole[name]).abs().max()) for name, value in ours.items()) < 1e-6
    assert [path.name for path in run.glob("train_state-*")] == ["train_state-000000006"]


def test_when_the_disk_is_full_while_shards_are_written_expect_one_sentence_and_the_last_save(
    mixture: Mixture, tmp_path: Path, whole: dict[str, torch.Tensor]
) -> None:
    run = tmp_path / "run"

    def work(rank: int) -> None:
        with processes("cpu") as joined:
            train(mixture, RECIPE, run, processes=joined, stop_after=2)
            resource.setrlimit(
                resource.RLIMIT_FSIZE, (60_000, 60_000)
            )  # metrics and the report fit, a shard does not
            with refused(ShardError, Code.UNWRITABLE, match="File too large.*make room and resume the run"):
                train(mixture, RECIPE, run, processes=joined, resume=True)

    assert in_two(work) == [0, 0]
    assert [path.name for path in run.glob("train_state-*")] == ["train_state-000000002"]
    require_resumed(mixture, run, whole)


@pytest.mark.parametrize("rank_killed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_when_a_process_is_killed_while_shards_are_written_expect_the_last_complete_ones(
    mixture: Mixture, tmp_path: Path, rank_killed: int, whole: dict[str, torch.Tensor]
) -> None:
    run = tmp_path / "run"

    def work(rank: int) -> None:
        with (
            refused(HptError, Code.UNAVAILABLE, match=r"has lost another one; see above.*--resume"),
            processes("cpu") as joined,
        ):
            train(mixture, RECIPE, run, processes=joined, stop_after=2)
            if (
                rank == rank_killed
            ):  # all parts are there, what ties them together is not; or this part is missing
                setattr(FileSystemWriter, "finish" if rank == 0 else "write_data", killed)
            train(mixture, RECIPE, run, processes=joined, resume=True)

    codes = in_two(work)
    assert codes[rank_killed] == -signal.SIGKILL
    assert codes[1 - rank_killed] == 0  # as it says
    assert (run / "train_state-000000004").is_dir()
    require_resumed(mixture, run, whole)


def test_when_a_process_is_killed_in_its_first_step_expect_one_sentence_of_the_other(
    file: Path, tmp_path: Path
) -> None:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(mapping_of_recipe(**CHANGES)))
    codes, said = run_command(file, tmp_path, rank_killed=1)
    assert codes == [2, -signal.SIGKILL]
    assert [line for line in said if "error" in line] == [said[-1]]
    assert said[-1].startswith(
        "hpt pretrain: error: process 1 of the 2 of the run has lost another one; see above"
    )


def test_what_is_wrong_in_all_processes_is_said_once(file: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(mapping_of_recipe(batch_size=7)))
    codes, said = run_command(file, tmp_path)
    assert codes == [2, 2]
    assert len(said) == 1
    assert said[0].startswith("hpt pretrain: error: batch_size is 7, expected a multiple of the 2 processes")


def run_command(file: Path, folder: Path, rank_killed: int = -1) -> tuple[list[int | None], list[str]]:
    """Pre-train by two processes; returns their exit statuses, and all lines of both."""
    words = ["pretrain", str(file), "--out", str(folder / "run"), "--recipe", str(folder / "recipe.yaml")]

    def work(rank: int) -> None:
        sys.stdout = sys.stderr = (folder / "said").open("a", buffering=1)
        if rank == rank_killed:
            setattr(BatchMaker, "__call__", killed)  # noqa: B010 - in this process, which ends by it
        sys.exit(main([*words, "--device", "cpu", "--readers", "0"]))

    return in_two(work), (folder / "said").read_text().splitlines()
