# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The verbs `finetune` and `evaluate`, called as the command line calls them."""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from support.refused import refused
from support.tiny_dataset import EMBODIMENT, LENGTHS, episode_arrays

from hpt_ros.cli import evaluate, finetune
from hpt_ros.cli.terminal import Terminal
from hpt_ros.dataset import open_dataset
from hpt_ros.dataset import write_dataset as write_lerobot
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.learning.recipe import recipe_mapping
from hpt_ros.model import load_checkpoint
from hpt_ros.model.checkpoint_folder import read_config
from hpt_ros.structured import dump_yaml

from .conftest import make_recipe


def call(verb: object, *words: object) -> int:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)  # type: ignore[attr-defined]
    return int(verb.run(parser.parse_args([str(word) for word in words])))  # type: ignore[attr-defined]


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_yaml(recipe_mapping(make_recipe())))
    return path


def test_what_the_converter_writes_is_read_and_trained_and_measured(
    tmp_path: Path, recipe_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    robot = Embodiment.loads(EMBODIMENT)
    episodes = [episode_arrays(index, length) for index, length in enumerate(LENGTHS)]
    folder = write_lerobot(
        tmp_path / "data",
        robot,
        [("reach", {"front": f[:, 0], "wrist": f[:, 1]}, state, action) for f, state, action in episodes],
    )
    dataset = open_dataset(folder)
    assert np.array_equal(dataset.action, np.concatenate([action for _, _, action in episodes]))
    assert np.array_equal(dataset.state, np.concatenate([state for _, state, _ in episodes]))
    out = tmp_path / "run"
    assert call(finetune, folder, "--out", out, "--recipe", recipe_file, "--iterations", 4) == 0
    assert f"best checkpoint is {out / 'best'}" in capsys.readouterr().out
    assert call(evaluate, out / "best", folder) == 0
    printed = capsys.readouterr().out
    assert f"{sum(LENGTHS)} ticks" in printed
    assert "3 (0.3 s)" in printed


def test_resume_uses_the_runs_own_recipe(dataset_folder: Path, tmp_path: Path, recipe_file: Path) -> None:
    out = tmp_path / "run"
    words = (dataset_folder, "--out", out, "--cache", tmp_path / "cache")
    assert call(finetune, *words, "--recipe", recipe_file, "--set", "log_every=1", "--iterations", 3) == 0
    assert call(finetune, *words, "--resume") == 0
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume", "--set", "lr=1"], "--resume goes on with the run's own recipe"),
        (
            ["--resume", "--iterations", "9"],
            r"to train longer, start another run from its weights with --init '.*/last'",
        ),
        (["--resume", "--trunk", "x"], "--resume goes on with the run's own weights"),
        (["--resume", "--language-model", "x"], "--resume goes on with the run's own weights"),
        (["--resume"], "cannot be resumed: there is no train_state.pt"),
        (["--recipe", "nowhere.yaml"], r"'nowhere\.yaml' does not exist"),
        (["--recipe", "feed_cat"], r"'feed_cat' is neither a file nor shipped .* did you mean 'feed_dog'"),
        (["--device", "tpu0"], "cpu, cuda or cuda:N"),
        (["--device", "cuda:77"], "sees .* CUDA devices"),
        (["--trunk", "nowhere.pth", "--init", "nowhere"], "leave one out"),
        (["--trunk", "nowhere.pth"], r"'nowhere\.pth' does not exist"),
    ],
)
def test_when_the_words_make_no_sense_expect_one_sentence(
    dataset_folder: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    with pytest.raises(HptError, match=message):
        call(
            finetune,
            dataset_folder,
            "--out",
            tmp_path / "run",
            "--cache",
            tmp_path / "cache",
            *words,
        )
    assert not (tmp_path / "run").exists()


def write_bag(path: Path, index: int) -> None:
    """Three seconds of the tiny robot: pictures and commands at 10 Hz, joint states at 50 Hz."""
    store = get_typestore(Stores.ROS2_KILTED)
    kinds = {
        "/front": "sensor_msgs/msg/Image",
        "/wrist": "sensor_msgs/msg/Image",
        "/joint_states": "sensor_msgs/msg/JointState",
        "/commands": "trajectory_msgs/msg/JointTrajectory",
    }

    def make(kind: str, /, **fields: Any) -> Any:
        return store.types[kind](**fields)

    def header(ns: int) -> Any:
        stamp = make("builtin_interfaces/msg/Time", sec=ns // 10**9, nanosec=ns % 10**9)
        return make("std_msgs/msg/Header", stamp=stamp, frame_id="")

    frames, state, action = episode_arrays(index, 31)
    names, empty = ["j1", "j2", "j3"], np.zeros(0)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in kinds.items()}
        for step in range(151):
            ns, tick = 10**18 + step * 20_000_000, min(step // 5, 30)
            joints = state[tick].astype(np.float64)
            messages: dict[str, Any] = {
                "/joint_states": make(
                    kinds["/joint_states"],
                    header=header(ns),
                    name=names,
                    position=joints,
                    velocity=empty,
                    effort=empty,
                )
            }
            if step % 5 == 0:
                for view, topic in enumerate(("/front", "/wrist")):
                    messages[topic] = make(
                        kinds[topic], header=header(ns), height=32, width=48, encoding="rgb8", is_bigendian=0,
                        step=48 * 3, data=frames[tick, view].reshape(-1),
                    )  # fmt: skip
                point = make(
                    "trajectory_msgs/msg/JointTrajectoryPoint", positions=action[tick].astype(np.float64),
                    velocities=empty, accelerations=empty, effort=empty,
                    time_from_start=make("builtin_interfaces/msg/Duration", sec=0, nanosec=0),
                )  # fmt: skip
                messages["/commands"] = make(
                    kinds["/commands"], header=header(ns), joint_names=names, points=[point]
                )
            for topic, message in messages.items():
                writer.write(topics[topic], ns, store.serialize_cdr(message, kinds[topic]))


def test_bags_are_converted_into_the_runs_folder_and_trained_on(tmp_path: Path, recipe_file: Path) -> None:
    bags = [tmp_path / "bags" / name for name in ("a", "b")]
    bags[0].parent.mkdir()
    for index, bag in enumerate(bags):
        write_bag(bag, index)
    robot = tmp_path / "tiny.yaml"
    robot.write_text(EMBODIMENT)
    out = tmp_path / "run"
    words = (*bags, "--embodiment", robot, "--out", out)
    assert call(finetune, *words, "--recipe", recipe_file, "--iterations", 4) == 0
    dataset = open_dataset(out / "dataset")
    assert len(dataset.episodes) == 2
    goal = dataset.action[dataset.episodes[1].stop - 1]
    assert goal == pytest.approx(episode_arrays(1, 31)[2][-1], abs=0.02)
    assert load_checkpoint(out / "best").config.embodiment == "tiny"


def test_on_ctrl_c_expect_status_130_and_a_sentence(
    dataset_folder: Path,
    tmp_path: Path,
    recipe_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def bar(self: object, label: str, done: int, total: int, note: str = "") -> None:
        if label == "training":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Terminal, "bar", bar)
    out = tmp_path / "run"
    words = (dataset_folder, "--out", out, "--cache", tmp_path / "cache")
    assert call(finetune, *words, "--recipe", recipe_file) == 130
    assert f"interrupted after step 2 and saved in {out}; go on with --resume" in capsys.readouterr().err
    monkeypatch.undo()
    assert call(evaluate, out / "last", dataset_folder) == 0
    goal = read_config(out / "last")[1]["iterations"]
    assert f"of a run that is not finished: step 2 of {goal}\n" in capsys.readouterr().err
    assert call(finetune, *words, "--resume") == 0
    assert call(evaluate, out / "last", dataset_folder) == 0
    assert call(evaluate, out / "best", dataset_folder) == 0
    assert "not finished" not in capsys.readouterr().err


@pytest.mark.parametrize("outlives", [False, True])
def test_when_its_terminal_goes_expect_the_run_saved_or_if_hangups_are_ignored_finished(
    dataset_folder: Path, tmp_path: Path, recipe_file: Path, outlives: bool
) -> None:
    """As an ssh session that breaks; with `trap '' HUP`, as nohup sets it, a run goes on with nobody to write to."""
    out, steps = tmp_path / "run", 60 if outlives else 100_000
    words = [
        sys.executable,
        "-m",
        "hpt_ros",
        "finetune",
        dataset_folder,
        "--out",
        out,
        "--cache",
        tmp_path / "cache",
    ]
    words += [
        "--recipe",
        recipe_file,
        "--iterations",
        steps,
        "--set",
        "validation_every=50000",
        "--set",
        "log_every=1",
    ]
    trap = "trap '' HUP; " if outlives else ""
    terminal, ours = os.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "sh", "-c", f'{trap}exec "$@"', "sh", *map(str, words)],
        stdin=ours, stdout=ours, stderr=ours,
    )  # fmt: skip
    os.close(ours)
    printed = b""
    while b"loss" not in printed and process.poll() is None:
        if select.select([terminal], [], [], 0.1)[0]:
            printed += os.read(terminal, 65536)
    os.close(terminal)
    status = process.wait(120)
    state = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    assert (out / "train_state.pt").is_file(), (status, printed.decode())
    assert (state["step"] == steps) == outlives


@pytest.mark.parametrize("resume", [False, True])
def test_when_a_run_is_still_there_expect_no_second_one_in_its_folder(
    dataset_folder: Path, tmp_path: Path, recipe_file: Path, resume: bool
) -> None:
    """As of an ssh session that broke, or of a job that the cluster started again."""
    out = tmp_path / "run"
    words = (dataset_folder, "--out", out, "--cache", tmp_path / "cache")
    if resume:
        assert call(finetune, *words, "--recipe", recipe_file, "--iterations", 1) == 0
    out.mkdir(exist_ok=True)
    code = "import sys; from pathlib import Path; from hpt_ros.learning import run_folder\n"
    code += "held = run_folder.make(Path(sys.argv[1])); print(flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    other.stdout.readline()
    arguments = ("--resume",) if resume else ("--recipe", recipe_file, "--iterations", 1)
    with refused(HptError, Code.CONFLICT, subject=repr(str(out)), value=str(other.pid)):
        call(finetune, *words, *arguments)
    other.kill()  # which leaves no lock behind
    other.wait()
    assert call(finetune, *words, *arguments) == 0


def test_when_weights_and_biases_ends_within_a_run_expect_that_reported_and_the_run_finished(
    dataset_folder: Path, tmp_path: Path, recipe_file: Path
) -> None:
    """Its service is a process of its own, which may be killed: by a machine that is short of memory, for one."""
    pytest.importorskip("wandb")
    out, cache = tmp_path / "run", tmp_path / "cache"
    words = [sys.executable, "-m", "hpt_ros", "finetune", dataset_folder, "--out", out, "--cache", cache]
    words += ["--recipe", recipe_file, "--iterations", 600, "--set", "log_every=1", "--wandb", "project"]
    process = subprocess.Popen(
        [str(word) for word in words], env={**os.environ, "WANDB_MODE": "offline"},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and not (out / "metrics.jsonl").is_file():
        time.sleep(0.05)
    children = [
        int(number)
        for each in Path(f"/proc/{process.pid}/task").glob("*/children")
        for number in each.read_text().split()
    ]
    (service,) = (child for child in children if b"wandb-core" in Path(f"/proc/{child}/cmdline").read_bytes())
    os.kill(service, signal.SIGKILL)
    _, printed = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    assert printed.count("Weights & Biases takes no more numbers") == 1
    assert json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 600


def test_when_bags_come_without_a_robot_or_over_old_data_expect_one_sentence(tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    write_bag(bag, 0)
    with pytest.raises(HptError, match="carries no embodiment.*--embodiment"):
        call(finetune, bag, "--out", tmp_path / "run")
    (tmp_path / "run/dataset").mkdir(parents=True)
    with refused(HptError, Code.EXISTS, remedy="train from it with 'hpt finetune"):
        call(finetune, bag, "--out", tmp_path / "run")


def test_when_the_checkpoint_is_of_another_robot_expect_both_values(
    own_folder: Path, tmp_path: Path, recipe_file: Path
) -> None:
    out = tmp_path / "run"
    assert call(finetune, own_folder, "--out", out, "--recipe", recipe_file, "--iterations", 2) == 0
    (own_folder / "meta/hpt/embodiment.yaml").write_text(EMBODIMENT.replace("/commands", "/orders"))
    with refused(
        HptError, Code.MISMATCH, problem="action.topic is /commands in the first and /orders in the second"
    ):
        call(evaluate, out / "last", own_folder)
