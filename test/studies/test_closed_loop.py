# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Cells of a study in closed loop: files of outcomes that grow, interrupts, and the comparison with the baseline."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support.tiny_mixture import mapping_of_recipe, write_mixture

from hpt_ros.cli.main import main
from hpt_ros.dataset import DatasetWriter
from hpt_ros.embodiment import Embodiment
from hpt_ros.evaluation.arms import compare, read_arm
from hpt_ros.evaluation.evaluate import evaluate
from hpt_ros.evaluation.outcomes import Outcomes, Provenance, read_outcomes, write_outcomes
from hpt_ros.evaluation.rollout import Episode
from hpt_ros.learning.reporter import Silent
from hpt_ros.resources import config_path
from hpt_ros.sim.environment import make_environment
from hpt_ros.studies import closed_loop
from hpt_ros.studies.cell import train_cell
from hpt_ros.studies.config import cells_of, load_study
from hpt_ros.studies.pool import Pool
from hpt_ros.studies.running import write_results

STATE_ONLY = "episodes0-datasets0-batch0-recipe"


@pytest.fixture(autouse=True)
def _as_important_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's workers would wait for everything else that runs on this machine."""
    monkeypatch.setenv("RAY_worker_niceness", "0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of the demo's robot without its cameras, so that neither network nor messages take long."""
    made = tmp_path_factory.mktemp("closed_loop")
    robot = Embodiment.load(config_path("embodiments", "feed_dog"))
    blind = replace(robot, streams=tuple(stream for stream in robot.streams if stream.modality != "image"))
    environment = make_environment("feed_dog")
    environment.reset(0)
    home = np.array(environment.physics.joint_positions_rad)  # type: ignore[attr-defined]
    environment.close()
    rng = np.random.default_rng(0)
    with DatasetWriter(made / "demonstrations", blind) as writer:
        for _ in range(5):
            episode, position, goal = writer.episode("move"), home, home + rng.normal(size=7) * 0.2
            for _ in range(20):
                position = position + (goal - position) / 4
                episode.add({"observation.state": position, "action": position + (goal - position) / 4})
            writer.append(episode.finish())
        writer.finish()
    write_mixture(made, [{"path": "demonstrations"}])
    (made / "recipe.yaml").write_text(yaml.safe_dump(mapping_of_recipe(iterations=4, batch_size=6)))
    return made


def study(
    folder: Path, name: str = "study.yaml", evaluate: dict[str, Any] | None = None, **changes: Any
) -> Path:
    values = {
        "mixture": "mixture.yaml", "recipe": "recipe.yaml", "x": "start", "start": ["scratch", "no_trunk"],
        "seeds": [0, 1],
        "evaluate": {"environments": ["feed_dog"], "scenes": 2, "time_limit_s": 0.6, **(evaluate or {})},
    }  # fmt: skip
    (folder / name).write_text(yaml.safe_dump({**values, **changes}, sort_keys=False))
    return folder / name


def untimed(outcomes: Outcomes) -> list[str]:
    """Return episodes without wall time, as text since NaN differs from itself."""
    return [repr(replace(episode, inference_s=0.0)) for episode in outcomes.episodes]


def lines_of_budget(cell: Path, kind: str) -> list[int]:
    lines = [json.loads(line) for line in (cell / "budget.jsonl").read_text().splitlines()]
    assert all(line["cpu_s"] > 0 for line in lines)
    return [line["count"] for line in lines if line["kind"] == kind]


@pytest.fixture(scope="module")
def finished(folder: Path) -> Path:
    """A study of two starts and two seeds that is done."""
    out = folder / "finished"
    file = study(folder, evaluate={"validation_scenes": 1})
    assert main(["study", str(file), "--out", str(out)]) == 0
    return out


def test_each_cell_leaves_files_that_hpt_compare_takes(finished: Path) -> None:
    arms = [read_arm(finished / "outcomes" / f"{STATE_ONLY}-{start}") for start in ("scratch", "no_trunk")]
    (row,) = compare(arms[0], arms[1]).rows
    assert row.paired.scenes == 2
    assert [arm.training_seeds for arm in arms] == [2, 2]
    runs = arms[1].runs["feed_dog"]
    assert [episode.seed for episode in runs[0].episodes] == [1000, 1001]
    assert len({run.provenance.checkpoint_sha256 for run in runs}) == 2
    assert not any(episode.silent for run in runs for episode in run.episodes)  # the robot moves
    chosen = read_outcomes(finished / "validation" / f"{STATE_ONLY}-no_trunk" / "feed_dog.seed1.parquet")
    assert [episode.seed for episode in chosen.episodes] == [500_000]


def test_tables_and_figures_have_success_beside_the_loss(finished: Path) -> None:
    text = (finished / "results.md").read_text()
    assert "## Success in closed loop" in text
    assert "less scratch, points" in text
    assert "## Validation loss" in text
    assert (finished / "success.png").stat().st_size > 5000
    results = json.loads((finished / "results.json").read_text())
    assert [entry["success"]["feed_dog"]["scenes"] for entry in results] == 4 * [2]
    assert [entry["validation_success"]["feed_dog"]["scenes"] for entry in results] == 4 * [1]


def test_more_scenes_run_those_that_are_missing_alone(
    finished: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = f"{STATE_ONLY}-scratch"
    file = finished / "outcomes" / cell / "feed_dog.seed0.parquet"
    before = read_outcomes(file).episodes
    config = study(folder, "more.yaml", evaluate={"validation_scenes": 1})
    assert main(["study", str(config), "--out", str(finished), "--scenes", "3"]) == 0
    assert "4 cells, 4 of them trained, 4 scenes to run" in capsys.readouterr().out
    after = read_outcomes(file).episodes
    assert repr(after[:2]) == repr(before)  # NaN differs from itself
    assert [episode.seed for episode in after] == [1000, 1001, 1002]
    assert lines_of_budget(finished / f"{cell}-seed0", "scenes feed_dog") == [1, 2, 1]
    # Fewer scenes are a part of more, and nothing is run.
    assert main(["study", str(config), "--out", str(finished), "--scenes", "1"]) == 0
    assert "4 of them trained; CPU time" in capsys.readouterr().out
    assert "scenes 1000 to 1000" in (finished / "results.md").read_text()


def test_an_interrupt_amid_scenes_keeps_those_that_are_done(
    finished: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = evaluate

    def interrupted(*args: Any) -> Iterator[Episode]:
        for episode in whole(*args):
            yield episode
            os.kill(os.getpid(), signal.SIGINT)

    config = study(folder, "interrupted.yaml", seeds=[0], start=["scratch"])
    arguments = ["study", str(config), "--out", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr(closed_loop, "evaluate", interrupted)
        assert main(arguments) == 130
    assert "hpt study: interrupted" in capsys.readouterr().err
    (file,) = (tmp_path / "out" / "outcomes").glob("*/*.parquet")
    assert [episode.seed for episode in read_outcomes(file).episodes] == [1000]
    assert (tmp_path / "out" / "results.md").is_file()
    assert main(arguments) == 0
    assert "1 cells, 1 of them trained, 1 scenes to run" in capsys.readouterr().out
    assert lines_of_budget(tmp_path / "out" / f"{STATE_ONLY}-scratch-seed0", "scenes feed_dog") == [1, 1]
    # As the study that nobody interrupted has it.
    there = read_outcomes(finished / "outcomes" / f"{STATE_ONLY}-scratch" / "feed_dog.seed0.parquet")
    assert untimed(read_outcomes(file)) == untimed(there)[:2]


def test_an_interrupt_amid_training_is_gone_on_from(finished: Path, folder: Path, tmp_path: Path) -> None:
    class Interrupting(Silent):
        def bar(self, label: str, done: int, total: int, note: str = "") -> None:
            os.kill(os.getpid(), signal.SIGINT)

    config = load_study(study(folder, "training.yaml"))
    cell, pool = cells_of(config)[0], Pool(config)
    with pytest.raises(KeyboardInterrupt):
        train_cell(config, cell, tmp_path, pool, Interrupting(), "cpu")
    found = train_cell(config, cell, tmp_path, pool, Silent(), "cpu")
    assert lines_of_budget(tmp_path / cell.name, "training") == [12, 12]  # two steps of six samples, twice
    results = json.loads((finished / "results.json").read_text())
    assert found["validation_loss"] == results[0]["validation_loss"]


def same_outcomes(out: Path, other: Path) -> None:
    files = sorted(path.relative_to(other) for path in other.glob("outcomes/*/*.parquet"))
    assert len(files) == 4
    for file in files:
        ours, theirs = read_outcomes(out / file), read_outcomes(other / file)
        assert ours.provenance == theirs.provenance
        assert untimed(ours) == untimed(theirs)[: len(ours.episodes)]
    losses = [
        [r["validation_loss"] for r in json.loads((o / "results.json").read_text())] for o in (out, other)
    ]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_processes_side_by_side_leave_the_same(finished: Path, folder: Path, tmp_path: Path) -> None:
    file = study(folder, "workers.yaml")
    assert main(["study", str(file), "--out", str(tmp_path / "out"), "--workers", "2"]) == 0
    same_outcomes(tmp_path / "out", finished)


@pytest.mark.slow
def test_a_cluster_leaves_the_same(finished: Path, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="make setup EXTRAS=ray")
    file = study(folder, "ray.yaml")
    assert main(["study", str(file), "--out", str(tmp_path / "out"), "--ray"]) == 0
    same_outcomes(tmp_path / "out", finished)
    checkpoint = tmp_path / "out" / f"{STATE_ONLY}-scratch-seed0" / "best"
    arguments = ["eval", str(checkpoint), "--env", "feed_dog", "--episodes", "2", "--time-limit-s", "0.6"]
    assert main([*arguments, "--out", str(tmp_path / "ray.parquet"), "--ray"]) == 0
    there = read_outcomes(finished / "outcomes" / f"{STATE_ONLY}-scratch" / "feed_dog.seed0.parquet")
    assert untimed(read_outcomes(tmp_path / "ray.parquet")) == untimed(there)[:2]


@pytest.mark.slow
@pytest.mark.parametrize("how", [["--workers", "2"], ["--ray"]])
def test_an_interrupt_ends_cells_elsewhere_and_they_go_on(
    how: list[str], folder: Path, tmp_path: Path
) -> None:
    """SIGTERM to the command alone, amid training: no process is left, and no step is lost."""
    if how == ["--ray"]:
        pytest.importorskip("ray", reason="make setup EXTRAS=ray")
    out = tmp_path / "out"
    iterations = 100_000  # far more than there is time for
    file = study(
        folder, "long.yaml", start=["scratch"], set=[f"iterations={iterations}", "validation_every=1000"]
    )
    command = [sys.executable, "-m", "hpt_ros", "study", str(file), "--out", str(out), *how]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while len(list(out.glob("*/metrics.jsonl"))) < 2:
            assert process.poll() is None
            time.sleep(0.2)
        time.sleep(1.0)
        process.terminate()
        _, error = process.communicate()
    assert process.returncode == 130, error
    for cell in out.glob("*-seed*"):
        steps = [json.loads(line)["step"] for line in (cell / "metrics.jsonl").read_text().splitlines()]
        assert (cell / "train_state.pt").is_file()
        (samples,) = lines_of_budget(cell, "training")
        assert samples == max(steps) * 6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "0"], "--workers is 0"),
        (["--workers", "2", "--ray"], "--workers with --ray has no meaning"),
    ],
)
def test_options_that_cannot_be_are_refused(
    options: list[str], said: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", str(study(folder, "o.yaml")), "--out", str(tmp_path / "x"), *options]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("evaluate", "said"),
    [
        ({"environments": ["feed_dgo"]}, "did you mean 'feed_dog'"),
        ({"environments": []}, "environments of the study is empty"),
        ({"environments": ["feed_dog_ur5e"]}, "choose an environment of that robot"),
        ({"validation_seed": 1001, "validation_scenes": 5}, "1 scenes would both choose and judge"),
        ({"difficulty": "insane"}, "the difficulty is 'insane'"),
        ({"vary": ["camera_shift=1"]}, "the variation is 'camera_shift'"),
        ({"inference_s": 20.0}, "the time of an inference is 20,"),
        ({"checkpoint": "worst"}, "expected one of best, last"),
        ({"scenes": -1}, "key 'scenes'"),
    ],
)
def test_mistakes_are_one_sentence_before_the_first_run(
    evaluate: dict[str, Any], said: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", str(study(folder, "wrong.yaml", evaluate)), "--out", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_scenes_without_a_closed_loop_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = study(folder, "without.yaml")
    file.write_text(
        yaml.safe_dump({k: v for k, v in yaml.safe_load(file.read_text()).items() if k != "evaluate"})
    )
    assert main(["study", str(file), "--out", str(tmp_path), "--scenes", "5"]) == 2
    assert "lacks 'evaluate'" in capsys.readouterr().err


def made_up(environment: str, name: str, successes: list[bool], sha256: str) -> Outcomes:
    about = Provenance(environment, "1", "3", name, sha256, 0.05, 1.0, 0.0, 0.0, 0.0, "standard", "", "0")
    return Outcomes(
        about,
        tuple(
            Episode(1000 + n, success, 1.0, 0.5, "", "", 0, {}, 0, 0.0, 0.0, 0.5, 0.01)
            for n, success in enumerate(successes)
        ),
    )


def test_arms_are_compared_with_the_baseline_over_environments(folder: Path, tmp_path: Path) -> None:
    environments = ["feed_dog", "sweep_leftovers"]
    config = load_study(
        study(folder, "two.yaml", evaluate={"environments": environments, "scenes": 20}, seeds=[0])
    )
    for cell in cells_of(config):
        better = cell.start == "no_trunk"
        for environment, solved in zip(environments, (5, 9), strict=True):
            file = closed_loop.file_of(tmp_path, "outcomes", cell, environment)
            file.parent.mkdir(parents=True, exist_ok=True)
            won = [n < solved + 8 * better for n in range(20)]
            write_outcomes(file, made_up(environment, cell.arm, won, cell.start))
        (tmp_path / cell.name).mkdir()
        result = {"episodes": 0, "datasets": 0, "batch_size": 0, "size": "recipe", "variant": "", "start": cell.start,
                  "trunk": "", "seed": 0, "validation_loss": 0.5, "parameters": 10}  # fmt: skip
        (tmp_path / cell.name / "result.json").write_text(json.dumps(result))
    table = write_results(config, cells_of(config), tmp_path)
    lines = [line for line in table.splitlines() if line.startswith("|  |") and "start" not in line]
    rows = [[word.strip() for word in line.split("|")[1:-1]] for line in lines]
    by_table = [row[1:4] + row[5:6] + row[7:] for row in rows if len(row) > 7]
    # Of all, then of each environment: the baseline has nothing to be compared with.
    assert by_table == [
        ["scratch", "1", "35.0 %", "", "", ""], ["no_trunk", "1", "75.0 %", "+40.0", "16", "0"],
        ["scratch", "1", "45.0 %", "", "", ""], ["no_trunk", "1", "85.0 %", "+40.0", "8", "0"],
        ["scratch", "1", "25.0 %", "", "", ""], ["no_trunk", "1", "65.0 %", "+40.0", "8", "0"],
    ]  # fmt: skip
    scratch = next(row for row in rows if len(row) > 7 and row[3] == "25.0 %")
    assert scratch[4] == "11.2 to 46.9"  # Wilson's of 5 of 20
    assert (tmp_path / "success.svg").is_file()
