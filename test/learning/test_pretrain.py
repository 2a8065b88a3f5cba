# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Training one trunk on many robots, by one process and by several, with and without accidents."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from support.tiny_mixture import mapping_of_recipe, start_processes, write_mixture, write_robot, write_robots

from hpt_ros.cli.main import main
from hpt_ros.errors import HptError
from hpt_ros.learning import InitialWeights, Recipe, load_recipe, read_recipe, train
from hpt_ros.learning.distributed import Processes, processes
from hpt_ros.learning.mixture import Mixture, open_mixture
from hpt_ros.learning.mixture_config import load_mixture
from hpt_ros.model import load_checkpoint, load_multi_checkpoint
from hpt_ros.resources import config_file

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture of three robots."""
    return write_robots(tmp_path_factory.mktemp("robots"))


@pytest.fixture(scope="module")
def mixture(file: Path) -> Mixture:
    return open_mixture(load_mixture(file), 0.3, 0)


def recipe_of(**changes: Any) -> Recipe:
    return read_recipe(mapping_of_recipe(**changes), where="test recipe")


def state_of(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / "train_state.pt", weights_only=True)
    return state


def difference(a: Tensors, b: Tensors) -> float:
    """Largest absolute difference between tensors of the same names."""
    assert a.keys() == b.keys()
    return max(float((a[name].float() - b[name].float()).abs().max()) for name in a)


def test_one_command_trains_a_trunk_that_finetunes_onto_another_robot(
    file: Path, tmp_path: Path, capsys: Any
) -> None:
    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(yaml.safe_dump(mapping_of_recipe()))
    assert main(["pretrain", str(file), "--out", str(run), "--recipe", str(recipe)]) == 0
    said = capsys.readouterr()
    assert "arm, 41.4 % of the samples: 9 episodes" in said.err
    assert re.search(r"^  trunk: 25,536 parameters, lr \S+, random \(from scratch\)$", said.err, re.MULTILINE)
    assert "  gantry, stem state:" in said.err
    assert "step 8: validation loss" in said.err
    assert f"the best checkpoint is {run / 'best'}" in said.out
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries if "samples_per_s" in entry] == [2, 4, 6, 8]
    last = entries[-1]
    assert set(last["validation"]) == {"slider", "gantry", "arm"}
    mean = sum(figures["loss"] for figures in last["validation"].values()) / 3
    assert last["validation_loss"] == pytest.approx(mean)
    checkpoint = load_multi_checkpoint(run / "last")
    assert checkpoint.policy.names == ("slider", "gantry", "arm")
    for name, fraction in (("slider", "29.3"), ("gantry", "29.3"), ("arm", "41.4")):
        assert f"| `{name}` | {name} | licence of {name} | {fraction} % |" in checkpoint.card
    # Its trunk goes to another robot, and stays where it is frozen.
    write_robot(tmp_path / "new", "arm", episodes=4)
    words = ["finetune", str(tmp_path / "new"), "--out", str(tmp_path / "tuned"), "--recipe", str(recipe)]
    assert main([*words, "--trunk", str(run / "best/embodiments/slider"), "--set", "freeze_trunk=true"]) == 0
    tuned, trunk = load_checkpoint(tmp_path / "tuned/last"), load_multi_checkpoint(run / "best").policy.trunk
    assert difference(dict(tuned.policy.trunk.state_dict()), dict(trunk.state_dict())) == 0.0
    # And a robot of the mixture runs, and goes on, from its own folder.
    assert (
        main([*words[:3], str(tmp_path / "on"), *words[4:], "--init", str(run / "best/embodiments/arm")]) == 0
    )
    assert main(["evaluate", str(run / "best/embodiments/arm"), str(tmp_path / "new")]) == 0


def test_all_robots_learn(mixture: Mixture, tmp_path: Path) -> None:
    recipe = recipe_of(iterations=150, lr=5e-3, validation_every=150, batch_size=24)
    train(mixture, recipe, tmp_path / "run")
    entries = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    losses = [entry["loss"] for entry in entries if "loss" in entry]
    assert sum(losses[-5:]) < sum(losses[:5]) / 3


@pytest.mark.parametrize("stopped_at", [3, 4, 7])
@pytest.mark.parametrize("mixing", ["batch", "dataset"])
def test_when_resumed_expect_the_straight_run_bit_for_bit(
    mixture: Mixture, tmp_path: Path, stopped_at: int, mixing: str
) -> None:
    policy = mapping_of_recipe()["policy"]
    policy["stems"][0] |= {"dropout": 0.1}
    recipe = recipe_of(policy=policy, augment={"state_noise": 0.01}, mixing=mixing)
    straight = train(mixture, recipe, tmp_path / "straight")
    train(mixture, recipe, tmp_path / "parts", stop_after=stopped_at)
    rest = train(mixture, recipe, tmp_path / "parts", resume=True)
    assert (rest.steps, rest.best_error) == (8, straight.best_error)
    a, b = state_of(tmp_path / "straight"), state_of(tmp_path / "parts")
    assert difference(a["policy"], b["policy"]) == 0.0
    assert difference(a["average"], b["average"]) == 0.0
    assert (tmp_path / "straight/best/model.safetensors").read_bytes() == (
        tmp_path / "parts/best/model.safetensors"
    ).read_bytes()


class Killing:
    """Ends its process, as a power cut does, once a run says that it is so far."""

    def __init__(self, step: int) -> None:
        self.step = step

    def say(self, sentence: str) -> None:
        pass

    def bar(self, label: str, done: int, total: int, note: str = "") -> None:
        if label == "training" and done >= self.step:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("step", [3, 5, 8])
def test_when_killed_at_any_moment_expect_the_straight_run_after_resuming(
    mixture: Mixture, tmp_path: Path, step: int
) -> None:
    recipe, run = recipe_of(log_every=1, validation_every=2), tmp_path / "run"
    (victim,) = start_processes(1, lambda _: train(mixture, recipe, run, report=Killing(step)) and None)
    victim.join()
    assert victim.exitcode == -signal.SIGKILL
    saved = state_of(run)["step"]
    assert step - 2 <= saved < step  # at most one interval is lost
    train(mixture, recipe, run, resume=True)
    train(mixture, recipe, tmp_path / "straight")
    assert difference(state_of(run)["policy"], state_of(tmp_path / "straight")["policy"]) == 0.0
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def test_when_a_batch_goes_through_in_parts_expect_the_same_weights(mixture: Mixture, tmp_path: Path) -> None:
    for most in (0, 1, 5):
        train(mixture, recipe_of(micro_batch=most, lr=1e-4), tmp_path / str(most))
    whole = state_of(tmp_path / "0")["policy"]
    assert difference(whole, state_of(tmp_path / "1")["policy"]) < 1e-6
    assert difference(whole, state_of(tmp_path / "5")["policy"]) < 1e-6


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


def test_with_bfloat16_and_quantiles_a_run_resumes_exactly(mixture: Mixture, tmp_path: Path) -> None:
    recipe = recipe_of(precision="bfloat16", statistics="quantiles")
    train(mixture, recipe, tmp_path / "straight")
    train(mixture, recipe, tmp_path / "parts", stop_after=5)
    train(mixture, recipe, tmp_path / "parts", resume=True)
    a, b = (state_of(tmp_path / run)["policy"] for run in ("straight", "parts"))
    assert difference(a, b) == 0.0
    assert a["heads.arm.net.0.weight"].dtype == torch.float32
    stats = load_checkpoint(tmp_path / "parts/last/embodiments/arm").stats["state"]
    assert all(low >= least for low, least in zip(stats["min"], stats["limits"]["min"], strict=True))
    assert stats["max"] != stats["limits"]["max"]
    assert main(["checkpoint", "verify", str(tmp_path / "parts/last")]) == 0


def test_when_processes_cannot_share_a_batch_expect_both_numbers(mixture: Mixture, tmp_path: Path) -> None:
    with pytest.raises(
        HptError, match=r"batch_size is 12, expected a multiple of the 5 processes; change it"
    ):
        train(mixture, recipe_of(), tmp_path / "run", processes=Processes(rank=0, world=5))
    assert not (tmp_path / "run").exists()


def test_when_a_robot_lacks_a_modality_expect_its_policy_without_that_stem_or_a_sentence(
    file: Path, dataset_folder: Path, tmp_path: Path, cache_root: Path
) -> None:
    entries = [{"path": str(dataset_folder)}, {"path": str(file.parent / "slider")}]
    seen = open_mixture(load_mixture(write_mixture(tmp_path, entries)), 0.3, 0)
    policy = mapping_of_recipe()["policy"]
    policy["image_encoder"] = {"kind": "small_cnn", "trainable": True, "channels": [8, 8]}
    image = {"modality": "image", "widths": [16], "tokens": 2, "heads": 2, "head_width": 8}
    policy["stems"] = [image, *policy["stems"]]
    words = "dataset 'slider' of the mixture: the recipe has a stem for 'image', but embodiment 'slider'"
    with pytest.raises(HptError, match=words):
        train(seen, recipe_of(policy=policy), tmp_path / "run", cache_root=cache_root)
    recipe = recipe_of(policy=policy | {"optional": ["image"]}, iterations=2)
    train(seen, recipe, tmp_path / "run", cache_root=cache_root)
    trained = load_multi_checkpoint(tmp_path / "run/last").policy.config.policies
    assert {name: config.modalities for name, config in trained.items()} == {
        "tiny": ("image", "state"), "slider": ("state",),
    }  # fmt: skip
    train(
        seen,
        recipe,
        tmp_path / "again",
        cache_root=cache_root,
        start=InitialWeights(init=str(tmp_path / "run/last")),
    )


def test_when_the_checkpoint_is_of_other_robots_expect_them_named(
    mixture: Mixture, file: Path, tmp_path: Path
) -> None:
    entries = [{"path": str(file.parent / name)} for name in ("slider", "gantry")]
    two = open_mixture(load_mixture(write_mixture(tmp_path, entries)), 0.3, 0)
    train(two, recipe_of(iterations=1), tmp_path / "two")
    start = InitialWeights(init=str(tmp_path / "two/last"))
    with pytest.raises(
        HptError, match=r"is of slider, gantry, expected 'arm' too, which the data are of; load"
    ):
        train(mixture, recipe_of(), tmp_path / "three", start=start)
    with pytest.raises(HptError, match="as when it was started"):
        train(mixture, recipe_of(iterations=1), tmp_path / "two", resume=True)


def test_parts_are_shared_as_the_recipe_says(mixture: Mixture, tmp_path: Path) -> None:
    policy = mapping_of_recipe()["policy"]
    with pytest.raises(
        HptError, match=r"'stem state', but 'slider' and 'gantry' differ in it \(net.0.weight\)"
    ):
        train(mixture, recipe_of(policy=policy | {"shared": ["stem state"]}), tmp_path / "run")
    train(mixture, recipe_of(policy=policy | {"shared": ["modality tokens"]}), tmp_path / "run")
    tensors = load_multi_checkpoint(tmp_path / "run/last").policy.tensors()
    assert [name for name in tensors if name.startswith("modalities_tokens")] == ["modalities_tokens.state"]


def test_words_that_make_no_sense_are_one_sentence(file: Path, tmp_path: Path, capsys: Any) -> None:
    words = ["pretrain", str(file), "--out", str(tmp_path / "run")]
    assert main([*words, "--resume"]) == 2
    assert "cannot be resumed: there is no train_state.pt" in capsys.readouterr().err
    assert main(["pretrain", str(file.parent / "nowhere.yaml"), "--out", str(tmp_path / "run")]) == 2
    assert "nowhere.yaml' does not exist" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_papers_figures_are_in_the_recipe() -> None:
    recipe = load_recipe(config_file("recipes/pretrain_base.yaml"))
    assert (recipe.iterations, recipe.batch_size, recipe.lr, recipe.weight_decay) == (80_000, 256, 2e-4, 0.05)
    assert recipe.policy.trunk.parameters == 12_644_352
    small = load_recipe(config_file("recipes/pretrain_small.yaml"))
    assert (
        small.policy.trunk == load_recipe(config_file("recipes/feed_dog.yaml")).policy.trunk
    )  # it finetunes there


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


def test_when_the_run_cannot_be_written_expect_that_and_not_a_full_disk(file: Path, capsys: Any) -> None:
    assert main(["pretrain", str(file), "--out", "/proc/hpt/run"]) == 2
    message = capsys.readouterr().err
    assert "'/proc/hpt/run' cannot be written (" in message
    assert "name another folder with --out" in message
