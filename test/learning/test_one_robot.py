# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt finetune` on several datasets of one robot, its dry run, and what is refused before the first step."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.refused import refused
from support.tiny_mixture import (
    mapping_of_recipe,
    robot,
    start_processes,
    write_mixture,
    write_robot,
    write_robots,
)

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset
from hpt_ros.errors import Code
from hpt_ros.learning import read_recipe, train
from hpt_ros.learning.initial_weights import InitialWeights
from hpt_ros.learning.mixture_config import MixtureError
from hpt_ros.learning.one_robot import datasets_with_weights, open_one_robot
from hpt_ros.model import load_checkpoint
from hpt_ros.structured import dump_yaml


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets of one arm, `few` and `many`, one of another robot, and a recipe."""
    root = tmp_path_factory.mktemp("sets")
    write_robot(root / "few", "arm", episodes=4)
    write_robot(root / "many", "arm", episodes=9, length=12)
    write_robot(root / "slider", "slider")
    (root / "recipe.yaml").write_text(dump_yaml(mapping_of_recipe()))
    return root


def finetune(*words: object) -> int:
    return main(["finetune", *map(str, words)])


def test_two_datasets_train_one_policy_by_their_weights_with_statistics_over_both(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = (sets / "few", sets / "many", "--weights", "1,3", "--out", out, "--recipe", sets / "recipe.yaml")
    assert finetune(*words) == 0
    told = capsys.readouterr().err
    assert "few, 25.0 % of the samples" in told
    assert "many, 75.0 % of the samples" in told
    checkpoint = load_checkpoint(out / "best")
    assert "# HPT policy for arm" in checkpoint.card
    assert "| `many` | arm |" in checkpoint.card
    mixture = open_one_robot(datasets_with_weights([str(sets / "few"), str(sets / "many")], "1,3"), 0.3, 0)
    ticks = [
        member.dataset.action[episode.start : episode.stop]
        for member in mixture.members
        for episode in member.split.train
    ]
    np.testing.assert_allclose(checkpoint.stats["action"]["max"], np.concatenate(ticks).max(0), rtol=1e-6)
    # The same by a mixture's file, bit for bit.
    entries = [{"path": str(sets / "few"), "weight": 1}, {"path": str(sets / "many"), "weight": 3}]
    file = write_mixture(tmp_path, entries)
    assert finetune(file, "--out", tmp_path / "again", "--recipe", sets / "recipe.yaml") == 0
    again = load_checkpoint(tmp_path / "again/best").policy.state_dict()
    assert all((value == again[name]).all() for name, value in checkpoint.policy.state_dict().items())
    assert finetune(*words[:2], "--weights", "3,1", "--out", out, "--resume") == 2  # other fractions
    told = capsys.readouterr().err
    assert "few.fraction of the run in" in told
    assert "is 0.75, expected 0.25 as when it was started" in told


def test_two_processes_finetune_on_two_datasets(sets: Path, tmp_path: Path) -> None:
    words = (
        sets / "few",
        sets / "many",
        "--recipe",
        sets / "recipe.yaml",
        "--set",
        "lr=1e-4",
        "--device",
        "cpu",
    )

    def work(rank: int) -> None:
        assert finetune(*words, "--out", tmp_path / "two") == 0

    started = start_processes(2, work)
    assert finetune(*words, "--out", tmp_path / "one") == 0
    for process in started:
        process.join(90)
    assert [process.exitcode for process in started] == [0, 0]
    one, two = (load_checkpoint(tmp_path / run / "last").policy.state_dict() for run in ("one", "two"))
    assert max(float((value - two[name]).abs().max()) for name, value in one.items()) < 1e-6


def test_a_dry_run_says_what_would_be_trained_and_writes_nothing(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trunk = tmp_path / "trunk"
    assert finetune(sets / "few", "--out", trunk, "--recipe", sets / "recipe.yaml") == 0
    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in (*sets.rglob("*"), *tmp_path.rglob("*"))}
    words = (
        sets / "few",
        sets / "many",
        "--recipe",
        sets / "recipe.yaml",
        "--trunk",
        trunk / "best",
        "--dry-run",
    )
    steps = ("--set", "first_step={iterations: 2, lr: 0.004}", "--set", "lr_scale_trunk=0.1")
    assert finetune(*words, *steps, "--set", "lr_decay_blocks=0.5", "--out", tmp_path / "run") == 0
    printed = capsys.readouterr()
    assert "few, " in printed.err
    assert "many, " in printed.err
    assert re.search(
        r"stem state: [\d,]+ parameters, lr 0.004, then 0.001, random \(from scratch\)", printed.err
    )
    assert "frozen for the first 2 of 8 steps, lr 5e-05 to 0.0001 by block, " in printed.err
    assert str(trunk / "best") in printed.err
    lines = printed.out.splitlines()
    policy = load_checkpoint(trunk / "best").policy
    count = sum(parameter.numel() for parameter in policy.parameters())
    assert lines[0] == f"{count:,} of {count:,} parameters learn"
    assert lines[1].startswith("memory: about ")
    assert " for 8 steps of " in lines[2]
    assert lines[3] == "nothing was written"
    after = {path: path.stat().st_mtime_ns for path in (*sets.rglob("*"), *tmp_path.rglob("*"))}
    assert after == before
    assert (
        finetune(*words[:4], *words[4:6], "--set", "freeze_trunk=true", "--dry-run", "--out", tmp_path / "r")
        == 0
    )
    learned = count - sum(parameter.numel() for parameter in policy.part("trunk"))
    assert f"{learned:,} of {count:,} parameters learn" in capsys.readouterr().out


def test_a_dry_run_counts_images_without_decoding_them(
    dataset_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(dataset_folder, tmp_path / "data")
    assert finetune(folder, "--out", tmp_path / "run", "--dry-run", "--iterations", "10") == 0
    ticks = open_dataset(folder).length
    assert f"decoding {2 * ticks:,} frames" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_without_a_recipe_init_builds_the_checkpoints_policy(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trunk of many robots, with encoders or not, is gone on with on one of them: no setting has to be repeated."""
    file = write_robots(tmp_path)
    recipe = tmp_path / "recipe.yaml"
    policy = mapping_of_recipe()["policy"]
    policy |= {
        "image_encoder": {"kind": "small_cnn", "trainable": True, "channels": [8, 8]},
        "optional": ["image"],
        "stems": [
            {"modality": "image", "widths": [16], "tokens": 2, "heads": 2, "head_width": 8},
            *policy["stems"],
        ],
    }
    recipe.write_text(dump_yaml(mapping_of_recipe(policy=policy, iterations=2, warmup_iterations=0)))
    assert main(["pretrain", str(file), "--out", str(tmp_path / "trunk"), "--recipe", str(recipe)]) == 0
    one = tmp_path / "trunk/last/embodiments/arm"
    words = (tmp_path / "arm", "--out", tmp_path / "run", "--init", one)
    assert finetune(*words, "--iterations", "1", "--set", "ema_decay=0", "--set", "lr=1e-9") == 0
    before, after = (
        load_checkpoint(one).policy.state_dict(),
        load_checkpoint(tmp_path / "run/last").policy.state_dict(),
    )
    assert all(
        np.allclose(value, after[name], atol=1e-6) for name, value in before.items() if "trunk" in name
    )
    capsys.readouterr()
    other = (tmp_path / "arm", "--out", tmp_path / "other", "--init", one, "--recipe", sets / "recipe.yaml")
    assert finetune(*other) == 2
    assert "leave --recipe out to take the checkpoint's policy" in capsys.readouterr().err
    assert finetune(sets / "slider", "--out", tmp_path / "x", "--init", one) == 2
    told = capsys.readouterr().err
    assert "slider" in told
    assert "arm" in told
    crane = write_robot(tmp_path / "crane", "crane", embodiment=robot("crane", 1, 3))
    assert finetune(crane, "--out", tmp_path / "x", "--init", tmp_path / "trunk/last") == 2
    assert "expected 'crane' too, which the data are of" in capsys.readouterr().err


def test_with_its_statistics_a_policy_goes_on_as_it_was_within_wider_limits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a checkpoint of many robots, the policy of the data's; its limits hold old data and new."""
    file, recipe = write_robots(tmp_path), tmp_path / "recipe.yaml"
    recipe.write_text(dump_yaml(mapping_of_recipe(iterations=2, warmup_iterations=0, ema_decay=0.0)))
    assert main(["pretrain", str(file), "--out", str(tmp_path / "trunk"), "--recipe", str(recipe)]) == 0
    new = write_robot(tmp_path / "new" / "arm", "arm", 3, length=5)  # another seed would be the same episodes
    before = load_checkpoint(tmp_path / "trunk/last/embodiments/arm")
    words = (new, "--init", tmp_path / "trunk/last", "--iterations", "1", "--set", "lr=1e-9")
    assert finetune(*words, "--out", tmp_path / "as_before", "--init-statistics") == 0
    assert finetune(*words, "--out", tmp_path / "anew") == 0
    went_on, anew = (load_checkpoint(tmp_path / run / "last") for run in ("as_before", "anew"))
    for name, ours in went_on.policy.normaliser.statistics.items():
        theirs, data = (each.policy.normaliser.statistics[name] for each in (before, anew))
        assert ours.min.tolist() == np.minimum(theirs.min, data.min).tolist()
        assert ours.max.tolist() == np.maximum(theirs.max, data.max).tolist()
        assert went_on.stats[name]["min"] == ours.min.tolist()  # what the checkpoint's folder says of it
        assert (data.min > theirs.min).any()  # it would be another policy
    state = before.policy.state_dict()
    assert all(
        np.allclose(value, state[name], atol=1e-6)
        for name, value in went_on.policy.state_dict().items()
        if "normalizer" not in name
    )
    capsys.readouterr()
    assert finetune(new, "--out", tmp_path / "x", "--init-statistics") == 2
    assert "--init-statistics names no checkpoint" in capsys.readouterr().err


def test_a_resumed_run_keeps_the_statistics_that_it_began_with(tmp_path: Path) -> None:
    write_robots(tmp_path)
    recipe = read_recipe(mapping_of_recipe(iterations=4), where="here")
    first, other = (
        open_dataset(write_robot(tmp_path / n / "arm", "arm", k)) for n, k in (("a", 9), ("b", 3))
    )
    train(first, recipe, tmp_path / "first")
    start = InitialWeights(init=str(tmp_path / "first/last"), init_statistics=True)
    train(other, recipe, tmp_path / "parts", start=start, stop_after=2)
    train(other, recipe, tmp_path / "parts", resume=True)
    train(other, recipe, tmp_path / "straight", start=start)
    parts, straight = (load_checkpoint(tmp_path / run / "last") for run in ("parts", "straight"))
    assert parts.weights.sha256 == straight.weights.sha256
    assert parts.stats == straight.stats


def other_limits(root: Path) -> Path:
    """A dataset of the same embodiment name whose file differs in a limit."""
    changed = robot("arm", 3, 2).to_yaml().replace("velocity: 2.0", "velocity: 2.5", 1)
    from hpt_ros.embodiment import Embodiment

    return write_robot(root / "limits", "arm", embodiment=Embodiment.loads(changed))


def other_actions(root: Path) -> Path:
    """A dataset of the same robot whose actions are those of a leader arm, as its conversion's report says."""
    folder = write_robot(root / "actions", "arm")
    report = folder / "meta/hpt/report.json"
    report.write_text(json.dumps({"action_source": "leader", "episodes": []}))
    return folder


def mixture_of_one(root: Path) -> Path:
    return write_mixture(root, [{"path": str(write_robot(root / "only", "arm"))}])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["few", "slider"], "slider' is of the embodiment 'slider', expected 'arm' as dataset"),
        (["few", other_limits], "velocity"),
        (["few", other_actions], "the actions of dataset"),
        (["few", "many", "--weights", "1"], "--weights has 1 numbers, in '1', expected one for each of the 2 datasets"),
        (["few", "many", "--weights", "1,x"], "--weights is '1,x', expected numbers separated by commas"),
        (["few", "many", "--weights=-1,2"], "--weights is -1, expected 0 or more"),
        (["few", "many", "--weights", "0,0"], "the sum of the weights of the mixture's datasets is 0"),
        (["few", "many", "--weights", "0,1"], "the mixture has one dataset"),
        ([mixture_of_one], "the mixture has one dataset"),
        (["few", "--weights", "1"], "--weights is '1', but there is one dataset"),
        (["few", "few"], "give it once"),
        (["few", "many", "--episodes", "e.json"], "--episodes is given, but there are several datasets"),
        (["few", "nowhere"], "nowhere'"),
        (["few", "--recipe", "feed_dog"], "has a stem for 'image', but embodiment 'arm' has streams for state only"),
        (["few", "--dry-run", "--resume"], "cannot be resumed: there is no train_state.pt"),
        (["few", "--set", "first_step.ratio=0.5", "--set", "freeze_trunk=true"], "the trunk is frozen in the second"),
        (["few", "--set", "early_stopping=2", "--set", "validation_ratio=0"], "so nothing says when to stop"),
    ],
)  # fmt: skip
def test_when_data_or_options_do_not_fit_expect_one_sentence_before_the_first_step(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[Any], sentence: str
) -> None:
    made = [
        str(word(tmp_path)) if callable(word) else str(sets / word) if (sets / word).is_dir() else word
        for word in words
    ]
    if "--recipe" not in made and "--resume" not in made:
        made += ["--recipe", str(sets / "recipe.yaml")]
    assert finetune(*made, "--out", tmp_path / "run") == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.splitlines()[-1].startswith("hpt finetune: error: ")
    assert "Traceback" not in told
    assert not (tmp_path / "run").exists()


def test_a_dataset_given_twice_is_refused() -> None:
    with refused(MixtureError, Code.DUPLICATE, subject="a dataset", value="sets/few"):
        datasets_with_weights(["sets/few", "sets/many", "sets/few"])
