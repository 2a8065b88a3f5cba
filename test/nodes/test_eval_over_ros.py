# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt eval --ros` and `hpt demo`, as a user calls them, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hpt_ros.cli.main import main
from hpt_ros.evaluation.evaluate import Job
from hpt_ros.evaluation.outcomes import read_outcomes
from hpt_ros.nodes.sim.graph_evaluation import Graph
from hpt_ros.runtime.policy_config import PolicyChoice

SHORT = ["--time-limit-s", "3"]  # the start takes a second or more of it


def test_hpt_eval_over_the_graph_writes_and_prints_what_lock_step_does(tmp_path: Path, capsys) -> None:
    out = tmp_path / "hold.parquet"
    assert main(["eval", "hold", "--ros", "--episodes", "2", "--out", str(out), *SHORT]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "real time" in printed
    assert "0 of 2: 0.0 %" in printed
    assert "latency, ms" in printed
    found = read_outcomes(out)
    assert found.provenance.clock == "real time"
    assert [episode.seed for episode in found.episodes] == [1000, 1001]
    # Lock step does not go on with it, and can be compared with it.
    assert main(["eval", "hold", "--episodes", "2", "--workers", "1", "--out", str(out), *SHORT]) == 2
    assert "inference_s of the outcomes" in capsys.readouterr().err
    other = tmp_path / "lock_step.parquet"
    assert main(["eval", "hold", "--episodes", "2", "--workers", "1", "--out", str(other), *SHORT]) == 0
    assert main(["compare", str(out), str(other)]) == 0


@pytest.mark.parametrize("wrong", [["--workers", "2"], ["--inference-s", "0.1"]])
def test_options_of_lock_step_are_refused_over_the_graph(wrong: list[str], capsys) -> None:
    assert main(["eval", "hold", "--ros", *wrong]) == 2
    assert f"{wrong[0]} with --ros" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_when_it_is_ended_expect_what_was_done_kept_and_nothing_left_running(
    tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "hold.parquet"
    command = [
        sys.executable,
        "-m",
        "hpt_ros",
        "eval",
        "hold",
        "--ros",
        "--episodes",
        "10",
        "--out",
        str(out),
    ]
    with subprocess.Popen(
        [*command, *SHORT], stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where a shell runs us with &
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if "running episodes 1/10" in line:
                break
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(60) == 130, rest
        assert "interrupted" in rest
    assert 1 <= len(read_outcomes(out).episodes) < 10
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.slow
def test_the_demo_is_that_evaluation_with_a_video_and_a_plot(tmp_path: Path, capsys) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "--episodes", "1", "--no-baselines", "--out", str(out)]) == 0
    assert "feed the dog" in capsys.readouterr().out
    (row,) = json.loads((out / "results.json").read_text())["policies"]
    assert row["policy"] == "trained"
    assert row["timings_ms"]["inference_s"]["samples"] > 10
    (episode,) = read_outcomes(out / "trained.parquet").episodes
    assert episode.success
    assert (out / "episode.png").stat().st_size > 10_000
    assert (out / "episode.mp4").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--episodes", "0"], "episodes is 0"), (["--seed", "1000000"], "first seed is 1000000")],
)
def test_when_the_demos_numbers_are_wrong_expect_the_value(
    arguments: list[str], message: str, capsys
) -> None:
    assert main(["demo", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_when_another_simulator_runs_in_this_ros_domain_expect_the_way_out(capsys) -> None:
    with Graph(Job("feed_dog", PolicyChoice(policy="hold"))):
        assert main(["eval", "hold", "--ros", "--episodes", "1", *SHORT]) == 2
    error = capsys.readouterr().err
    assert "/clock has 2 publishers" in error
    assert "ROS_DOMAIN_ID" in error
