# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Files that ship with the package."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.resources import checkpoint_folder, config_file, config_path


def test_when_a_file_ships_expect_its_path() -> None:
    assert config_file("embodiments/feed_dog.yaml").is_file()


def test_when_a_file_does_not_ship_expect_those_that_do() -> None:
    with refused(
        HptError,
        Code.NOT_FOUND,
        subject="no file config/embodiments/feed_dgo.yaml",
        value="embodiments/feed_dgo.yaml",
        expected="embodiments/feed_d",
        remedy="embodiments/feed_d",
    ):
        config_file("embodiments/feed_dgo.yaml")


@pytest.mark.parametrize(
    "relative", ["../pyproject.toml", "embodiments/../../setup.py", "/etc/passwd", "", ".", ".."]
)
def test_when_a_name_leaves_the_folder_expect_it_refused(relative: str) -> None:
    with refused(HptError, Code.NOT_FOUND, problem="ships with the package"):
        config_file(relative)


def test_when_a_checkpoint_is_unknown_expect_what_is_known() -> None:
    with refused(
        HptError,
        Code.NOT_FOUND,
        subject="the checkpoint 'feed_dgo'",
        value="feed_dgo",
        problem="is neither a folder nor shipped",
    ):
        checkpoint_folder("feed_dgo")


def test_when_a_name_ships_not_expect_the_closest_as_it_is_to_be_given() -> None:
    with refused(HptError, Code.NOT_FOUND, value="feed_dgo", remedy="did you mean 'feed_dog'?"):
        config_path("embodiments", "feed_dgo")


def test_when_a_verb_takes_other_names_expect_those_too() -> None:
    with refused(HptError, Code.NOT_FOUND, expected="hold, feed_dog", remedy="did you mean 'hold'?"):
        checkpoint_folder("hodl", besides=["hold"])


def test_when_a_folder_exists_expect_it(tmp_path: Path) -> None:
    assert checkpoint_folder(str(tmp_path)) == tmp_path
