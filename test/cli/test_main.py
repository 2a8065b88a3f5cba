"""The `hpt` command as a user meets it: verbs, mistakes, exit statuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hpt_ros.cli.main import VERBS, main


def hpt(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hpt_ros.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_lists_every_verb_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from hpt_ros.cli.main import build_parser; print(build_parser()[0].format_help());"
        "print('heavy:', sorted({'torch', 'rclpy', 'mujoco', 'cv2', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert all(f"    {verb}" in done.stdout for verb in VERBS)
    assert "heavy: []" in done.stdout


def test_every_verb_explains_itself() -> None:
    for verb in VERBS:
        with pytest.raises(SystemExit) as ended:
            main([verb, "--help"])
        assert ended.value.code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["demo", "--checkpoint", "no_such"], "'no_such' is neither a folder nor shipped"),
        (["demo", "--episodes", "0"], "the number of episodes is 0"),
        (["demo", "--seed", "-1"], "the first seed is -1"),
        (["demo", "--full", "--demonstrations", "1"], "the number of demonstrations is 1"),
        (["convert", "no_such_bag", "--out", "x"], "no_such_bag"),
        (["inspect", "no_such_bag"], "no_such_bag"),
        (["checkpoint", "inspect", "no_such"], "no_such"),
        (["finetune", "--dataset", "no_such", "--out", "x"], "no_such"),
        (["record", "--embodiment", "no_such.yaml", "--out", "x"], "'no_such.yaml' does not exist"),
    ],
)
def test_when_the_user_errs_expect_one_sentence_and_status_2(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err.lstrip()  # a progress bar that never began leaves an empty line
    assert error.startswith(f"hpt {arguments[0]}: error: ")
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "x").exists(), "a mistake must leave nothing behind"


def test_when_a_verb_is_unknown_expect_status_2() -> None:
    done = hpt("feed")
    assert done.returncode == 2
    assert "invalid choice" in done.stderr


def test_when_the_reader_of_a_pipe_leaves_expect_no_trace() -> None:
    done = subprocess.run(
        f"{sys.executable} -m hpt_ros.cli.main --help | head -1", shell=True,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def test_when_run_names_no_checkpoint_expect_the_nodes_own_sentence_and_status_2() -> None:
    done = hpt("run", "no_such_checkpoint")
    assert done.returncode == 2
    assert "'no_such_checkpoint' is neither a folder nor shipped" in done.stderr
