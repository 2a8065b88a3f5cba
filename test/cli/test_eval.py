# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt eval` and `hpt compare`, as a user calls them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpt_ros.cli.main import main
from hpt_ros.evaluation.outcomes import read_outcomes, write_outcomes

SHORT = ["--time-limit-s", "0.6", "--workers", "1"]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> Path:
    """Two scenes of each of two arms."""
    folder = tmp_path_factory.mktemp("outcomes")
    for policy in ("hold", "random"):
        assert (
            main(["eval", policy, "--episodes", "2", "--out", str(folder / f"{policy}.parquet"), *SHORT]) == 0
        )
    return folder


def test_success_is_printed_with_its_interval(evaluated, capsys):
    assert main(["eval", "hold", "--episodes", "2", *SHORT]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "0 of 2: 0.0 %" in printed
    assert "65.8" in printed  # Wilson's upper end of 0 of 2, z^2 / (2 + z^2)


def test_an_evaluation_goes_on_where_it_ended(evaluated, tmp_path, capsys):
    out = tmp_path / "hold.parquet"
    whole = read_outcomes(evaluated / "hold.parquet")
    marked = replace(whole.episodes[0], detail="from the first run")
    write_outcomes(out, replace(whole, episodes=(marked,)))
    assert main(["eval", "hold", "--episodes", "2", "--out", str(out), *SHORT]) == 0
    found = read_outcomes(out).episodes
    assert [episode.seed for episode in found] == [1000, 1001]
    assert found[0].detail == "from the first run"
    assert "1 of 2 scenes" in capsys.readouterr().err


def test_several_environments_have_a_row_each_and_go_on_in_a_folder(tmp_path, capsys):
    pytest.importorskip("gymnasium_robotics", reason="the extra suites is not installed")
    out = tmp_path / "outcomes"
    arguments = ["eval", "expert", "--env", "fetch", "--episodes", "2", "--out", str(out), "--workers", "1"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    for task in ("reach", "push", "pick-place"):
        assert f"fetch/{task}" in printed
        assert (out / f"fetch.{task}.parquet").is_file()
    assert "6 of 6" in printed
    assert "smoothness" not in printed
    page = tmp_path / "page.html"
    assert main([*arguments, "--html", str(page), "--videos", "1"]) == 0
    text = page.read_text()
    for task in ("reach", "push", "pick-place"):
        assert f"<td>fetch/{task}</td>" in text
        assert f"fetch/{task}, scene" in text
    assert text.count("<video") == 3
    assert "2 of 2 scenes are in" in capsys.readouterr().err
    file = tmp_path / "file"
    file.write_bytes(b"")
    assert main([*arguments[:-4], "--out", str(file)]) == 2
    assert "which is a file" in capsys.readouterr().err


def test_several_environments_say_how_many_actions_come_late_where_chunks_come(capsys):
    pytest.importorskip("gymnasium_robotics", reason="the extra suites is not installed")
    short = ["--episodes", "1", "--workers", "1", "--time-limit-s", "2"]
    assert main(["eval", "hold", "--env", "fetch/reach", "fetch/push", *short]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "fetch/" in line]
    assert len(rows) == 2
    for row in rows:
        assert 1.0 <= float(row[-1]) <= 15.0  # an inference takes more than a tick of 25 Hz
    assert main(["eval", "expert", "--env", "fetch/reach", "fetch/push", *short]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "fetch/" in line]
    assert [row[-1] for row in rows] == ["-", "-"]


def test_another_arms_file_is_not_gone_on_with(evaluated, capsys):
    file = str(evaluated / "random.parquet")
    assert main(["eval", "hold", "--episodes", "2", "--out", file, *SHORT]) == 2
    assert "is 'random', expected 'hold'" in capsys.readouterr().err


def test_outcomes_of_another_variation_are_not_mixed_in(tmp_path, capsys):
    out = tmp_path / "hold.parquet"
    command = ["eval", "hold", "--episodes", "1", "--out", str(out), *SHORT]
    harder = ["--vary", "distractors=2", "--transport", "wrist.lost=0.5", "--transport", "wrist.delay_s=0.1"]
    assert main([*command, "--difficulty", "varied", *harder]) == 0
    assert "distractors=2" in " ".join(capsys.readouterr().out.split())
    about = read_outcomes(out).provenance
    assert "area=1.3" in about.variation
    assert about.transports == "wrist.delay_s=0.1 wrist.lost=0.5"
    assert main(command) == 2
    assert "variation of the outcomes" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_refused_before_any_episode(tmp_path, capsys):
    folder = tmp_path / "folder.parquet"
    folder.mkdir()
    for out in (folder, "/proc/outcomes.parquet"):
        assert main(["eval", "hold", "--episodes", "2", "--out", str(out), *SHORT]) == 2
        error = capsys.readouterr().err
        assert "running" not in error
        assert len(error.strip().splitlines()) == 1


def test_two_arms_are_compared_by_their_scenes(evaluated, capsys):
    assert main(["compare", str(evaluated / "hold.parquet"), str(evaluated / "random.parquet")]) == 0
    printed = capsys.readouterr().out
    assert "B less A: +0.0 points" in printed
    assert "neither 2" in printed


def test_a_folder_is_an_arm_with_several_training_seeds(evaluated, tmp_path, capsys):
    good = tmp_path / "good"
    good.mkdir()
    whole = read_outcomes(evaluated / "hold.parquet")
    for seed in (1, 2, 3):
        won = tuple(replace(episode, success=True) for episode in whole.episodes)
        write_outcomes(good / f"{seed}.parquet", replace(whole, episodes=won))
    assert main(["compare", str(evaluated / "hold.parquet"), str(good)]) == 0
    printed = capsys.readouterr().out
    assert "+100.0 points" in printed
    assert "training seeds" in printed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"environment_version": "0"}, "its scenes differ"),
        ({"time_limit_s": 9.0}, "its scenes differ"),
        ({"variation": "area=2"}, "the variation 'area=2'"),
    ],
)
def test_evaluations_of_other_scenes_are_not_compared(evaluated, tmp_path, capsys, change, words):
    whole = read_outcomes(evaluated / "random.parquet")
    other = tmp_path / "other.parquet"
    write_outcomes(other, replace(whole, provenance=replace(whole.provenance, **change)))
    assert main(["compare", str(evaluated / "hold.parquet"), str(other)]) == 2
    assert words in capsys.readouterr().err


def test_evaluations_without_a_common_scene_are_not_compared(evaluated, tmp_path, capsys):
    whole = read_outcomes(evaluated / "random.parquet")
    moved = tuple(replace(episode, seed=episode.seed + 50) for episode in whole.episodes)
    write_outcomes(tmp_path / "other.parquet", replace(whole, episodes=moved))
    assert main(["compare", str(evaluated / "hold.parquet"), str(tmp_path / "other.parquet")]) == 2
    assert "no scene in common" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hold", "--env", "feed_cat"], "did you mean 'feed_dog'"),
        (["hold", "--episodes", "0"], "--episodes is 0"),
        (["hold", "--inference-s", "-1"], "time of an inference"),
        (["hold", "--image-lost", "2"], "lost of a transport is 2,"),
        (["hold", "--difficulty", "hardest"], "did you mean 'hard'"),
        (["hold", "--vary", "camera_shift=0.1"], "did you mean 'camera_shift_m'"),
        (["hold", "--vary", "area=3"], "area is 3, expected 0 to 2"),
        (["hold", "--transport", "wrst.lost=0.1"], "did you mean 'wrist'"),
        (["hold", "--transport", "wrist.late=0.1"], "one of delay_s, jitter_s, lost"),
        (["holt"], "did you mean 'hold'?"),
        ([str(Path(__file__).parent)], "lacks config.yaml"),
    ],
)
def test_mistakes_are_one_sentence(arguments, words, capsys):
    assert main(["eval", *arguments, "--workers", "1"]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1
