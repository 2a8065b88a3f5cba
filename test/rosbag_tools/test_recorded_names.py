# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Topics by whatever names recordings have, those that ROS 2 refuses too; nodes refuse them by name."""

from __future__ import annotations

import pytest
from support.refused import refused

from hpt_ros.embodiment import Embodiment, EmbodimentError
from hpt_ros.embodiment.streams import check_recorded_topic, check_topic
from hpt_ros.errors import Code
from rosbag_tools.bootstrap.first_embodiment import write_first_embodiment
from rosbag_tools.converting.convert import convert
from rosbag_tools.errors import BagError
from rosbag_tools.reading.channels import usual_topic
from rosbag_tools.reading.inspection import inspect
from rosbag_tools.reading.reader import Bag


def renamed(robot, change):
    """The robot's messages and types by topic, with other names."""
    messages = [(change(topic), log_ns, message) for topic, log_ns, message in robot.messages(2.0)]
    return messages, {change(topic): type_ for topic, type_ in robot.topics.items()}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda topic: topic.lstrip("/"), "/left"),
        (lambda topic: f"{topic}/", "/left"),
        (lambda topic: f"/{topic}", "/left"),
        (lambda topic: f"/cam-1{topic}", "/cam-1/left"),
        (lambda topic: f"/1arm{topic}", "/1arm/left"),
        (lambda topic: f"arm.a{topic}", "/arm.a/left"),
    ],
)
@pytest.mark.parametrize("storage", ["mcap", "sqlite3", "ros1"])
def test_topics_of_any_name_are_inspected_and_converted(robot, tmp_path, storage, change, name):
    messages, types = renamed(robot, change)
    if storage == "ros1":
        bag = robot.write_ros1(tmp_path / "bag.bag", messages, types=types)
    else:
        bag = robot.write(tmp_path / "bag", messages, types=types, storage=storage)
    text = robot.text
    for topic in ("/left", "/right", "/joint_states", "/command"):
        text = text.replace(f"topic: {topic}", f"topic: {usual_topic(change(topic))}")
    embodiment = Embodiment.loads(text)
    with Bag.open(bag) as opened:
        found = inspect(opened, embodiment)
        assert not found.lacks
        assert found.topics[name].count == 20
        first = Embodiment.loads(write_first_embodiment(opened).text)
        assert name.lstrip("/") in [stream.topic.lstrip("/") for stream in first.streams]
    assert convert([bag], tmp_path / "out", embodiment).kept > 10
    assert convert([bag], tmp_path / "first", first).kept > 10


@pytest.mark.parametrize("topic", ["/cam-1/x", "1cam/x", "/a.b"])
def test_a_name_that_only_recordings_have_is_none_that_a_node_takes(topic):
    check_recorded_topic(topic, "the test")
    with refused(EmbodimentError, Code.INVALID, subject="the test, topic", expected="a ROS 2 name such as"):
        check_topic(topic, "the test")


@pytest.mark.parametrize("topic", ["", "/", "~/x", "/a//b", "/a b", "/a\n", "x/", "/" + "a" * 300])
def test_what_is_no_name_at_all_is_refused(topic):
    with refused(EmbodimentError, Code.INVALID, subject="the test, topic", expected="a topic name such as"):
        check_recorded_topic(topic, "the test")


def test_a_rosbag1_before_version_2_is_named_with_its_remedy(tmp_path):
    path = tmp_path / "old.bag"
    path.write_bytes(b"#ROSBAG V1.2\n" + bytes(3000))
    with (
        pytest.raises(BagError, match=r"a version before 2\.0; bring it to that by `rosbag migrate`"),
        Bag.open(path),
    ):
        pass
