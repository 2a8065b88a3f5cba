# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt checkpoint` as a user meets it: every action explains itself; a mistake is one sentence, and leaves nothing."""

from __future__ import annotations

import pytest

from hpt_ros.cli.main import main

ACTIONS = ("inspect", "verify", "import", "export", "upgrade", "add-task")


@pytest.mark.parametrize("action", ACTIONS)
def test_when_help_is_asked_expect_what_the_action_does(action, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["checkpoint", action, "--help"])
    assert ended.value.code == 0
    assert f"usage: hpt checkpoint {action}" in capsys.readouterr().out


def test_when_no_action_is_named_expect_them_listed(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["checkpoint"])
    assert ended.value.code == 2
    assert ", ".join(ACTIONS) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["inspect", "no_such"], "the checkpoint 'no_such' is neither a folder nor"),
        (["verify", "no_such"], "the checkpoint 'no_such' is neither a folder nor"),
        (["import", "no_such", "--out", "x"], "the weight file 'no_such' does not exist"),
        (["import", "hf://liruiw", "--out", "x"], "not of the form hf://user/repo"),
        (["import", "no_such", "--out", "x", "--embodiment", "no.yaml"], "the file 'no.yaml' does not exist"),
        (["import", "no_such", "--out", "x", "--task", "wipe"], "--task is for a whole policy"),
        (
            ["export", "no_such", "--format", "model", "--out", "x"],
            "the checkpoint 'no_such' is neither a folder nor",
        ),
        (
            ["add-task", "no_such", "--task", "wipe", "--out", "x"],
            "the checkpoint 'no_such' is neither a folder nor",
        ),
    ],
)
def test_when_the_user_errs_expect_one_sentence_status_2_and_nothing_written(
    arguments, sentence, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["checkpoint", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"hpt checkpoint {arguments[0]}: error: ")
    assert sentence in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("action", ["inspect", "verify", "upgrade"])
def test_when_a_run_or_a_part_is_given_expect_the_checkpoint_to_give(action, tmp_path, capsys):
    for place, given, meant in (("run/best", "run", "run/best"), ("many", "many/embodiments/arm", "many")):
        checkpoint = tmp_path / place
        (checkpoint / "embodiments/arm").mkdir(parents=True)
        (checkpoint / "config.yaml").write_text("{}")
        if meant == "many" and action != "upgrade":
            continue  # a part is enough for them
        assert main(["checkpoint", action, str(tmp_path / given)]) == 2
        assert f"{str(tmp_path / meant)!r}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["import", "x"], ["export", "x", "--out", "y"], ["export", "x", "--format", "other", "--out", "y"], ["add-task"]],
)  # fmt: skip
def test_when_an_argument_is_missing_expect_status_2(arguments):
    with pytest.raises(SystemExit) as ended:
        main(["checkpoint", *arguments])
    assert ended.value.code == 2


@pytest.mark.parametrize("action", ["inspect", "verify", "upgrade"])
def test_when_a_dataset_is_given_expect_what_it_is_and_its_verb(action, tmp_path, capsys):
    folder = tmp_path / "set"
    (folder / "meta/hpt").mkdir(parents=True)
    (folder / "meta/info.json").write_text("{}")
    (folder / "meta/hpt/embodiment.yaml").write_text("")
    assert main(["checkpoint", action, str(folder)]) == 2
    error = capsys.readouterr().err
    assert f"{str(folder)!r} is a dataset of this project, expected a checkpoint; train on it" in error
    assert error.count("\n") == 1
