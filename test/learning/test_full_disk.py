# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A disk that takes no more, and a process that is killed: nothing is lost but the interval since the last save."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from support.tiny_mixture import mapping_of_recipe, write_robot

from hpt_ros.dataset import open_dataset
from hpt_ros.learning import read_recipe, train
from hpt_ros.learning.run_folder import LOCK
from hpt_ros.model import load_checkpoint
from hpt_ros.structured import dump_yaml


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_robot(tmp_path_factory.mktemp("data") / "arm", "arm")


def command(robot: Path, out: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "hpt_ros", "finetune", str(robot), "--out", str(out), *words]


def states_equal(a: Path, b: Path) -> bool:
    """Whether two runs ended with the same weights, averages and step, bit for bit."""
    one, two = (torch.load(run / "train_state.pt", weights_only=True) for run in (a, b))
    return bool(one["step"] == two["step"]) and all(
        torch.equal(value, two[part][name])
        for part in ("policy", "average")
        for name, value in one[part].items()
    )


# Files may have this many bytes: metrics do not fit; the weights do not fit; the training state does not fit.
@pytest.mark.parametrize("most", [pytest.param(500, marks=pytest.mark.slow), 20_000, 160_000])
def test_when_the_disk_takes_no_more_expect_one_sentence_and_the_run_as_it_was(
    robot: Path, tmp_path: Path, most: int
) -> None:
    recipe = read_recipe(mapping_of_recipe(iterations=12), where="test")
    straight, out = tmp_path / "straight", tmp_path / "run"
    train(open_dataset(robot), recipe, straight)
    train(open_dataset(robot), recipe, out, stop_after=4)
    size = (out / "train_state.pt").stat().st_size
    assert (out / "last/model.safetensors").stat().st_size < 160_000 < size

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    ended = subprocess.run(
        command(robot, out, "--resume"),
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    said = ended.stderr.strip().splitlines()[-1]
    assert said.startswith("hpt finetune: error: ")
    assert "File too large" in said
    assert [path.name for path in out.glob(".*") if path.name != LOCK] == []  # nothing that was half written
    load_checkpoint(out / "last")
    assert torch.load(out / "train_state.pt", weights_only=True)["step"] == 4
    train(open_dataset(robot), recipe, out, resume=True)
    assert states_equal(out, straight)


def test_when_finetuning_is_killed_expect_the_straight_run_after_resuming(
    robot: Path, tmp_path: Path
) -> None:
    mapping = mapping_of_recipe(iterations=4000, validation_every=20)
    (tmp_path / "recipe.yaml").write_text(dump_yaml(mapping))
    out = tmp_path / "run"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command(robot, out, "--recipe", str(tmp_path / "recipe.yaml")),
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not (out / "train_state.pt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)  # somewhere in an interval, or in a save
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    step = torch.load(out / "train_state.pt", weights_only=True)["step"]
    assert 0 < step < 4000
    assert step % 20 == 0
    recipe = read_recipe(mapping, where="test")
    goal = step + 10
    train(open_dataset(robot), recipe, out, resume=True, stop_after=goal)
    train(open_dataset(robot), recipe, tmp_path / "straight", stop_after=goal)
    assert states_equal(out, tmp_path / "straight")
