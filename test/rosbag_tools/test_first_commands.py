# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A first embodiment file of a robot with several commands: each kind is proposed, and the file converts its bag."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset
from hpt_ros.embodiment import Embodiment
from rosbag_tools.bootstrap.first_embodiment import first_embodiment
from rosbag_tools.bootstrap.sensors import CHECK
from rosbag_tools.bootstrap.text import find_marked_lines
from rosbag_tools.errors import BagError
from rosbag_tools.reading.reader import Bag

from .commanded import ARM, FINGER, Commanded, arm_at, grip_at, place_at


@pytest.fixture(scope="module")
def arm():
    return Commanded()


def made(path):
    with Bag.open(path) as bag:
        return first_embodiment(bag).text


def outputs(text):
    return {part.name: part for part in Embodiment.loads(text).action.parts}


@pytest.mark.parametrize("joints", ["trajectory", "joint_commands"])
@pytest.mark.parametrize("fingers", ["array", "number"])
def test_an_arm_and_its_gripper_become_two_outputs(arm, tmp_path, joints, fingers):
    text = made(arm.write(tmp_path / "bag", arm.record(joints, fingers)))
    found = outputs(text)
    assert list(found) == ["arm", "gripper"]
    assert found["arm"].names == ARM
    assert found["gripper"].names == (FINGER,)  # by how it moves: the message has no name
    assert found["gripper"].tolerance_s >= 5.0  # it is sent only when it changes
    robot = Embodiment.loads(text)
    assert robot.action.grippers == (FINGER,)
    assert robot.action.rate_hz == 50.0
    (stream,) = robot.state_streams
    assert stream.partial
    assert stream.joints == (*ARM, FINGER)


def test_a_pose_command_takes_the_measured_pose_in_its_frame(arm, tmp_path):
    text = made(arm.write(tmp_path / "bag", arm.record("pose", "array")))
    tool = outputs(text)["tool"]
    assert (tool.kind, tool.frame_id, tool.unit) == ("cartesian_pose", "base", "m")
    robot = Embodiment.loads(text)
    assert robot.stream(tool.pose).topic == "tcp_pose_broadcaster/pose"
    assert "'/block/pose': a pose may be the robot's or an object's" in text
    times = np.arange(0.0, 6.0, 0.02)
    places = np.stack([place_at(at_s) for at_s in times])
    assert (robot.lower[:3] < places.min(axis=0)).all()
    assert (robot.upper[:3] > places.max(axis=0)).all()
    assert tool.rotation_limit is not None
    assert tool.rotation_limit.velocity == pytest.approx(0.5, abs=0.15)


def test_a_twist_command_is_limited_by_the_places_that_were_reached(arm, tmp_path):
    text = made(arm.write(tmp_path / "bag", arm.record("twist", "number")))
    tool = outputs(text)["tool"]
    assert (tool.kind, tool.unit) == ("cartesian_twist", "m/s")
    limits = {limit.name: limit for limit in Embodiment.loads(text).action.limits}
    assert limits["tool.x"].velocity == pytest.approx(0.1, abs=0.005)
    assert limits["tool.x"].lower < 0.35
    assert tool.rotation_limit is not None
    assert tool.rotation_limit.velocity == pytest.approx(np.hypot(0.4, 0.1), abs=0.01)


@pytest.mark.parametrize(
    ("kinds", "frame", "left_out", "reason"),
    [
        (("trajectory", "twist"), "base", "/servo_node/delta_twist_cmds", "commands the arm by its joints"),
        (("trajectory", "joint_commands"), "base", "/arm_controller/joint_", "has more commands for 'shoulder'"),
        (("pose", "twist", "array"), "base", "/servo_node/", "has more commands for the tool"),
        (("twist", "number"), "world", "/servo_node/delta_twist_cmds", "no PoseStamped topic in its frame 'world'"),
        (("twist", "number"), "map", "/servo_node/delta_twist_cmds", "jumps when the robot corrects"),
        (("twist", "number"), "", "/servo_node/delta_twist_cmds", "its frame_id is ''"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_left_out_with_the_reason(arm, tmp_path, kinds, frame, left_out, reason):
    messages = arm.record(*kinds)
    for topic, _, message in messages:
        if topic == "/servo_node/delta_twist_cmds":
            message.header.frame_id = frame
    text = made(arm.write(tmp_path / "bag", messages))
    (line,) = [line for line in text.splitlines() if reason in line]
    assert left_out in line
    Embodiment.loads(text)


def test_when_a_pose_changes_its_frame_on_the_way_expect_it_left_out(arm, tmp_path):
    messages = arm.record("pose", "array")
    for topic, log_ns, message in messages:
        if topic == "/servo_node/pose_target_cmds" and log_ns > arm.start_ns + 3 * 10**9:
            message.header.frame_id = "tool"
    assert "it is in the frame 'tool', and others in 'base'" in made(arm.write(tmp_path / "bag", messages))


def test_values_that_no_joint_follows_get_names_to_be_filled_in(arm, tmp_path):
    messages = arm.record("trajectory")
    messages += [
        ("/lift/commands", arm.start_ns + index * 10**8, arm.numbers([np.cos(9 * index), np.sin(7 * index)]))
        for index in range(50)
    ]
    messages.sort(key=lambda item: item[1])
    types = {"/lift/commands": "std_msgs/msg/Float64MultiArray"}
    text = made(arm.write(tmp_path / "bag", messages, types=types))
    assert "lift_1" in text
    assert "lift_2" in text
    marked = [content for _, content in find_marked_lines(text)]
    assert any(
        "names in the order of the values; none of the measured joints" in content for content in marked
    )


def test_an_array_without_a_commands_name_stays_a_sense(arm, tmp_path):
    messages = [("/fingertips", *rest) if topic == "/gripper_controller/commands" else (topic, *rest)
                for topic, *rest in arm.record("trajectory", "array")]  # fmt: skip
    types = {"/fingertips": "std_msgs/msg/Float64MultiArray"}
    text = made(arm.write(tmp_path / "bag", messages, types=types))
    assert list(outputs(text)) == ["action"]
    assert [stream.topic for stream in Embodiment.loads(text).streams_of("tactile")] == ["fingertips"]


def test_when_only_a_gripper_is_there_it_is_a_single_command(arm, tmp_path):
    text = made(arm.write(tmp_path / "bag", arm.record("number")))
    found = Embodiment.loads(text)
    assert found.action.names == (FINGER,)
    assert found.action.grippers == (FINGER,)
    assert not found.action.outputs


def test_when_nothing_commands_expect_how_a_command_topic_is_known(arm, tmp_path):
    messages = [item for item in arm.record() if item[0] != "/joint_states"]
    with pytest.raises(BagError, match="whose name says so, as /gripper/command does"):
        made(arm.write(tmp_path / "bag", messages))


@pytest.mark.parametrize("kinds", [("trajectory", "array"), ("pose", "number"), ("twist", "array")])
def test_from_a_bag_to_a_checked_file_a_dataset_and_an_inspection(arm, tmp_path, capsys, kinds):
    bag, file, out = tmp_path / "bag", tmp_path / "first.yaml", tmp_path / "dataset"
    arm.write(bag, arm.record(*kinds))
    assert main(["embodiment", "init", str(bag), "--out", str(file), "--name", "mine"]) == 0
    assert main(["embodiment", "check", str(file)]) == 1
    said = capsys.readouterr().out
    marked = find_marked_lines(file.read_text())
    assert f"still to be looked at and filled in, {len(marked)} lines" in said
    assert all(f"line {number}: " in said for number, _ in marked)
    # A person fills the limits in and takes the marks away.
    file.write_text(
        file.read_text().replace("acceleration: ", "acceleration: 1").replace(f"# {CHECK}", "# looked at")
    )
    assert main(["embodiment", "check", str(file)]) == 0
    assert main(["convert", str(bag), "--embodiment", str(file), "--out", str(out)]) == 0
    assert main(["inspect", str(bag), "--embodiment", str(file)]) == 0
    said = capsys.readouterr().out
    for part in Embodiment.load(file).action.parts:
        assert f"ok    output {part.name}: /{part.topic}" in said
    dataset = open_dataset(out)
    assert dataset.length >= 50
    if "trajectory" in kinds:
        # Each command was stamped 10 ms before its time in the course.
        first = 6.0 - dataset.length / 10.0
        assert first < 0.5
        assert np.abs(dataset.action[:, :3]).max() <= np.abs(arm_at(6.0)).max() + 1.0
        assert set(np.unique(np.round(dataset.action[:, 3], 3))) == {grip_at(0.0), np.float32(grip_at(1.0))}
