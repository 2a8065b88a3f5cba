# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A session in several bags, as of a recorder for the cameras and one for the arm: one episode."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from support.refused import refused

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code
from rosbag_tools.bootstrap.first_embodiment import write_first_embodiment
from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.errors import BagError
from rosbag_tools.reading.reader import Bag

CAMERAS = ("/left", "/right")


@pytest.fixture
def session(robot, tmp_path):
    """Bags of the cameras and of the arm, of different storages, and one of everything."""
    messages = robot.messages()
    cameras = robot.write(
        tmp_path / "cameras", [item for item in messages if item[0] in CAMERAS], storage="sqlite3"
    )
    arm = robot.write(tmp_path / "arm", [item for item in messages if item[0] not in CAMERAS])
    return cameras, arm, robot.write(tmp_path / "whole", messages)


def test_when_a_session_is_in_two_bags_expect_the_data_of_one(robot, session, tmp_path):
    cameras, arm, whole = session
    convert([whole], tmp_path / "right", robot.embodiment)
    for number, (bag, other) in enumerate(((cameras, arm), (arm, cameras))):
        place = tmp_path / f"data{number}"
        assert (
            main(
                [
                    "convert",
                    str(bag),
                    "--together",
                    str(other),
                    "--out",
                    str(place),
                    "--embodiment",
                    _file(robot, tmp_path),
                ]
            )
            == 0
        )
        right, found = open_dataset(tmp_path / "right"), open_dataset(place)
        np.testing.assert_array_equal(right.state, found.state)
        np.testing.assert_array_equal(right.action, found.action)
    with Bag.open(cameras, beside=[arm]) as bag:
        assert bag.duration_s == pytest.approx(3.0, abs=0.1)
        assert not bag.set_backs()
        assert Embodiment.loads(write_first_embodiment(bag).text).image_streams


def _file(robot, folder):
    path = folder / "tiny.yaml"
    path.write_text(robot.text)
    return str(path)


def test_when_a_topic_is_in_another_bag_expect_the_remedy_and_that_it_helps(robot, session, tmp_path):
    cameras, arm, _ = session
    with pytest.raises(BagError, match=r"lacks the topic '/joint_states'.*with --together"):
        convert([cameras], tmp_path / "data", robot.embodiment)
    report = convert([cameras], tmp_path / "data", robot.embodiment, Options(beside=(str(arm),)))
    assert report.kept > 20


def test_when_several_bags_are_converted_together_with_one_expect_that_refused(robot, session, tmp_path):
    cameras, arm, whole = session
    with pytest.raises(BagError, match="--together is of one session, but 2 bags were given"):
        convert([cameras, whole], tmp_path / "data", robot.embodiment, Options(beside=(str(arm),)))


def test_when_a_bag_is_to_be_read_together_with_itself_expect_that_refused(robot, session, tmp_path):
    _, _, whole = session
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(whole, copy)
    for other in (whole, copy, next(whole.glob("*.mcap"))):
        with refused(BagError, Code.DUPLICATE, subject=repr(str(other)), problem="or a copy"):
            convert([whole], tmp_path / "data", robot.embodiment, Options(beside=(str(other),)))
