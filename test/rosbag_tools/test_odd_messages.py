# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One odd message, or one odd file beside a bag, costs itself and nothing else."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from support.refused import refused

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code
from rosbag_tools.bootstrap.first_embodiment import first_embodiment
from rosbag_tools.converting.convert import convert
from rosbag_tools.errors import BagError
from rosbag_tools.reading.finding import find_bags
from rosbag_tools.reading.inspection import inspect
from rosbag_tools.reading.reader import Bag


def changed(robot, topic, change, every):
    """The tiny robot's messages, of which some on a topic are changed."""
    found, count = [], 0
    for name, log_ns, message in robot.messages():
        if name == topic:
            if count % every == every // 2:
                change(message)
            count += 1
        found.append((name, log_ns, message))
    return found


def shorten(message):
    message.position = message.position[:1]


def test_a_joint_state_that_is_cut_short_does_not_count(robot, tmp_path):
    bag = robot.write(tmp_path / "bag", changed(robot, "/joint_states", shorten, 40))
    report = convert([bag], tmp_path / "data", robot.embodiment)
    assert report.kept == report.ticks
    ((said, *_),) = [list(entry.refused.values()) for entry in report.episodes]
    assert "has 1 values of 'position' for" in said
    with Bag.open(bag) as opened:
        made = Embodiment.loads(first_embodiment(opened).text)
    assert made.state_streams


def test_when_all_are_cut_short_expect_the_topic_left_out(robot, tmp_path):
    bag = robot.write(tmp_path / "bag", changed(robot, "/joint_states", shorten, 1))
    with Bag.open(bag) as opened:
        assert any("has 1 positions for" in line for line in first_embodiment(opened).left_out)


def test_when_a_driver_leaves_a_field_empty_expect_an_error(robot, tmp_path):
    def empty(message):
        message.position = np.zeros(0)

    bag = robot.write(tmp_path / "bag", changed(robot, "/joint_states", empty, 1))
    with refused(BagError, Code.WRONG_SHAPE, value=0, problem="values of 'position'"):
        convert([bag], tmp_path / "data", robot.embodiment)


def test_seconds_before_1970_are_read_as_they_are(robot, tmp_path):
    def before(message):
        message.header.stamp.sec = -5

    with Bag.open(robot.write(tmp_path / "bag", changed(robot, "/left", before, 1))) as bag:
        (note,) = [text for text in inspect(bag).topics["/left"].notes if "two clocks" in text]
    assert "behind" in note


def test_what_macos_leaves_beside_bags_is_passed_over(robot, bag, tmp_path):
    place = tmp_path / "from_a_mac"
    shutil.copytree(bag, place / "ep")
    hidden = b"\x00\x05\x16\x07" + bytes(50)
    for name in ("._ep", "ep/._bag.mcap", "__MACOSX/ep/._bag.mcap"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(hidden)
    (place / "ep/metadata.yaml").unlink()  # then the folder's files tell
    assert find_bags([place]) == [place / "ep"]
    with Bag.open(place / "ep") as opened:
        assert opened.topics["/left"].count
    with refused(BagError, Code.UNREADABLE, value=1, remedy="give one of them"), Bag.open(place):
        pass


@pytest.mark.parametrize("recover", [False, True])
def test_when_a_part_of_a_bag_is_missing_expect_the_remedy_and_that_it_helps(bag, recover):
    metadata = bag / "metadata.yaml"
    (file,) = bag.glob("*.mcap")
    metadata.write_text(metadata.read_text().replace(f"- {file.name}", f"- {file.name}\n  - gone.mcap", 1))
    if not recover:
        with refused(BagError, Code.NOT_FOUND, value=["gone.mcap"], remedy="--recover"), Bag.open(bag):
            pass
        return
    with Bag.open(bag, recover=True) as opened:
        assert "1 of its files are missing" in opened.recovered
