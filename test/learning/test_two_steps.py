# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Finetuning in two steps, learning rates by block, and the end of a run that gets no better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.refused import refused
from support.tiny_mixture import mapping_of_recipe, start_processes, write_robot

from hpt_ros.cli.main import main
from hpt_ros.dataset import Dataset, open_dataset
from hpt_ros.errors import Code, HptError
from hpt_ros.learning import InitialWeights, Recipe, load_recipe, read_recipe, train
from hpt_ros.learning.distributed import processes
from hpt_ros.learning.optimiser import build_optimiser, freeze, learning_rate
from hpt_ros.model import MultiPolicy, Policy, load_checkpoint
from hpt_ros.structured import dump_yaml

FIRST = {"iterations": 3, "lr": 4e-3, "warmup_iterations": 1}


def recipe_of(**changes: Any) -> Recipe:
    return read_recipe(mapping_of_recipe(**changes), where="test")


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(write_robot(tmp_path_factory.mktemp("data") / "arm", "arm"))


@pytest.fixture(scope="module")
def trunk(robot: Dataset, tmp_path_factory: pytest.TempPathFactory) -> InitialWeights:
    """A trunk to start from."""
    run = tmp_path_factory.mktemp("trunk") / "run"
    train(robot, recipe_of(iterations=2, seed=8), run)
    return InitialWeights(trunk=str(run / "last"))


def state_of(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / "train_state.pt", weights_only=True)
    return state


def assert_equal(a: Any, b: Any) -> None:
    """Whether two states are equal, bit for bit."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key, value in a.items():
            assert_equal(value, b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    else:
        assert a == b


def trunk_of(folder: str | Path) -> dict[str, torch.Tensor]:
    state = load_checkpoint(folder).policy.state_dict()
    return {name: value for name, value in state.items() if name.startswith("trunk.")}


def test_in_the_first_step_the_trunk_stays_and_what_is_new_learns(
    robot: Dataset, trunk: InitialWeights, tmp_path: Path
) -> None:
    recipe = recipe_of(first_step=FIRST, ema_decay=0.0)
    out = tmp_path / "run"
    before = trunk_of(str(trunk.trunk))
    train(robot, recipe, out, start=trunk, stop_after=3)
    assert_equal(before, trunk_of(out / "last"))
    head = load_checkpoint(out / "last").policy.state_dict()["heads.arm.net.0.weight"]
    trained = len(state_of(out)["optimiser"]["state"])
    train(robot, recipe, out, resume=True, stop_after=4)
    after = trunk_of(out / "last")
    assert all(not torch.equal(value, after[name]) for name, value in before.items() if "weight" in name)
    assert not torch.equal(head, load_checkpoint(out / "last").policy.state_dict()["heads.arm.net.0.weight"])
    # AdamW's moments of the stems and head went on; those of the trunk began with the second step.
    steps = [float(entry["step"]) for entry in state_of(out)["optimiser"]["state"].values()]
    assert (steps.count(4.0), set(steps)) == (trained, {1.0, 4.0})


@pytest.mark.parametrize("stopped_at", [2, 3, 4])  # before, at and after the boundary
def test_when_resumed_around_the_boundary_expect_the_straight_run_bit_for_bit(
    robot: Dataset, trunk: InitialWeights, tmp_path: Path, stopped_at: int
) -> None:
    policy = mapping_of_recipe()["policy"]
    policy["trunk"] |= {"drop_path": 0.2}  # so that the mode of the blocks counts, too
    recipe = recipe_of(policy=policy, first_step=FIRST, lr_decay_blocks=0.5, freeze_blocks=1)
    train(robot, recipe, tmp_path / "straight", start=trunk)
    train(robot, recipe, tmp_path / "parts", start=trunk, stop_after=stopped_at)
    train(robot, recipe, tmp_path / "parts", resume=True)
    straight, parts = state_of(tmp_path / "straight"), state_of(tmp_path / "parts")
    for key in ("policy", "average", "optimiser"):
        assert_equal(straight[key], parts[key])


@pytest.mark.parametrize("shard", [False, True])
def test_two_processes_take_both_steps_as_one_does(
    robot: Dataset, trunk: InitialWeights, tmp_path: Path, shard: bool
) -> None:
    recipe = recipe_of(first_step={"iterations": 3, "lr": 1e-4}, lr=1e-4, shard=shard)

    def work(rank: int) -> None:
        with processes("cpu") as joined:
            train(robot, recipe, tmp_path / "two", start=trunk, processes=joined)

    started = start_processes(2, work)
    train(robot, recipe, tmp_path / "one", start=trunk)
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0, 0]
    one, two = (load_checkpoint(tmp_path / run / "last").policy.state_dict() for run in ("one", "two"))
    assert max(float((value - two[name]).abs().max()) for name, value in one.items()) < 1e-6
    before = trunk_of(str(trunk.trunk))
    assert any(float((value - two[name]).abs().max()) > 1e-6 for name, value in before.items())


def test_weights_that_are_spread_resume_around_the_boundary_bit_for_bit(
    robot: Dataset, trunk: InitialWeights, tmp_path: Path
) -> None:
    recipe = recipe_of(first_step=FIRST, shard=True, micro_batch=2)
    runs = {"straight": (None,), "parts": (2, 3, None)}  # stopped before and at the boundary

    def work(rank: int) -> None:
        with processes("cpu") as joined:
            for name, stops in runs.items():
                for turn, stop in enumerate(stops):
                    train(
                        robot, recipe, tmp_path / name, start=trunk, processes=joined, resume=turn > 0,
                        stop_after=stop,
                    )  # fmt: skip

    started = start_processes(2, work)
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0, 0]
    straight, parts = (load_checkpoint(tmp_path / name / "last").policy.state_dict() for name in runs)
    assert_equal(straight, parts)


def test_each_step_has_its_own_learning_rates() -> None:
    recipe = recipe_of(
        iterations=100,
        lr=1.0,
        warmup_iterations=10,
        first_step={"ratio": 0.2, "lr": 5.0, "warmup_iterations": 4},
    )
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert rates[:5] == pytest.approx([1.25, 2.5, 3.75, 5.0, 5.0])
    assert rates[19] == 5.0
    assert rates[20] == pytest.approx(0.1)
    assert rates[30] == 1.0 == max(rates[20:])
    assert rates[65] == pytest.approx(0.5)
    assert rates[99] < 0.01


def test_blocks_learn_the_slower_the_nearer_they_are_to_the_input(robot: Dataset) -> None:
    policy = mapping_of_recipe()["policy"]
    policy["trunk"] |= {"depth": 3}
    recipe = recipe_of(policy=policy, lr_decay_blocks=0.5, lr_scale_trunk=0.1, freeze_blocks=1)
    multi = MultiPolicy.of(Policy(recipe.policy.for_embodiment(robot.embodiment)))
    freeze(multi, recipe, 0)
    names = {id(parameter): name for name, parameter in multi.named_parameters()}
    scales = {
        names[id(parameter)]: group["lr_scale"]
        for group in build_optimiser(multi, recipe).param_groups
        for parameter in group["params"]
    }
    blocks = {name.split("blocks.")[1][0]: scale for name, scale in scales.items() if "blocks." in name}
    assert blocks == pytest.approx({"1": 0.05, "2": 0.1})
    assert {scale for name, scale in scales.items() if "blocks." not in name} == {1.0}
    assert len(scales) == sum(parameter.requires_grad for parameter in multi.parameters())


def test_a_run_that_gets_no_better_ends_early_and_keeps_its_best(
    robot: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A large rate makes the policy worse after its first validation.
    recipe = recipe_of(
        iterations=40, validation_every=2, early_stopping=2, lr=0.3, ema_decay=0.0, gradient_clip=0.0
    )
    result = train(robot, recipe, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").open()]
    errors = [line["validation_error"] for line in lines if "validation_error" in line]
    best = int(np.argmin(errors))
    assert (result.stopped_early, result.interrupted) == (True, False)
    assert len(errors) == best + 3
    assert result.steps == 2 * len(errors) < 40
    assert result.best_error == min(errors)
    again = train(robot, recipe, tmp_path / "run", resume=True)  # has ended, and stays so
    assert (again.steps, again.stopped_early) == (result.steps, True)
    file = tmp_path / "recipe.yaml"
    file.write_text(
        dump_yaml(mapping_of_recipe(iterations=40, validation_every=2, lr=0.3, gradient_clip=0.0))
    )
    words = ["finetune", str(robot.root), "--out", str(tmp_path / "told"), "--recipe", str(file)]
    assert main([*words, "--set", "early_stopping=2", "--set", "ema_decay=0"]) == 0
    assert f"trained {result.steps} steps, then stopped early" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "subject", "value"),
    [
        ({"first_step": {"iterations": 8}}, "the recipe", 0),
        ({"first_step": {"iterations": 4}, "warmup_iterations": 4}, "the recipe", 4),
        ({"first_step": {"iterations": 2, "warmup_iterations": 2}}, "first_step", 2),
        ({"first_step": {"iterations": 2}, "freeze_trunk": True}, "the recipe", 2),
        ({"first_step": {"iterations": 2}, "freeze_blocks": 2}, "the recipe", 2),
        ({"early_stopping": 3, "validation_ratio": 0.0}, "the recipe", 3),
    ],
)
def test_when_steps_contradict_each_other_expect_one_sentence(
    changes: dict[str, Any], subject: str, value: int
) -> None:
    with pytest.raises(HptError) as caught:
        recipe_of(**changes)
    assert (caught.value.subject, caught.value.value) == (subject, value)
    assert caught.value.remedy


def test_when_ratio_and_iterations_are_given_expect_one_of_them(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(dump_yaml(mapping_of_recipe()))
    assert load_recipe(file, ["first_step.ratio=0.25"]).first_iterations == 2
    with refused(HptError, Code.CONFLICT, subject="first_step"):
        load_recipe(file, ["first_step={ratio: 0.5, iterations: 3}"])


def test_when_the_first_step_has_no_trunk_to_learn_round_expect_what_names_one(
    robot: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(
        HptError, match=r"\(first_step.iterations: 3\).*--trunk FILE, or set first_step.iterations"
    ):
        train(robot, recipe_of(first_step=FIRST), tmp_path / "run")
