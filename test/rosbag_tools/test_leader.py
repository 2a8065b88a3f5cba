# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Actions from a leader arm, whose joints have names of their own."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from hpt_ros.dataset import open_dataset
from hpt_ros.embodiment import Embodiment
from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.converting.leader_arm import Leader, parse_joints
from rosbag_tools.errors import BagError

TOPIC, TYPES = "/leader/joint_states", {"/leader/joint_states": "sensor_msgs/msg/JointState"}
NAMES = {"a": "lead_1", "b": "lead_2"}
LEADER = Leader(TOPIC, tuple(NAMES.items()))


def led(robot, *, keep_commands=False, **renamed):
    """A recording with a leader arm instead of commands: what was commanded, in the leader's order and names."""
    found = []
    for topic, log_ns, message in robot.messages():
        if topic == "/command":
            point = message.points[0]
            values = dict(zip(message.joint_names, point.positions, strict=True))
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            state = robot.joints(0.0, stamp, ("z", "b", "a"))
            state.name = ["grip", renamed.get("b", NAMES["b"]), renamed.get("a", NAMES["a"])]
            state.position = np.array([9.0, values["b"], values["a"]])
            found.append((TOPIC, log_ns, state))
        if topic != "/command" or keep_commands:
            found.append((topic, log_ns, message))
    return found


def table(out):
    return pq.read_table(out / "data/chunk-000/file-000.parquet")


def test_the_leader_arm_gives_the_actions_that_the_commands_would_have(robot, tmp_path):
    commanded = robot.write(tmp_path / "commanded")
    bag = robot.write(tmp_path / "led", led(robot), types=TYPES)
    convert([commanded], tmp_path / "expected", robot.embodiment)
    convert([bag], tmp_path / "out", robot.embodiment, Options(action_source="leader", leader=LEADER))
    assert table(tmp_path / "out").equals(table(tmp_path / "expected"))
    report = json.loads((tmp_path / "out/meta/hpt/report.json").read_text())
    assert (report["action_source"], report["leader_topic"]) == ("leader", TOPIC)
    assert "actions: the leader arm's positions" in open_dataset(tmp_path / "out").summary()


def test_when_commands_were_recorded_too_expect_the_leader_all_the_same(robot, tmp_path):
    messages = led(robot, keep_commands=True)
    for topic, _, message in messages:
        if topic == "/command":
            message.points[0].positions = np.array([7.0, 7.0])
    bag = robot.write(tmp_path / "bag", messages, types=TYPES)
    convert([bag], tmp_path / "out", robot.embodiment, Options(action_source="leader", leader=LEADER))
    actions = np.array(table(tmp_path / "out")["action"].to_pylist())
    assert np.abs(actions).max() < 4.0


def test_the_command_line_takes_a_leader(robot, tmp_path, embodiment_file, capsys):
    from hpt_ros.cli.main import main

    bag = robot.write(tmp_path / "bag", led(robot), types=TYPES)
    common = ["convert", str(bag), "--embodiment", str(embodiment_file), "--out", str(tmp_path / "out")]
    named = ["--actions", "leader", "--leader-topic", TOPIC, "--leader-joints"]
    assert main([*common, *named, "a=lead_1", "b=lead_9"]) == 2
    assert "lacks the joint 'lead_9' for the commanded 'b'" in capsys.readouterr().err
    assert main([*common, *named, "a=lead_1", "b=lead_2"]) == 0
    assert len(open_dataset(tmp_path / "out").episodes) == 1


def test_when_the_bag_has_no_leader_expect_its_topic(robot, bag, tmp_path):
    options = Options(action_source="leader", leader=LEADER)
    with pytest.raises(BagError, match=f"lacks the topic '{TOPIC}' .* of the leader arm"):
        convert([bag], tmp_path / "out", robot.embodiment, options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"action_source": "leader"}, "'leader' without a leader arm's topic; name it with --leader-topic"),
        (
            {"leader": LEADER},
            "'command' but a leader arm on '/leader/joint_states' was named; take --actions leader",
        ),
    ],
)
def test_when_source_and_leader_do_not_belong_together_expect_it_said(options, match):
    with pytest.raises(BagError, match=match):
        Options(**options)


def test_when_joints_are_named_wrongly_expect_the_pair(robot):
    with pytest.raises(BagError, match="the leader's joints have 'a', expected each commanded joint once"):
        parse_joints(["a"])
    with pytest.raises(BagError, match="the leader's joints have 'a=y'"):
        parse_joints(["a=x", "a=y"])
    with pytest.raises(
        BagError,
        match="joints name 'c', which embodiment 'tiny' does not command, expected one of",
    ):
        Leader(TOPIC, (("c", "x"),)).check(robot.embodiment)


def test_when_the_leader_sends_no_positions_expect_it_said(robot, tmp_path):
    messages = led(robot)
    for topic, _, message in messages:
        if topic == TOPIC:
            message.position = np.zeros(0)
    bag = robot.write(tmp_path / "bag", messages, types=TYPES)
    with pytest.raises(BagError, match="has 0 positions for 3 joints"):
        convert([bag], tmp_path / "out", robot.embodiment, Options(action_source="leader", leader=LEADER))


def test_equal_names_need_not_be_given(robot, tmp_path):
    bag = robot.write(tmp_path / "bag", led(robot, a="a", b="b"), types=TYPES)
    options = Options(action_source="leader", leader=Leader(TOPIC))
    convert([bag], tmp_path / "out", Embodiment.loads(robot.text), options)
    assert len(open_dataset(tmp_path / "out").episodes) == 1
