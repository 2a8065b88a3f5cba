# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory, shared memory or open files that do not suffice: one sentence with what to change, and the run as it was."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from support.refused import refused
from support.tiny_mixture import mapping_of_recipe, write_robots

from hpt_ros.cli.main import main
from hpt_ros.errors import Code
from hpt_ros.learning.batches import BatchMaker
from hpt_ros.learning.loader import ReaderError, prefetch
from hpt_ros.learning.train import Losses
from hpt_ros.model import Policy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("robots")
    write_robots(made)
    (made / "recipe.yaml").write_text(yaml.safe_dump(mapping_of_recipe()))
    return made


def words(folder: Path, run: Path) -> list[str]:
    return ["pretrain", str(folder / "mixture.yaml"), "--out", str(run), "--device", "cpu"]


def state_of(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / "train_state.pt", weights_only=True)
    return state


@pytest.mark.parametrize("where", ["loss", "validation"])
def test_when_memory_runs_out_expect_how_to_go_on_with_less_and_the_same_weights(
    folder: Path,
    tmp_path: Path,
    where: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = ["--recipe", str(folder / "recipe.yaml")]
    owner, name = (Losses, "forward") if where == "loss" else (Policy, "predict")
    original, calls = getattr(owner, name), []

    def greedy(self: Any, *given: Any) -> Any:
        calls.append(1)
        if (run / "train_state.pt").is_file():
            torch.empty(1 << 50)  # PyTorch's own error, in the middle of a run
        return original(self, *given)

    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, greedy)
        assert main([*words(folder, run), *recipe]) == 2
    assert calls
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("hpt pretrain: error: memory does not suffice for 12 samples at once (")
    assert "; go on from its last save with --resume --set micro_batch=6, which" in said
    assert state_of(run)["step"] == 4
    assert main([*words(folder, run), "--resume", "--set", "micro_batch=6"]) == 0
    assert main([*words(folder, tmp_path / "straight"), *recipe]) == 0
    a, b = (state_of(path)["policy"] for path in (run, tmp_path / "straight"))
    assert max(float((a[name] - b[name]).abs().max()) for name in a) < 1e-5
    assert state_of(run)["recipe"]["micro_batch"] == 6


def test_what_changes_the_result_cannot_be_set_when_resuming(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words(folder, tmp_path), "--resume", "--set", "micro_batch=6", "--set", "lr=1"]) == 2
    assert "--set of other keys than micro_batch, activation_checkpointing" in capsys.readouterr().err


def test_when_the_system_kills_a_reader_expect_the_run_to_go_on_from_its_last_save(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the kernel does with the largest process when memory is short."""
    original = BatchMaker.__call__

    def killed(self: BatchMaker, step: int) -> Any:
        if step == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, step)

    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(BatchMaker, "__call__", killed)
        recipe = ["--recipe", str(folder / "recipe.yaml"), "--set", "validation_every=2"]
        assert main([*words(folder, run), *recipe, "--readers", "1"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "was ended by SIGKILL; if memory or /dev/shm is short" in said
    # At least one save came before: batches are made ahead, but no more than a few.
    assert state_of(run)["step"] >= 2
    assert main([*words(folder, run), "--resume"]) == 0


def batch(step: int) -> list[torch.Tensor]:
    return [torch.full((3000,), float(step)) for _ in range(30)]


def test_when_too_few_files_may_be_open_expect_that_and_no_endless_wait(
    capfd: pytest.CaptureFixture[str],
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 30, hard))
    try:
        with (
            refused(
                ReaderError,
                Code.UNAVAILABLE,
                subject="the number of open files",
                match="ulimit -n.*--readers",
            ),
            prefetch(batch, 0, 8, readers=2) as batches,
        ):
            for _ in range(8):
                batches.next()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    # A reader that ends may lack a file to remove its folder with, of which Python's multiprocessing complains.
    assert "hpt_ros" not in capfd.readouterr().err


# Neither a queue, nor a batch, fits into it.
@pytest.mark.parametrize("size", [pytest.param("4k", marks=pytest.mark.slow), "200k"])
def test_when_shared_memory_is_short_expect_that_and_no_endless_wait(size: str) -> None:
    mount = f"mount -t tmpfs -o size={size} tmpfs /dev/shm"
    own = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*own, mount], capture_output=True, check=False).returncode:
        pytest.skip("no mounts of its own may be made here")
    program = "import test_shortages as t\nwith t.prefetch(t.batch, 0, 8, readers=2) as made:\n"
    program += " [made.next() for _ in range(8)]"
    ended = subprocess.run(
        [*own, f"{mount} && exec {sys.executable} -c '{program}'"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "ReaderError: shared memory (/dev/shm) does not suffice" in ended.stderr.splitlines()[-1]
