# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A first embodiment file of bases, jogged joints, actions, continuous joints and joints that are silent at rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rosbags.typesys import get_types_from_msg
from scipy.spatial.transform import Rotation
from support.tiny_robot import MS, START_NS

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset
from hpt_ros.embodiment import Embodiment
from rosbag_tools.bootstrap.first_embodiment import write_first_embodiment
from rosbag_tools.bootstrap.sensors import CHECK
from rosbag_tools.converting.convert import convert
from rosbag_tools.errors import BagError
from rosbag_tools.reading.reader import Bag

from .commanded import ARM, FINGER, Commanded, arm_at, grip_at

JOG = Path(__file__).parents[1] / "support/control_msgs/msg/JointJog.msg"
NO_TURN = Rotation.identity()
FEEDBACK = "unique_identifier_msgs/UUID goal_id\nfloat64 position\n"  # only the name is used
ACTIONS = {
    "GripperCommand": "/hand/gripper_cmd",
    "ParallelGripperCommand": "/hand/driver",
    "FollowJointTrajectory": "/arm_controller/follow_joint_trajectory",
}
URDF = """<robot name="r"><link name="base"/>
<joint name="shoulder" type="continuous"><limit effort="1" velocity="2.5"/></joint>
<joint name="elbow" type="revolute"><limit effort="1" lower="-2" upper="2" velocity="3"/></joint>
<joint name="wrist" type="revolute"><limit effort="1" lower="-0.1" upper="0.1" velocity="3"/></joint></robot>"""


class Others(Commanded):
    """Messages of robots that are driven otherwise."""

    def __init__(self) -> None:
        super().__init__()
        types = get_types_from_msg(JOG.read_text(), "control_msgs/msg/JointJog")
        for action in ACTIONS:
            types |= get_types_from_msg(FEEDBACK, f"control_msgs/action/{action}_FeedbackMessage")
        self.store.register({name: types[name] for name in types if name.startswith("control_msgs")})
        self.topics |= {
            "/cmd_vel": "geometry_msgs/msg/TwistStamped",
            "/cmd_vel_nav": "geometry_msgs/msg/TwistStamped",
            "/drive/command": "geometry_msgs/msg/Twist",
            "/mecanum/reference": "geometry_msgs/msg/TwistStamped",
            "/odom": "nav_msgs/msg/Odometry",
            "/odometry/filtered": "nav_msgs/msg/Odometry",
            "/servo_node/delta_joint_cmds": "control_msgs/msg/JointJog",
            "/robot_description": "std_msgs/msg/String",
            "/hand/gripper_cmd/target": "sensor_msgs/msg/JointState",
            "/tf": "tf2_msgs/msg/TFMessage",
            **{
                f"{name}/_action/feedback": f"control_msgs/action/{kind}_FeedbackMessage"
                for kind, name in ACTIONS.items()
            },
        }

    def velocity(self, vx, vy, wz):
        linear, angular = (
            self.make("geometry_msgs/msg/Vector3", x=v[0], y=v[1], z=v[2])
            for v in ((vx, vy, 0.0), (0.0, 0.0, wz))
        )
        return self.make("geometry_msgs/msg/Twist", linear=linear, angular=angular)

    def odometry(self, stamp_ns, twist):
        pose = self.make("geometry_msgs/msg/PoseWithCovariance", pose=self.pose(0, (0, 0, 0), NO_TURN).pose,
                         covariance=np.zeros(36))  # fmt: skip
        twist = self.make("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=np.zeros(36))
        header = self.framed(stamp_ns, "odom")
        return self.make(
            "nav_msgs/msg/Odometry", header=header, child_frame_id="base_link", pose=pose, twist=twist
        )

    def drive(self, *topics, frame="base_link", vy=0.0, odometry=("/odom",), duration_s=6.0):
        """A base driven by these topics, with a camera."""
        found = self.pictures(duration_s)
        for index in range(int(duration_s * 50)):
            stamp, at_s = START_NS + index * 20 * MS, index * 0.02
            twist = self.velocity(0.3 * np.sin(at_s) ** 2, vy, 0.5 * np.cos(at_s))
            found += [(topic, stamp + MS, self.odometry(stamp, twist)) for topic in odometry]
            for topic in topics:
                message = twist
                if self.topics[topic].endswith("Stamped"):
                    message = self.make(
                        "geometry_msgs/msg/TwistStamped", header=self.framed(stamp, frame), twist=twist
                    )
                found.append((topic, stamp + 2 * MS, message))
        return sorted(found, key=lambda item: item[1])

    def pictures(self, duration_s):
        stamps = [START_NS + index * 100 * MS for index in range(int(duration_s * 10))]
        return [("/left", stamp + 3 * MS, self.image(index, stamp)) for index, stamp in enumerate(stamps)]

    def jog(self, stamp_ns, names, *, velocities=(), displacements=()):
        return self.make(
            "control_msgs/msg/JointJog", header=self.framed(stamp_ns, ""), joint_names=list(names),
            displacements=np.array(displacements), velocities=np.array(velocities), duration=0.02,
        )  # fmt: skip

    def feedback(self, kind):
        name = f"control_msgs/action/{kind}_FeedbackMessage"
        uuid = self.make("unique_identifier_msgs/msg/UUID", uuid=np.zeros(16, np.uint8))
        return f"{ACTIONS[kind]}/_action/feedback", self.make(name, goal_id=uuid, position=0.0)


@pytest.fixture(scope="module")
def others():
    return Others()


def first(path):
    with Bag.open(path) as bag:
        return write_first_embodiment(bag)


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


def turning(others, robot_description=None, *, wrapped=True):
    """The arm's recording whose shoulder turns at 1.5 rad/s for 6 s, as a driver that wraps at pi reports it."""
    messages = others.record("trajectory")
    for topic, log_ns, message in messages:
        angle = 1.5 * (log_ns - START_NS) * 1e-9
        angle = float((angle + np.pi) % (2.0 * np.pi) - np.pi) if wrapped else 0.1 * angle
        if topic == "/joint_states" and message.name == list(ARM):
            message.position[0] = angle
        elif topic == "/arm_controller/joint_trajectory":
            message.points[0].positions[0] = angle
    if robot_description:
        messages.append(("/robot_description", START_NS + MS, others.string(robot_description)))
    return sorted(messages, key=lambda item: item[1])


def test_an_angle_that_passes_pi_is_a_continuous_joints(others, tmp_path):
    bag = others.write(tmp_path / "bag", turning(others))
    found = first(bag)
    robot = Embodiment.loads(found.text)
    shoulder, elbow, _ = robot.action.limits
    assert (shoulder.continuous, shoulder.lower) == (True, None)
    assert not elbow.continuous
    assert shoulder.velocity == pytest.approx(1.5, abs=0.05)  # not the jump at pi
    assert robot.streams[-1].continuous == ("shoulder",)
    assert "they turn without end?" in found.text
    convert([bag], tmp_path / "out", robot)
    assert open_dataset(tmp_path / "out").length > 50


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_urdf_in_the_bag_gives_limits_units_and_which_joints_turn_without_end(others, tmp_path, wrapped):
    found = first(others.write(tmp_path / "bag", turning(others, URDF, wrapped=wrapped)))
    robot = Embodiment.loads(found.text)
    shoulder, elbow, wrist = robot.action.limits
    assert (shoulder.continuous, shoulder.velocity) == (True, 2.5)
    assert (elbow.lower, elbow.upper, elbow.velocity) == (-2.0, 2.0, 3.0)
    (line,) = [line for line in found.text.splitlines() if 'name: "wrist"' in line]
    assert "beyond which the bag has" in line  # to 1.2 rad, of 0.1
    (unit,) = [line for line in found.text.splitlines() if line.startswith("  unit:")]
    assert CHECK not in unit
    assert (wrist.lower, wrist.upper) == (-0.1, 0.1)


def test_a_joint_that_a_urdf_bounds_is_not_continuous_whatever_it_does(others, tmp_path):
    bounded = URDF.replace('"continuous"><limit', '"revolute"><limit lower="-7" upper="7"')
    robot = Embodiment.loads(first(others.write(tmp_path / "bag", turning(others, bounded))).text)
    assert not robot.action.limits[0].continuous


def test_when_the_description_is_no_urdf_expect_it_left_out(others, tmp_path):
    found = first(others.write(tmp_path / "bag", turning(others, "robot.urdf")))
    assert any("'/robot_description': robot_description is no XML" in line for line in found.left_out)


def speaks_while_moving(others, *, with_arm):
    """The arm's recording, whose finger is published while it moves alone: half a second of every two."""
    messages = []
    for topic, log_ns, message in others.record("trajectory", "array"):
        at_s = (log_ns - START_NS) * 1e-9
        moving = at_s % 1.0 < 0.5
        if topic == "/joint_states" and message.name == [FINGER]:
            if not with_arm and moving:
                messages.append((topic, log_ns, message))
        elif topic == "/joint_states" and with_arm and moving:
            both = others.joint_state(
                log_ns - MS, [*ARM, FINGER], [*message.position, grip_at(max(at_s - 0.05, 0.0))]
            )
            messages.append((topic, log_ns, both))
        else:
            messages.append((topic, log_ns, message))
    return messages


@pytest.mark.parametrize("with_arm", [True, False])
def test_a_joint_that_is_silent_while_it_rests_holds(others, tmp_path, with_arm):
    bag = others.write(tmp_path / "bag", speaks_while_moving(others, with_arm=with_arm))
    found = first(bag)
    robot = Embodiment.loads(found.text)
    (stream,) = robot.state_streams
    assert set(stream.joints) == {*ARM, FINGER}
    assert stream.holds == (FINGER,)
    assert stream.partial
    assert stream.rate_hz == (50.0 if with_arm else pytest.approx(100.0, abs=30.0))
    assert f'holds: ["{FINGER}"]  # {CHECK}' in found.text
    convert([bag], tmp_path / "out", robot)
    assert open_dataset(tmp_path / "out").length > 50


def test_a_joint_that_some_messages_have_for_no_reason_is_left_out_and_named(others, tmp_path):
    messages = others.record("trajectory")
    for index, (topic, _, message) in enumerate(messages):
        if topic == "/joint_states":
            if message.name == [FINGER]:
                message.name, message.position = [*ARM], arm_at(index * 0.005)
            if index % 7 == 0:
                message.name, message.position = (
                    [*message.name, "lift"],
                    np.append(message.position, 0.1 * index),
                )
    found = first(others.write(tmp_path / "bag", messages))
    assert "lift" not in {name for stream in Embodiment.loads(found.text).streams for name in stream.joints}
    (line,) = [line for line in found.left_out if "joint lift" in line]
    assert "add it to the stream's joints, with partial: true" in line


def test_a_joint_that_stands_through_its_drivers_hiccup_does_not_hold(others, tmp_path):
    messages = [
        item
        for item in others.record("trajectory", "array")
        if not (item[0] == "/joint_states" and 2.0 < (item[1] - START_NS) * 1e-9 % 3.0 < 2.9)
    ]
    for topic, _, message in messages:
        if topic == "/joint_states" and message.name == list(ARM):
            message.position[2] = 0.3  # the wrist, while the other joints move
    (stream,) = Embodiment.loads(first(others.write(tmp_path / "bag", messages)).text).state_streams
    assert set(ARM).isdisjoint(stream.holds)


def test_a_hiccup_of_a_driver_while_the_robot_moves_is_no_rest(others, tmp_path):
    messages = [
        item
        for item in others.record("trajectory", "array")
        if not (item[0] == "/joint_states" and 2.0 < (item[1] - START_NS) * 1e-9 % 3.0 < 2.9)
    ]
    (stream,) = Embodiment.loads(first(others.write(tmp_path / "bag", messages)).text).state_streams
    assert set(ARM).isdisjoint(stream.holds)
