# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A first embodiment file of bases, jogged joints, actions, continuous joints and joints that are silent at rest."""

from __future__ import annotations

import numpy as np
import pytest
from support.tiny_robot import MS, START_NS

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset
from hpt_ros.embodiment import Embodiment
from rosbag_tools.bootstrap.sensors import CHECK
from rosbag_tools.converting.convert import convert
from rosbag_tools.errors import BagError

from .commanded import ARM, FINGER, arm_at, grip_at
from .other_robots import ACTIONS, first


@pytest.mark.parametrize(
    ("topic", "type_", "frame"),
    [
        ("/cmd_vel", "TwistStamped", ""),
        ("/drive/command", "Twist", ""),
        ("/mecanum/reference", "TwistStamped", "base_link"),  # known by the frame that odometry measures
    ],
)
def test_a_base_is_proposed_with_the_axes_that_it_uses(others, tmp_path, topic, type_, frame):
    bag = others.write(tmp_path / "bag", others.drive(topic, frame=frame))
    found = first(bag)
    robot = Embodiment.loads(found.text)
    (base,) = robot.action.outputs
    assert (base.name, base.kind, base.names) == ("base", "base_velocity", ("vx", "wz"))
    assert (base.topic, base.type, base.frame_id) == (topic[1:], f"geometry_msgs/msg/{type_}", frame)
    assert robot.stream("odom").fields == ("twist",)
    vx, wz = robot.action.limits
    assert vx.lower == 0.0  # it never drove backwards
    assert vx.velocity == pytest.approx(0.3, abs=2e-3)
    assert (wz.lower, wz.upper) == (pytest.approx(-0.5, abs=2e-3), pytest.approx(0.5, abs=2e-3))
    assert not found.left_out
    convert([bag], tmp_path / "out", robot)
    dataset = open_dataset(tmp_path / "out")
    assert np.abs(dataset.action).max(axis=0) == pytest.approx([0.3, 0.5], abs=0.02)


def test_of_several_commands_and_odometries_one_is_taken_and_the_others_are_named(others, tmp_path):
    messages = others.drive("/cmd_vel_nav", "/cmd_vel", vy=0.1, odometry=("/odom", "/odometry/filtered"))
    found = first(others.write(tmp_path / "bag", messages))
    robot = Embodiment.loads(found.text)
    (base,) = robot.action.outputs
    assert (base.topic, base.names) == ("cmd_vel", ("vx", "vy", "wz"))
    assert [stream.topic for stream in robot.state_streams] == ["odom"]
    assert any("'/cmd_vel_nav': /cmd_vel commands the base" in line for line in found.left_out)
    assert any("'/odometry/filtered': /odom measures" in line for line in found.left_out)


def test_when_a_base_is_never_moved_expect_the_reason(others, tmp_path):
    messages = others.drive("/cmd_vel")
    for topic, _, message in messages:
        if topic == "/cmd_vel":
            message.twist = others.velocity(0.0, 0.0, 0.0)
    with pytest.raises(BagError, match="'/cmd_vel': it commands no motion at all; record a drive"):
        first(others.write(tmp_path / "bag", messages))


@pytest.mark.parametrize("form", ["velocities", "displacements"])
def test_jogged_joints_are_limited_by_where_they_were(others, tmp_path, form):
    messages = others.record()
    for index in range(300):
        stamp = START_NS + index * 20 * MS
        speed = np.array([np.cos(index * 0.02), 0.5])
        values = speed if form == "velocities" else speed * 0.02
        messages.append(
            ("/servo_node/delta_joint_cmds", stamp + MS, others.jog(stamp, ARM[:2], **{form: values}))
        )
    bag = others.write(tmp_path / "bag", sorted(messages, key=lambda item: item[1]))
    robot = Embodiment.loads(first(bag).text)
    (arm,) = robot.action.outputs
    assert (arm.kind, arm.names) == ("joint_velocity", ARM[:2])
    assert (arm.jog or "velocities") == form
    shoulder, elbow = robot.action.limits
    assert shoulder.velocity == pytest.approx(1.0, abs=2e-3)
    measured = [arm_at(at_s)[0] for at_s in np.arange(0.0, 6.0, 0.02)]
    assert shoulder.lower is not None
    assert shoulder.lower < min(measured)
    assert elbow.velocity == pytest.approx(0.5, abs=2e-3)
    convert([bag], tmp_path / "out", robot)
    np.testing.assert_allclose(open_dataset(tmp_path / "out").action[:, 1], 0.5, atol=1e-5)


def test_when_a_jogged_joint_is_not_measured_expect_the_reason(others, tmp_path):
    messages = others.record("trajectory")
    messages.append(
        ("/servo_node/delta_joint_cmds", START_NS + MS, others.jog(START_NS, ["lift"], velocities=[1.0]))
    )
    messages.append(
        (
            "/servo_node/delta_joint_cmds",
            START_NS + 9 * MS,
            others.jog(START_NS + 8 * MS, ["lift"], velocities=[1.0]),
        )
    )
    found = first(others.write(tmp_path / "bag", sorted(messages, key=lambda item: item[1])))
    (line,) = [line for line in found.left_out if "delta_joint_cmds" in line]
    assert "the velocity of 'lift', whose position no topic measures; record its joint states" in line


def with_targets(others, topic, joints, at, every=50):
    """The arm's recording with targets of an action, one now and then."""
    messages = others.record("trajectory")
    for index in range(0, 300, every):
        stamp = START_NS + index * 20 * MS
        values = at(index * 0.02)
        messages.append((topic, stamp + 2 * MS, others.joint_state(stamp, joints, values)))
    return messages


def test_a_grippers_action_is_known_by_its_targets(others, tmp_path):
    messages = with_targets(others, "/hand/gripper_cmd/target", [FINGER], lambda at_s: [grip_at(at_s)])
    bag = others.write(tmp_path / "bag", sorted(messages, key=lambda item: item[1]))
    found = first(bag)
    robot = Embodiment.loads(found.text)
    gripper = {part.name: part for part in robot.action.parts}["gripper"]
    assert (gripper.topic, gripper.type) == ("hand/gripper_cmd", "control_msgs/action/GripperCommand")
    assert gripper.tolerance_s >= 5.0
    assert robot.action.grippers == (FINGER,)
    assert f"GripperCommand  # {CHECK}: guessed from its name" in found.text
    convert([bag], tmp_path / "out", robot)
    assert open_dataset(tmp_path / "out").length > 50


def test_hidden_topics_say_the_actions_type_whatever_its_name(others, tmp_path):
    feedback_topic, feedback = others.feedback("ParallelGripperCommand")
    messages = with_targets(
        others, "/hand/driver/target", ["left", "right"], lambda at_s: [grip_at(at_s)] * 2
    )
    messages.append((feedback_topic, START_NS + MS, feedback))
    types = {"/hand/driver/target": "sensor_msgs/msg/JointState"}
    found = first(others.write(tmp_path / "bag", sorted(messages, key=lambda item: item[1]), types=types))
    robot = Embodiment.loads(found.text)
    gripper = {part.name: part for part in robot.action.parts}["gripper"]
    assert gripper.type == "control_msgs/action/ParallelGripperCommand"
    assert robot.action.grippers == ("left", "right")
    assert "guessed from its name" not in found.text


def test_a_trajectorys_action_is_sent_goals_no_faster_than_is_worth_it(others, tmp_path):
    name = ACTIONS["FollowJointTrajectory"]
    messages = [
        (f"{name}/target" if topic == "/arm_controller/joint_commands" else topic, *rest)
        for topic, *rest in others.record("joint_commands")
    ]
    types = {f"{name}/target": "sensor_msgs/msg/JointState"}
    robot = Embodiment.loads(first(others.write(tmp_path / "bag", messages, types=types)).text)
    (arm,) = robot.action.parts
    assert (arm.topic, arm.type) == (name[1:], "control_msgs/action/FollowJointTrajectory")
    assert arm.names == ARM
    assert robot.action.rate_hz == 50.0


def test_when_an_actions_goals_are_not_in_the_bag_expect_what_to_do(others, tmp_path, capsys):
    messages = others.record("trajectory")
    for kind in ("GripperCommand", "FollowJointTrajectory"):
        topic, message = others.feedback(kind)
        messages.append((topic, START_NS + MS, message))
    messages.append(("/tf", START_NS + MS, others.make("tf2_msgs/msg/TFMessage", transforms=[])))
    bag = others.write(tmp_path / "bag", sorted(messages, key=lambda item: item[1]))
    assert main(["embodiment", "init", str(bag), "--out", str(tmp_path / "first.yaml")]) == 0
    said = capsys.readouterr().out
    wanted = "sensor_msgs/msg/JointState on /hand/gripper_cmd/target too, and record that topic"
    assert (
        "'/hand/gripper_cmd': an action of control_msgs/action/GripperCommand, whose goals are no messages"
        in said
    )
    assert wanted in said
    assert "/arm_controller/joint_trajectory commands the same controller" in said
    # Nothing in this bag moves the finger, which moves.
    assert f"'/joint_states, joint {FINGER}': it moves, and no topic of the bag commands it" in said
    assert "'/tf': transforms: if the policy is to see the pose of a frame, add a state stream" in said
    assert wanted in (tmp_path / "first.yaml").read_text()


def test_a_driver_with_a_clock_of_its_own_has_its_arrivals_counted(others, tmp_path):
    messages = others.record("trajectory", "array")
    for topic, _, message in messages:
        if topic == "/left":
            message.header.stamp.sec -= START_NS // 10**9 - 60  # since boot
    bag = others.write(tmp_path / "bag", messages)
    found = first(bag)
    robot = Embodiment.loads(found.text)
    assert robot.stream("left").time == "arrival"
    assert [stream.time for stream in robot.state_streams] == ["stamp"]
    (line,) = [line for line in found.text.splitlines() if "time: arrival" in line]
    assert f"{CHECK}: its stamps are 1.7e+09 s behind their arrival" in line
    convert([bag], tmp_path / "out", robot)
    assert open_dataset(tmp_path / "out").length > 50


def test_when_every_stamp_is_of_another_clock_expect_none_picked_out(others, tmp_path):
    """As of a simulation recorded without its clock: recording anew is the remedy, not arrivals."""
    messages = others.record("trajectory", "array")
    for _, _, message in messages:
        if hasattr(message, "header"):
            message.header.stamp.sec -= START_NS // 10**9 - 60
    assert "time: arrival" not in first(others.write(tmp_path / "bag", messages)).text
