# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Relative topics of an embodiment file in bags of robots in namespaces, recorded by us or by `ros2 bag record`."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_ros.cli.main import main
from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.streams import in_namespace
from rosbag_tools import bag_schema
from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.converting.topic_names import with_names_of
from rosbag_tools.errors import BagError
from rosbag_tools.reading.reader import Bag


@pytest.fixture
def relative(robot) -> Embodiment:
    return robot.embodiment.with_topics(lambda topic: topic.lstrip("/"))


def write(robot, path, *namespaces, custom=None, leave_out=()):
    """A bag of the robot once in each namespace."""
    messages = [
        (in_namespace(topic[1:], namespace), log_ns, message)
        for topic, log_ns, message in robot.messages()
        for namespace in namespaces
        if (namespace, topic) not in leave_out
    ]
    types = {topic: robot.topics["/" + topic.rpartition("/")[2]] for topic, _, _ in messages}
    return robot.write(path, messages, custom=custom, types=types)


@pytest.mark.parametrize("namespace", ["/", "/robot1", "/cell/robot1"])
def test_when_a_bag_is_of_one_namespace_expect_the_dataset_that_the_plain_bag_gives(
    robot, relative, bag, tmp_path, namespace
):
    plain = convert([bag], tmp_path / "plain", robot.embodiment)
    spaced = convert([write(robot, tmp_path / "spaced", namespace)], tmp_path / "dataset", relative)
    assert spaced.kept == plain.kept > 0
    assert Embodiment.load(tmp_path / "dataset" / "meta" / "hpt" / "embodiment.yaml") == relative


def test_when_two_robots_are_in_a_bag_expect_a_question_and_its_answer(robot, relative, tmp_path):
    bag = write(robot, tmp_path / "two", "/left", "/right")
    with pytest.raises(
        BagError, match=r"in each of the namespaces /left, /right; choose one with --namespace"
    ):
        convert([bag], tmp_path / "dataset", relative)
    assert convert([bag], tmp_path / "dataset", relative, Options(namespace="right")).kept > 0


def test_when_a_topic_is_missing_expect_its_name_in_the_namespace_of_the_others(robot, relative, tmp_path):
    bag = write(robot, tmp_path / "bag", "/left", leave_out={("/left", "/joint_states")})
    with pytest.raises(BagError, match="lacks the topic '/left/joint_states'"):
        convert([bag], tmp_path / "dataset", relative)


def test_what_the_recorder_noted_counts_for_names_that_were_remapped(robot, relative, tmp_path):
    noted = {"left": "/a", "right": "/b", "joint_states": "/robot1/measured", "command": "/go"}
    messages = [(noted.get(topic[1:], topic), log_ns, message) for topic, log_ns, message in robot.messages()]
    types = {noted.get(topic[1:], topic): type_ for topic, type_ in robot.topics.items()}
    custom = {bag_schema.KEY_EMBODIMENT: relative.to_yaml(), bag_schema.KEY_TOPICS: json.dumps(noted)}
    path = robot.write(tmp_path / "bag", messages, custom=custom, types=types)
    assert convert([path], tmp_path / "dataset").kept > 0
    with Bag.open(path) as bag:
        assert set(with_names_of(bag, relative).topics) == set(noted.values())


def test_when_a_bag_does_not_carry_its_cell_expect_the_deployment_that_is_given(robot, tmp_path, capsys):
    """As of `ros2 bag record` in a cell whose topics have other names."""
    cell = {"/left": "/a", "/right": "/b", "/joint_states": "/robot1/measured", "/command": "/go"}
    messages = [(cell.get(topic, topic), log_ns, message) for topic, log_ns, message in robot.messages()]
    bag = robot.write(
        tmp_path / "bag",
        messages,
        custom={},
        types={cell.get(topic, topic): type_ for topic, type_ in robot.topics.items()},
    )
    trained, deployed = tmp_path / "robot.yaml", tmp_path / "cell.yaml"
    trained.write_text(robot.embodiment.to_yaml())
    deployed.write_text(
        "format: hpt_ros/deployment/1\n"
        "streams: {left: {topic: /a}, right: {topic: /b}, joints: {topic: /robot1/measured}}\n"
        "outputs: {action: {topic: /go}}\n"
    )
    command = ["convert", str(bag), "--embodiment", str(trained), "--out", str(tmp_path / "dataset")]
    assert main(command) == 2
    assert "lacks the topic '/left'" in capsys.readouterr().err
    assert main([*command, "--deployment", str(deployed)]) == 0
    assert Embodiment.load(tmp_path / "dataset" / "meta" / "hpt" / "embodiment.yaml") == robot.embodiment


def test_inspect_finds_the_namespace_too(robot, relative, tmp_path, capsys):
    file = tmp_path / "tiny.yaml"
    file.write_text(relative.to_yaml())
    one = write(robot, tmp_path / "one", "/left")
    assert main(["inspect", str(one), "--embodiment", str(file)]) == 0
    two = write(robot, tmp_path / "two", "/left", "/right")
    assert main(["inspect", str(two), "--embodiment", str(file)]) == 2
    assert "choose one with --namespace" in capsys.readouterr().err
    assert main(["inspect", str(two), "--embodiment", str(file), "--namespace", "/left"]) == 0
    assert main(["inspect", str(two), "--embodiment", str(file), "--namespace", "le ft"]) == 2


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=3).map(lambda parts: "/" + "/".join(parts)))
def test_whatever_the_namespace_a_relative_name_lies_below_it(namespace):
    assert in_namespace("x/y", namespace) == ("" if namespace == "/" else namespace) + "/x/y"
    assert in_namespace("/x/y", namespace) == "/x/y"
