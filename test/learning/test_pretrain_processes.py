# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One trunk trained by several processes: what one would compute, spread over them, and with accidents."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.tiny_mixture import mapping_of_recipe, start_processes, write_mixture

from hpt_ros.errors import HptError
from hpt_ros.learning import InitialWeights, Recipe, train
from hpt_ros.learning.distributed import processes
from hpt_ros.learning.mixture import Mixture, open_mixture
from hpt_ros.learning.mixture_config import load_mixture
from hpt_ros.model import load_multi_checkpoint

from .pretraining import difference, recipe_of, state_of


@pytest.mark.parametrize("mixing", ["batch", "dataset"])
def test_two_processes_compute_what_one_does(mixture: Mixture, tmp_path: Path, mixing: str) -> None:
    # horizon masking and the noise are on: they are drawn alike, whoever takes the sample
    # A small step: where a gradient is 0 but for rounding (the bias of keys), Adam makes of it any part of a step.
    recipe = recipe_of(augment={"state_noise": 0.01}, mixing=mixing, micro_batch=3, lr=1e-4)

    def work(rank: int) -> None:
        with processes("cpu") as joined:
            assert (joined.rank, joined.world) == (rank, 2)
            train(mixture, recipe, tmp_path / "two", processes=joined)

    started = start_processes(2, work)
    one = train(mixture, recipe, tmp_path / "one")
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0, 0]
    a, b = state_of(tmp_path / "one"), state_of(tmp_path / "two")
    assert difference(a["policy"], b["policy"]) < 1e-6
    assert a["best"] == [one.best_error, b["best"][1]]
    assert b["best"][0] == pytest.approx(a["best"][0], abs=1e-6)
    logs = [
        [
            entry["loss"]
            for entry in map(json.loads, (tmp_path / run / "metrics.jsonl").open())
            if "lr" in entry
        ]
        for run in ("one", "two")
    ]
    assert logs[0] == pytest.approx(logs[1], abs=1e-6)


def spread(
    mixture: Mixture, folder: Path, recipe: Recipe, start: InitialWeights, stops: tuple[int | None, ...]
) -> None:
    """Run it by two processes that share the weights, and resume it after each stop."""

    def work(rank: int) -> None:
        with processes("cpu") as joined:
            for number, stop in enumerate(stops):
                resume = number > 0
                train(mixture, recipe, folder, processes=joined, start=start, stop_after=stop, resume=resume)

    started = start_processes(2, work)
    for process in started:
        process.join(90)
    assert [process.exitcode for process in started] == [0, 0]


def test_weights_that_are_spread_over_two_processes_learn_what_one_does(
    mixture: Mixture, tmp_path: Path
) -> None:
    changes = {
        "iterations": 4,
        "validation_every": 2,
        "lr": 1e-4,
        "batch_size": 10,
        "augment": {"state_noise": 0.01},
    }
    recipe, one, two = recipe_of(**changes, shard=True), tmp_path / "one", tmp_path / "two"
    train(mixture, recipe_of(**changes), one)
    spread(mixture, two, recipe, InitialWeights(), (2, None))
    a, b = (load_multi_checkpoint(run / "last").policy.tensors() for run in (one, two))
    assert difference(a, b) < 1e-6
    assert [path.name for path in two.glob("train_state-*")] == ["train_state-000000004"]
    with pytest.raises(HptError, match=r"was spread over several processes .*, expected one as now; resume"):
        train(mixture, recipe, two, resume=True)


def test_image_encoders_are_spread_too(
    file: Path, dataset_folder: Path, tmp_path: Path, cache_root: Path
) -> None:
    entries = [{"path": str(dataset_folder)}, {"path": str(file.parent / "slider")}]
    seen = open_mixture(load_mixture(write_mixture(tmp_path, entries)), 0.3, 0)
    policy = mapping_of_recipe()["policy"] | {"optional": ["image"]}
    policy["image_encoder"] = {"kind": "small_cnn", "trainable": True, "channels": [8, 8]}
    policy["stems"] = [
        {"modality": "image", "widths": [16], "tokens": 2, "heads": 2, "head_width": 8, "dropout": 0.0},
        *policy["stems"],
    ]
    changes = {"policy": policy, "iterations": 2, "validation_every": 2, "lr": 1e-4, "batch_size": 6}
    train(seen, recipe_of(**changes), tmp_path / "one")
    spread(seen, tmp_path / "two", recipe_of(**changes, shard=True), InitialWeights(), (None,))
    a, b = (load_multi_checkpoint(tmp_path / run / "last").policy.tensors() for run in ("one", "two"))
    assert difference(a, b) < 1e-6


@pytest.mark.slow
def test_weights_that_are_spread_and_partly_frozen_resume_bit_for_bit(
    mixture: Mixture, tmp_path: Path
) -> None:
    train(mixture, recipe_of(iterations=1), tmp_path / "first")
    start = InitialWeights(init=str(tmp_path / "first/last"))
    recipe = recipe_of(shard=True, micro_batch=2, freeze_blocks=1, lr=1e-4)
    spread(mixture, tmp_path / "straight", recipe, start, (None,))
    spread(mixture, tmp_path / "parts", recipe, start, (3, 5, None))
    train(mixture, recipe_of(micro_batch=2, freeze_blocks=1, lr=1e-4), tmp_path / "one", start=start)
    straight, parts, one = (
        load_multi_checkpoint(tmp_path / run / "last").policy.tensors()
        for run in ("straight", "parts", "one")
    )
    assert difference(straight, parts) == 0.0
    assert difference(straight, one) < 1e-6


def test_finetuning_is_shared_by_two_processes_too(mixture: Mixture, tmp_path: Path) -> None:
    recipe = recipe_of(lr=1e-4)
    dataset = mixture.members[2].dataset

    def work(rank: int) -> None:
        with processes("cpu") as joined:
            train(dataset, recipe, tmp_path / "two", processes=joined)

    started = start_processes(2, work)
    train(dataset, recipe, tmp_path / "one")
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0, 0]
    assert difference(state_of(tmp_path / "one")["policy"], state_of(tmp_path / "two")["policy"]) < 1e-6


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def under_torchrun(file: Path, mapping: dict[str, Any], run: Path, *options: str) -> list[str]:
    """Write a recipe beside the run; returns the command that pre-trains with it in two processes."""
    recipe = run.with_name("recipe.yaml")
    recipe.write_text(yaml.safe_dump(mapping))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *options]
    ours = ["-m", "hpt_ros", "pretrain", str(file), "--out", str(run), "--recipe", str(recipe)]
    return [sys.executable, *torchrun, *ours]


@pytest.mark.slow
def test_when_a_worker_of_torchrun_is_killed_expect_the_run_to_go_on_from_the_last_save(
    file: Path, mixture: Mixture, tmp_path: Path
) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    mapping = mapping_of_recipe(iterations=300, validation_every=20, log_every=1, lr=1e-5)
    words = under_torchrun(file, mapping, run, "--max-restarts", "1")
    with log.open("w") as stream, subprocess.Popen(words, stdout=stream, stderr=stream) as torchrun:
        deadline_s = time.monotonic() + 120
        while not (run / "train_state.pt").is_file() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        os.kill(children(torchrun.pid)[1], signal.SIGKILL)
        assert torchrun.wait(240) == 0, log.read_text()[-3000:]
    said = log.read_text()
    resumed = int(said.split("resumed after step ")[1].split()[0])
    assert resumed % 20 == 0  # at most one interval is lost
    assert resumed >= 20
    train(mixture, recipe_of(**mapping), tmp_path / "alone")
    assert difference(state_of(run)["policy"], state_of(tmp_path / "alone")["policy"]) < 1e-5
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    assert steps[-1] == 300


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_when_a_terminal_interrupts_torchrun_or_goes_expect_the_run_saved(
    file: Path, tmp_path: Path, number: signal.Signals
) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    mapping = mapping_of_recipe(iterations=100_000, validation_every=50_000, log_every=1, lr=1e-5)
    words = under_torchrun(file, mapping, run)
    with (
        log.open("w") as stream,
        subprocess.Popen(words, stdout=stream, stderr=stream, start_new_session=True) as torchrun,
    ):
        deadline_s = time.monotonic() + 120
        while not (run / "metrics.jsonl").is_file() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        time.sleep(1.0)
        os.killpg(torchrun.pid, number)
        torchrun.wait(60)
    assert (run / "train_state.pt").is_file(), log.read_text()[-3000:]
    assert "interrupted after step" in log.read_text()
