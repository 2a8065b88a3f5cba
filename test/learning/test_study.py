# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt study`: a grid of small runs, judged on the same episodes, that goes on where it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_mixture import add_column, mapping_of_recipe, write_mixture, write_robot, write_robots

from hpt_ros.cli.main import main
from hpt_ros.cli.study import draw, write_table
from hpt_ros.learning.reporter import Silent
from hpt_ros.learning.study import Cell, cells_of, load_study, mixture_for, power_law, run_cell


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("study")
    write_robots(made)
    (made / "recipe.yaml").write_text(yaml.safe_dump(mapping_of_recipe(iterations=4, batch_size=6)))
    return made


def study(folder: Path, name: str = "study.yaml", **changes: Any) -> Path:
    values = {"mixture": "mixture.yaml", "recipe": str(folder / "recipe.yaml"), "x": "episodes", "episodes": [1, 2],
              "seeds": [0, 1]}  # fmt: skip
    (folder / name).write_text(yaml.safe_dump({**values, **changes}))
    return folder / name


def test_every_cell_is_judged_on_the_same_episodes_and_fewer_are_a_part_of_more(folder: Path) -> None:
    config = load_study(study(folder, episodes=[1, 2, 0]))
    cells = cells_of(config)
    assert len(cells) == len({cell.name for cell in cells}) == 6
    chosen: dict[tuple[int, int], list[set[int]]] = {}
    held_out = set()
    for cell in cells:
        members = mixture_for(config, cell).members
        held_out.add(tuple(tuple(episode.index for episode in member.split.validation) for member in members))
        chosen[cell.seed, cell.episodes] = [
            {episode.index for episode in member.split.train} for member in members
        ]
        assert sum(member.share for member in members) == pytest.approx(1.0)
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
    for cell in cells_of(config):
        members = mixture_for(config, cell).members
        assert [member.share for member in members] == [0.25, 0.75]
        for member in members:
            assert member.weights is not None
            assert member.weights.tolist() == 2 * [1.0, 1.0, 1.0, 1.0, 5.0, 1.0, 5.0, 1.0]


def test_a_study_is_run_drawn_and_goes_on_with_what_is_new(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    assert main(["study", str(study(folder)), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "4 cells, 0 of them done" in printed.out
    assert "cell 4 of 4" in printed.err
    assert "min to go" in printed.err
    results = json.loads((out / "results.json").read_text())
    assert [(entry["seed"], entry["episodes"]) for entry in results] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert all(entry["training_episodes"] == 3 * entry["episodes"] for entry in results)
    assert (out / "figure.png").stat().st_size > 5000
    assert "<svg" in (out / "figure.svg").read_text()
    assert "loss = " not in (out / "results.md").read_text()  # two points lie on any power law
    cell = next(out.glob("episodes2*seed1"))
    assert (cell / "report.html").is_file()
    assert (cell / "last" / "model.safetensors").is_file()
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/result.json")}
    assert main(["study", str(study(folder, episodes=[1, 2, 3])), "--out", str(out)]) == 0
    assert "6 cells, 4 of them done" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_an_interrupted_cell_goes_on_to_what_it_would_have_been(folder: Path, tmp_path: Path) -> None:
    config = load_study(study(folder))
    cell = Cell(2, 0, 0, "recipe", "scratch", 0)
    whole = run_cell(config, cell, tmp_path / "whole", Silent(), "cpu")
    from hpt_ros.learning import train
    from hpt_ros.learning.study import recipe_of

    mixture, recipe = mixture_for(config, cell), recipe_of(config, cell)
    train(mixture, recipe, tmp_path / "part" / cell.name, stop_after=2, device="cpu")
    part = run_cell(config, cell, tmp_path / "part", Silent(), "cpu")
    assert part["validation_loss"] == whole["validation_loss"]


def test_another_study_does_not_go_on_there(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    assert main(["study", str(study(folder, episodes=[1], seeds=[0])), "--out", str(out)]) == 0
    assert main(["study", str(study(folder, set=["lr=0.1"])), "--out", str(out)]) == 2
    assert "set of the study" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"episodes": [50]}, "episodes of the study is 50, expected at most"),
        ({"datasets": [9]}, "datasets of the study is 9, expected at most 3"),
        ({"start": ["frozn"]}, "did you mean 'frozen'"),
        ({"start": ["frozen"]}, "lacks a trunk"),
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


def test_three_points_are_fitted(tmp_path: Path) -> None:
    results: list[Mapping[str, Any]] = [
        {"episodes": n, "datasets": "all", "batch_size": 8, "size": "small", "start": "scratch", "seed": 0,
         "validation_loss": 2.0 * n**-0.5}
        for n in (1, 2, 4)
    ]  # fmt: skip
    assert "loss = 2 x episodes^-0.500" in write_table(tmp_path / "table.md", results, "episodes")
    draw(tmp_path, results, "episodes")
    assert (tmp_path / "figure.png").stat().st_size > 5000


@given(st.floats(0.1, 10.0), st.floats(-1.0, 1.0))
def test_a_power_law_is_found_again(a: float, b: float) -> None:
    x = np.array([1.0, 2.0, 5.0, 20.0])
    assert power_law(x, a * x**b) == pytest.approx((a, b), rel=1e-6, abs=1e-9)
