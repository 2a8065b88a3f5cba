# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The `hpt` command as a user meets it: verbs, mistakes, exit statuses."""

from __future__ import annotations

import errno
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hpt_ros.cli.main import INTERNAL_ERROR, VERBS, build_parser, main
from hpt_ros.cli.parsing import Parser


def hpt(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hpt_ros", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | variables,
    )


def commands() -> list[tuple[str, ...]]:
    """Every verb, and every action of a verb."""
    found: list[tuple[str, ...]] = []
    for verb, parser in build_parser().actions().items():
        found += [(verb,), *((verb, action) for action in parser.load().actions())]
    return found


def parser_of(command: tuple[str, ...]) -> Parser:
    parser = build_parser()
    for word in command:
        parser = parser.load().actions()[word]
    return parser.load()


def test_help_lists_every_verb_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from hpt_ros.cli.main import build_parser; print(build_parser().format_help());"
        "print('heavy:', sorted({'torch', 'rclpy', 'mujoco', 'cv2', 'matplotlib', 'numpy', 'yaml', 'rich'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert all(f"    {verb}" in done.stdout for verb in VERBS)
    assert "heavy: []" in done.stdout


@pytest.mark.parametrize("columns", ["40", "80"])
@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_explains_itself_with_its_defaults(
    command: tuple[str, ...],
    columns: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"usage: hpt {' '.join(command)}" in text
    for action in parser_of(command)._actions:
        if isinstance(action.default, (int, float)) and action.default not in (False, float("inf")):
            assert f"(default: {action.default})" in text


def test_when_nothing_is_named_expect_the_help() -> None:
    done = hpt()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == hpt("--help").stdout


def test_version_needs_no_library() -> None:
    code = (
        "import sys\n"
        "class None_:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'torch', 'rclpy', 'numpy', 'yaml', 'rich', 'av', 'argcomplete'}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, None_())\n"
        "from hpt_ros.cli.main import main; main(sys.argv[1:])"
    )
    for words in (["--version"], ["--help"], ["finetune", "--help"], ["run", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), words
        assert done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["feed_dog"], "hpt: error: 'feed_dog' is not one of demo, run, "),
        (["finetun"], "did you mean 'finetune'?"),
        (["checkpoint", "inspekt"], "hpt checkpoint: error: 'inspekt' is not one of inspect, verify"),
        (["checkpoint"], "hpt checkpoint: error: one of inspect, verify, import, export, upgrade, add-task was"),
        (["checkpoint", "export", "x", "--out", "y", "--format", "modle"], "did you mean 'model'?"),
        (["convert", "bag", "--outt", "x"], "hpt convert: error: "),
        (["convert", "bag", "--out", "x", "--embodimnt", "y"], "did you mean '--embodiment'?"),
        (["convert", "bag", "--out", "x", "--embod=y"], "did you mean '--embodiment'?"),
        (["convert", "bag", "--out", "x", "--work", "2"], "the argument '--work' is unknown"),
        (["convert", "bag", "--out", "x", "--workers", "two"], "--workers: invalid int value: 'two'"),
        (["convert", "bag"], "the following arguments are required: --out"),
        (["compare", "x", "y", "z"], "the argument 'z' is unknown"),
        (["run", "x", "--task", "-x"], "--option=-value"),
        (["convert", "bag", "--out", "x", "--ros-args", "-p", "a:=b"], "--ros-args is for verbs that run a node"),
    ],
)  # fmt: skip
def test_when_words_are_wrong_expect_one_sentence_that_names_the_command(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_when_a_value_begins_with_a_dash_expect_it_taken_after_an_equals_sign() -> None:
    assert build_parser().parse_args(["run", "x", "--task=-x"]).task == "-x"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["demo", "no_such"], "'no_such' is neither a folder nor shipped"),
        (
            ["demo", "--full", "--recipe", "no_such"],
            "'no_such' is neither a file nor shipped in config/recipes",
        ),
        (["demo", "--episodes", "0"], "the number of episodes is 0"),
        (["demo", "--seed", "-1"], "the first seed is -1"),
        (["demo", "--full", "--demonstrations", "1"], "the number of demonstrations is 1"),
        (["convert", "no_such_bag", "--out", "x"], "no_such_bag"),
        (["inspect", "no_such_bag"], "no_such_bag"),
        (["checkpoint", "inspect", "no_such"], "no_such"),
        (["finetune", "no_such", "--out", "x"], "no_such"),
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
    error = capsys.readouterr().err
    command = " ".join(arguments[: 1 + (arguments[0] in ("checkpoint", "embodiment"))])
    assert error.startswith(f"hpt {command}: error: ")
    assert sentence in error
    assert error.count("\n") == 1
    assert [*tmp_path.iterdir()] == [], "a mistake must leave nothing behind"


@pytest.mark.parametrize("words", ["--help", "finetune --help", "completion bash"])
def test_when_the_reader_of_a_pipe_leaves_expect_not_a_word(words: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m hpt_ros {words} | true; exit ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_when_the_locale_has_no_utf8_expect_the_output_all_the_same(tmp_path: Path) -> None:
    name = tmp_path / "größe #1\n"
    done = hpt("embodiment", "check", str(name), LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 2
    assert "does not exist" in done.stderr
    assert "internal error" not in done.stderr


class Broken:
    """A verb that fails."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def add_arguments(self, parser: Parser) -> None:
        parser.add_argument("--all", action="store_true")

    def run(self, args: object) -> int:
        raise self.error


def broken(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    original = importlib.import_module
    monkeypatch.setattr(
        importlib,
        "import_module",
        lambda name: Broken(error) if name == "hpt_ros.cli.inspect" else original(name),
    )


def test_when_a_verb_has_a_fault_expect_a_sentence_that_says_where_the_trace_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    broken(monkeypatch, KeyError("spam"))
    assert main(["inspect"]) == INTERNAL_ERROR
    error = capsys.readouterr().err
    assert error.startswith(
        "hpt inspect: internal error, KeyError: 'spam'; this is a fault of hpt_ros: please report"
    )
    assert error.count("\n") == 1
    (trace,) = tmp_path.iterdir()
    assert repr(str(trace)) in error
    assert "raise self.error" in trace.read_text()


@pytest.mark.parametrize(
    "take", [lambda: torch.empty(1 << 50), lambda: np.empty(1 << 50)], ids=["torch", "numpy"]
)
def test_when_memory_does_not_suffice_expect_a_sentence(
    take: Callable[[], object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        take()
    broken(monkeypatch, caught.value)
    assert main(["inspect"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("hpt inspect: error: memory does not suffice (")
    assert error.count("\n") == 1


@pytest.mark.parametrize("how", ["variable", "option", "nowhere"])
def test_when_the_trace_is_wanted_or_has_no_place_expect_it_shown(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing" if how == "nowhere" else tmp_path))
    if how == "variable":
        monkeypatch.setenv("HPT_TRACEBACK", "1")
    broken(monkeypatch, KeyError("spam"))
    assert main(["inspect", *(["--traceback"] if how == "option" else [])]) == INTERNAL_ERROR
    assert "raise self.error" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_when_interrupted_expect_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken(monkeypatch, KeyboardInterrupt())
    assert main(["inspect"]) == 130
    assert capsys.readouterr().err == "hpt inspect: interrupted\n"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_when_the_machine_refuses_expect_a_sentence_and_status_2(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken(monkeypatch, OSError(number, os.strerror(number), "/there"))
    assert main(["inspect"]) == 2
    assert f"{os.strerror(number)} ('/there')" in capsys.readouterr().err


def test_when_run_names_no_checkpoint_expect_the_nodes_own_sentence_and_status_2() -> None:
    done = hpt("run", "no_such_checkpoint")
    assert done.returncode == 2
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(
        "hpt run: error: the checkpoint 'no_such_checkpoint' is neither a folder nor shipped"
    )
