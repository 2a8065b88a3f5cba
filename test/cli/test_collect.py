# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt collect`: bags that the other verbs take."""

from __future__ import annotations

import pytest

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset


def test_demonstrations_become_a_dataset(tmp_path, capsys):
    bags, dataset = tmp_path / "bags", tmp_path / "dataset"
    arguments = ["collect", "feed_dog", "-n", "1", "--out", str(bags), "--workers", "1"]
    assert main([*arguments, "--disturbance-rad", "0.01"]) == 0
    assert "1 successes" in capsys.readouterr().out
    assert [path.name for path in bags.iterdir()] == ["feed_dog_01000000"]
    assert main(["convert", str(bags), "--out", str(dataset)]) == 0
    (episode,) = open_dataset(dataset).episodes
    assert episode.length > 50
    assert main(arguments) == 2  # the folder holds bags now
    assert "holds something already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["feed_cat"], "did you mean 'feed_dog'"),
        (["feed_dog", "-n", "0"], "--episodes is 0"),
        (["feed_dog", "--disturbance-rad", "nan"], "--disturbance-rad is nan"),
        (["feed_dog", "--policy", "nobody"], "nobody"),
    ],
)
def test_mistakes_are_one_sentence(arguments, words, tmp_path, capsys):
    assert main(["collect", *arguments, "--out", str(tmp_path / "bags"), "--workers", "1"]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1


def test_a_file_is_no_folder_for_bags(tmp_path, capsys):
    file = tmp_path / "bags"
    file.write_bytes(b"")
    assert main(["collect", "feed_dog", "-n", "1", "--out", str(file), "--workers", "1"]) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_a_policy_that_fails_too_often_is_no_demonstrator(tmp_path, capsys):
    out = str(tmp_path / "bags")
    arguments = ["--policy", "hold", "-n", "10", "--time-limit-s", "0.1", "--workers", "1"]
    assert main(["collect", "feed_dog", "--out", out, *arguments]) == 2
    assert "0 of 10" in capsys.readouterr().err
