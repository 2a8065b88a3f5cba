# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt quality`: its page, its list of episodes to keep, its exit status."""

from __future__ import annotations

import dataclasses
import json

import pytest
from support.html_page import checked_page
from support.quality_faults import (
    COUNT,
    ROBOT,
    constant,
    darken,
    duplicate,
    idle,
    in_memory,
    made_episodes,
    write,
)

from hpt_ros.cli.main import main
from hpt_ros.dataset.quality.checks import assess
from hpt_ros.dataset.quality.findings import CHECKS
from hpt_ros.dataset.quality.page import MOST_IMAGES, page
from hpt_ros.report.images import thumbnail


def test_the_page_is_self_contained_and_escapes_names():
    made = made_episodes()
    for spoil in (idle, duplicate, constant):
        spoil(made)
    picture = thumbnail(made[0]["images"][0])
    hostile = '"><script>alert(1)</script>'
    images = {(number, hostile): [picture] * 3 for number in range(len(made))}
    episodes = [dataclasses.replace(entry, task=hostile) for entry in in_memory(made)]
    text = page(assess(ROBOT, episodes), hostile, images)
    places = checked_page(text).addresses
    assert [place for place in places if place.startswith("data:image/jpeg;base64,")]
    for check in ("idle", "duplicate", "constant"):
        assert CHECKS[check].title in text


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("report.txt", "ends in .html"),
        ("dataset/report.html", "inside the dataset"),
    ],
)
def test_when_out_is_wrong_expect_status_2_and_a_sentence(tmp_path, capsys, out, words):
    (tmp_path / "dataset").mkdir()
    assert main(["quality", str(tmp_path / "dataset"), "--out", str(tmp_path / out)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / out).exists()


@pytest.mark.parametrize(
    ("keep", "words"),
    [("page.html", "the report is written"), ("page.json", "the report is written"), ("", "folder")],
)
def test_when_the_list_would_replace_something_expect_status_2(tmp_path, capsys, keep, words):
    folder = write(tmp_path / "dataset", made_episodes()[:1])
    out = tmp_path / "page.html"
    assert main(["quality", str(folder), "--out", str(out), "--json", "--keep", str(tmp_path / keep)]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_when_there_is_no_dataset_expect_status_2(tmp_path, capsys):
    assert main(["quality", str(tmp_path / "none"), "--out", str(tmp_path / "report.html")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_when_the_embodiment_does_not_fit_expect_status_2(tmp_path, capsys):
    folder = write(tmp_path / "dataset", made_episodes()[:1])
    other = tmp_path / "other.yaml"
    other.write_text(ROBOT.to_yaml().replace("name: small", "name: large"))
    out = tmp_path / "report.html"
    assert main(["quality", str(folder), "--out", str(out), "--embodiment", str(other)]) == 2
    assert "name is large in the first and small in the second" in capsys.readouterr().err
    assert not out.exists()


def test_a_large_dataset_gives_a_page_that_stays_small():
    made = made_episodes() * 40
    picture = thumbnail(made[0]["images"][0])
    images = {(number, view): [picture] * 3 for number in range(len(made)) for view in ("top", "side")}
    text = page(assess(ROBOT, in_memory(made)), "x", images)
    assert text.count("<img ") <= MOST_IMAGES
    assert text.count('class="card') > len(made)


def test_the_exit_status_is_of_errors_and_of_the_fraction_that_was_asked_for(tmp_path, capsys):
    made = made_episodes()
    darken(made)
    folder = write(tmp_path / "dataset", made)
    command = [
        "quality",
        str(folder),
        "--out",
        str(tmp_path / "report.html"),
        "--keep",
        str(tmp_path / "keep.json"),
    ]
    assert main(command) == 1
    said = capsys.readouterr().out
    assert f"keep {COUNT - 1} of {COUNT} episodes" in said
    assert json.loads((tmp_path / "keep.json").read_text()) == [n for n in range(COUNT) if n != 3]
    assert main([*command, "--min", "0.9"]) == 0
    assert main([*command, "--min", "0.95"]) == 1
    assert main([*command, "--min", "2"]) == 2
    assert "--min is 2, expected a fraction of the episodes from 0 to 1" in capsys.readouterr().err
