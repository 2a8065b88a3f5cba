# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt study`: a grid of small runs, judged on the same episodes, that goes on where it ended."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_mixture import add_column, mapping_of_recipe, write_mixture, write_robot, write_robots

from hpt_ros.cli.main import main
from hpt_ros.learning import train
from hpt_ros.learning.initial_weights import InitialWeights
from hpt_ros.learning.reporter import Silent
from hpt_ros.studies.cell import train_cell
from hpt_ros.studies.config import cells_of, load_study, recipe_of, start_of
from hpt_ros.studies.figures import draw_losses
from hpt_ros.studies.pool import Pool
from hpt_ros.studies.results import losses_table, power_law


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("study")
    write_robots(made)
    (made / "recipe.yaml").write_text(
        yaml.safe_dump(mapping_of_recipe(iterations=4, batch_size=6, validation_every=2))
    )
    return made


def study(folder: Path, name: str = "study.yaml", **changes: Any) -> Path:
    values = {"mixture": "mixture.yaml", "recipe": str(folder / "recipe.yaml"), "x": "episodes", "episodes": [1, 2],
              "seeds": [0, 1]}  # fmt: skip
    (folder / name).write_text(yaml.safe_dump({**values, **changes}, sort_keys=False))
    return folder / name


def test_every_cell_is_judged_on_the_same_episodes_and_fewer_are_a_part_of_more(folder: Path) -> None:
    config = load_study(study(folder, episodes=[1, 2, 0]))
    cells = cells_of(config)
    assert len(cells) == len({cell.name for cell in cells}) == 6
    chosen: dict[tuple[int, int], list[set[int]]] = {}
    held_out = set()
    pool = Pool(config)
    for cell in cells:
        members = pool.of(cell).members
        held_out.add(tuple(tuple(episode.index for episode in member.split.validation) for member in members))
        chosen[cell.seed, cell.episodes] = [
            {episode.index for episode in member.split.train} for member in members
        ]
        assert sum(member.fraction for member in members) == pytest.approx(1.0)
    assert len(held_out) == 1
    for seed in (0, 1):
        for few, more, every in zip(chosen[seed, 1], chosen[seed, 2], chosen[seed, 0], strict=True):
            assert (len(few), len(more)) == (1, 2)
            assert few < more <= every


def test_weights_of_the_mixture_count_in_every_cell(tmp_path: Path) -> None:
    entries = []
    for name, episodes, weight in (("slider", 4, 1.0), ("arm", 9, 3.0)):
        root = write_robot(tmp_path / name, name, episodes)
        # Every second tick of the second half of an episode is a person's.
        add_column(
            root, "intervention", [tick > 3 and tick % 2 == 0 for _ in range(episodes) for tick in range(8)]
        )
        entries.append({"path": name, "weight": weight})
    write_mixture(tmp_path, entries, intervention_weight=5.0)
    config = load_study(study(tmp_path, recipe="hpt_small", episodes=[2]))
    pool = Pool(config)
    for cell in cells_of(config):
        members = pool.of(cell).members
        assert [member.fraction for member in members] == [0.25, 0.75]
        for member in members:
            assert member.weights is not None
            assert member.weights.tolist() == 2 * [1.0, 1.0, 1.0, 1.0, 5.0, 1.0, 5.0, 1.0]


def test_a_study_is_run_drawn_and_goes_on_with_what_is_new(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    assert main(["study", str(study(folder)), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "4 cells, 0 of them trained" in printed.out
    assert "CPU time so far 0 s, to go known once there is a pace" in printed.out
    assert re.search(r"cell 4 of 4: \S+-seed1; CPU time to go about \d", printed.err)
    results = json.loads((out / "results.json").read_text())
    assert [(entry["seed"], entry["episodes"]) for entry in results] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert all(entry["training_episodes"] == 3 * entry["episodes"] for entry in results)
    for name in ("figure", "tokens"):
        assert (out / f"{name}.png").stat().st_size > 5000
        assert "<svg" in (out / f"{name}.svg").read_text()
    assert [len(entry["curve"]) for entry in results] == [2, 2, 2, 2]
    assert {entry["tokens_per_sample"] for entry in results} == {2.0}  # of one stem
    assert "loss = " not in (out / "results.md").read_text()  # two points lie on any power law
    cell = next(out.glob("episodes2*seed1"))
    assert (cell / "report.html").is_file()
    assert (cell / "last" / "model.safetensors").is_file()
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/result.json")}
    assert main(["study", str(study(folder, episodes=[1, 2, 3])), "--out", str(out)]) == 0
    assert "6 cells, 4 of them trained" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_an_interrupted_cell_goes_on_to_what_it_would_have_been(folder: Path, tmp_path: Path) -> None:
    config = load_study(study(folder))
    pool, cell = Pool(config), cells_of(config)[0]
    whole = train_cell(config, cell, tmp_path / "whole", pool, Silent(), "cpu")
    train(
        pool.of(cell), recipe_of(config, cell), tmp_path / "part" / cell.name, stop_after=2, device="cpu",
    )  # fmt: skip
    part = train_cell(config, cell, tmp_path / "part", pool, Silent(), "cpu")
    assert part["validation_loss"] == whole["validation_loss"]


def test_another_study_does_not_go_on_there(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    assert main(["study", str(study(folder, episodes=[1], seeds=[0])), "--out", str(out)]) == 0
    assert main(["study", str(study(folder, set=["lr=0.1"])), "--out", str(out)]) == 2
    assert "set of the study" in capsys.readouterr().err


def test_names_may_get_more_but_stand_for_the_same(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    one: dict[str, Any] = {"episodes": [1], "seeds": [0], "x": "start"}
    assert main(["study", str(study(folder, **one, start={"scratch": ["lr=1e-3"]})), "--out", str(out)]) == 0
    more = {"scratch": ["lr=1e-3"], "no_trunk": None}
    assert main(["study", str(study(folder, **one, start=more)), "--out", str(out)]) == 0
    assert "2 cells, 1 of them trained" in capsys.readouterr().out
    assert main(["study", str(study(folder, **one, start={"scratch": ["lr=1e-4"]})), "--out", str(out)]) == 2
    assert "start scratch of the study" in capsys.readouterr().err


@pytest.fixture(scope="module")
def trunks(folder: Path) -> dict[str, str]:
    """Checkpoints of two runs, whose trunks are compared."""
    config = load_study(
        study(folder, "pretraining.yaml", x="datasets", episodes=[0], datasets=[1, 3], seeds=[0])
    )
    pool = Pool(config)
    for cell in cells_of(config):
        train_cell(config, cell, folder / "pretrained", pool, Silent(), "cpu")
    return {
        name: str((folder / "pretrained" / cell.name / "last").relative_to(folder))
        for name, cell in zip(("one", "three"), cells_of(config), strict=True)
    }


def test_starts_are_the_papers_and_each_has_changes_of_its_own(folder: Path, trunks: dict[str, str]) -> None:
    starts = {
        "no_trunk": None, "scratch": ["lr=2e-3"], "scratch.slow": ["lr=1e-5"], "frozen": [], "finetuned": ["lr=3e-4"],
        "two_step": [], "two_step.long": ["first_step.iterations=2"],
    }  # fmt: skip
    config = load_study(
        study(folder, x="start", start=starts, trunk=trunks, seeds=[0], episodes=[1], set=["iterations=10"])
    )
    cells = cells_of(config)
    # A start without a trunk is one cell, and one with a trunk as many as there are trunks.
    assert [(cell.start, cell.trunk) for cell in cells] == [
        ("no_trunk", ""), ("scratch", ""), ("scratch.slow", ""), ("frozen", "one"), ("frozen", "three"),
        ("finetuned", "one"), ("finetuned", "three"), ("two_step", "one"), ("two_step", "three"),
        ("two_step.long", "one"), ("two_step.long", "three"),
    ]  # fmt: skip
    recipes = {cell.start: recipe_of(config, cell) for cell in cells}
    assert recipes["no_trunk"].policy.trunk.depth == 0
    assert {name: recipe.lr for name, recipe in recipes.items() if recipe.lr != 1e-3} == {
        "scratch": 2e-3, "scratch.slow": 1e-5, "finetuned": 3e-4,
    }  # fmt: skip
    assert {name for name, recipe in recipes.items() if recipe.freeze_trunk} == {"frozen"}
    assert {name: recipe.first_iterations for name, recipe in recipes.items() if recipe.first_iterations} == {
        "two_step": 2, "two_step.long": 2,
    }  # fmt: skip
    by_name = {cell.name: start_of(config, cell).trunk for cell in cells}
    assert by_name["episodes1-datasets0-batch0-recipe-frozen-three-seed0"] == str(folder / trunks["three"])
    assert by_name["episodes1-datasets0-batch0-recipe-scratch-seed0"] is None


def test_a_study_of_one_dataset_compares_starts_and_trunks(
    folder: Path, trunks: dict[str, str], tmp_path: Path
) -> None:
    write_robot(tmp_path / "held_out", "gantry", 5)
    write_mixture(tmp_path, [{"path": "held_out"}])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(mapping_of_recipe(iterations=4, batch_size=6)))
    absolute = {name: str(folder / trunk) for name, trunk in trunks.items()}
    starts = ["no_trunk", "scratch", "frozen", "finetuned", "two_step"]
    changes: dict[str, Any] = {
        "recipe": "recipe.yaml",
        "episodes": [2],
        "seeds": [0],
        "x": "start",
        "set": ["first_step.iterations=2"],
    }
    config = study(tmp_path, start=starts, trunk=absolute, **changes)
    assert main(["study", str(config), "--out", str(tmp_path / "runs")]) == 0
    results = json.loads((tmp_path / "runs" / "results.json").read_text())
    assert [(entry["start"], entry["trunk"]) for entry in results] == [
        ("no_trunk", ""), ("scratch", ""), ("frozen", "one"), ("frozen", "three"), ("finetuned", "one"),
        ("finetuned", "three"), ("two_step", "one"), ("two_step", "three"),
    ]  # fmt: skip
    losses = [entry["validation_loss"] for entry in results]
    assert len(set(losses)) == len(losses)
    assert results[0]["parameters"] < results[1]["parameters"]


def test_a_study_starts_from_the_policy_of_its_robot_or_says_that_there_is_none(
    folder: Path, trunks: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(mapping_of_recipe(iterations=4, batch_size=6)))
    write_robot(tmp_path / "held_out", "gantry", 5)
    write_mixture(tmp_path, [{"path": "held_out"}])
    changes: dict[str, Any] = {"recipe": "recipe.yaml", "episodes": [2], "seeds": [0], "x": "start"}
    there, not_there = (str(folder / trunks[name]) for name in ("three", "one"))
    config = study(tmp_path, start=["scratch", "policy"], trunk=there, **changes)
    assert main(["study", str(config), "--out", str(tmp_path / "runs")]) == 0
    assert [line["start"] for line in json.loads((tmp_path / "runs/results.json").read_text())] == [
        "scratch", "policy",
    ]  # fmt: skip
    state = (tmp_path / "runs/episodes2-datasets0-batch0-recipe-policy-seed0/last/README.md").read_text()
    assert there in state
    capsys.readouterr()
    config = study(tmp_path, start=["policy"], trunk=not_there, **changes)
    assert main(["study", str(config), "--out", str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert "gantry" in error
    assert len(error.strip().splitlines()) == 1


def test_variants_and_an_image_encoder_of_the_trunks_checkpoint_are_named(folder: Path) -> None:
    starts = {
        "finetuned": None,
        "finetuned.encoder": ["image_encoder=trunk"],
        "policy": None,
        "finetuned.shared": ["shared=trunk", "lr=1e-3"],
        "no_trunk.shared": ["shared=trunk"],
        "scratch.encoder": ["image_encoder=/e"],
    }
    variants = {"full": None, "ablated": ["policy.trunk.depth=1"]}
    config = load_study(
        study(folder, start=starts, variant=variants, trunk="somewhere", seeds=[0], episodes=[1])
    )
    found = {(cell.start, cell.variant): start_of(config, cell) for cell in cells_of(config)}
    where = str(folder / "somewhere")
    assert found["finetuned", "full"] == InitialWeights(trunk=where)
    assert found["finetuned.encoder", "full"] == InitialWeights(trunk=where, image_encoder=where)
    assert found["finetuned.shared", "full"] == InitialWeights(trunk=where, shared=where)
    assert found["no_trunk.shared", "full"] == InitialWeights(shared=where)
    assert found["scratch.encoder", "ablated"] == InitialWeights(image_encoder="/e")
    assert found["policy", "full"] == InitialWeights(init=where, init_statistics=True)
    depths = {
        (cell.start, cell.variant): recipe_of(config, cell).policy.trunk.depth for cell in cells_of(config)
    }
    assert (depths["finetuned", "full"], depths["finetuned", "ablated"]) == (2, 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"episodes": [50]}, "episodes of the study is 50, expected at most"),
        ({"datasets": [9]}, "datasets of the study is 9, expected at most 3"),
        ({"start": ["frozn"]}, "did you mean 'frozen'"),
        ({"start": ["frozen"]}, "lacks a trunk"),
        ({"start": ["scratch", "scratch"]}, "start of the study has a value twice"),
        ({"start": ["frozen"], "trunk": "nowhere.pth"}, "nowhere.pth"),
        ({"start": {"scratch": ["image_encoder=nowhere"]}}, "image encoder"),
        ({"start": {"finetuned": ["shared=stem"]}, "trunk": "t"}, "shared of a start is 'stem'"),
        ({"start": {"scratch": ["shared=trunk"]}}, "lacks a trunk"),
        ({"start": {"policy": ["shared=trunk"]}, "trunk": "t"}, "takes all of a checkpoint"),
        ({"seeds": [1, 1]}, "seeds of the study has a value twice"),
        ({"baseline": "scrath"}, "did you mean 'scratch'"),
        ({"variant": {"a/b": []}}, "a variant of the study is 'a/b'"),
        (
            {"set": ["iterations=3", "warmup_iterations=5"]},
            "(set: ['iterations=3', 'warmup_iterations=5']): the recipe has warmup_iterations 5, expected fewer than",
        ),
        ({"seeds": []}, "seeds of the study"),
        ({"size": {}}, "size of the study"),
        ({"size": {"../elsewhere": []}}, "a size of the study is '../elsewhere'"),
        ({"x": "lr"}, "key 'x'"),
        ({"set": ["lr"]}, "key=value"),
        ({"mixture": "nowhere.yaml"}, "nowhere.yaml"),
    ],
)
def test_mistakes_are_one_sentence_before_the_first_run(
    changes: dict[str, Any], said: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", str(study(folder, "wrong.yaml", **changes)), "--out", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def result(**changes: Any) -> dict[str, Any]:
    cell = {"episodes": 1, "datasets": 0, "batch_size": 8, "size": "small", "variant": "", "start": "scratch",
            "trunk": "", "seed": 0, "parameters": 1000}  # fmt: skip
    return {**cell, **changes}


def test_three_points_are_fitted(tmp_path: Path) -> None:
    results = [result(episodes=n, validation_loss=2.0 * n**-0.5) for n in (1, 2, 4)]
    assert "loss = 2 x episodes^-0.500" in losses_table(results, "episodes")
    draw_losses(tmp_path, results, "episodes")
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_sizes_lie_on_the_axis_where_their_parameters_do(tmp_path: Path) -> None:
    results = [
        result(size=name, parameters=n, validation_loss=3.0 * n**-0.25)
        for name, n in (("small", 1000), ("medium", 8000), ("large", 90000))
    ]
    assert "loss = 3 x parameters^-0.250" in losses_table(results, "size")
    draw_losses(tmp_path, results, "size")
    text = (tmp_path / "figure.svg").read_text()
    assert all(name in text for name in ("small", "medium", "large"))


def test_all_episodes_stand_behind_the_numbers_of_some() -> None:
    results = [result(episodes=n, validation_loss=0.5) for n in (0, 10, 5)]
    rows = losses_table(results, "episodes").splitlines()[2:]
    assert [row.split("|")[2].strip() for row in rows] == ["5", "10", "0"]


def test_the_study_of_the_docs_can_be_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    section = page.split("## Studies")[1]
    blocks = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert blocks
    for number, text in enumerate(blocks):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        config = load_study(file)
        for cell in cells_of(config):
            recipe_of(config, cell)


@given(st.floats(0.1, 10.0), st.floats(-1.0, 1.0))
def test_a_power_law_is_found_again(a: float, b: float) -> None:
    x = np.array([1.0, 2.0, 5.0, 20.0])
    assert power_law(x, a * x**b) == pytest.approx((a, b), rel=1e-6, abs=1e-9)
