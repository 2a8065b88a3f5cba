# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags of robots as they are: messages of any type, tools that transforms measure, commands of many points, or none."""

from __future__ import annotations

import numpy as np
import pytest
from support.custom_bags import at, first, with_topics
from support.tiny_robot import MS, START_NS

from hpt_ros.dataset import open_dataset
from hpt_ros.embodiment import Embodiment
from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.errors import BagError
from rosbag_tools.reading.inspection import inspect
from rosbag_tools.reading.reader import Bag


def hand(robot, stamp_ns, bend):
    fingers = [
        robot.make("my_msgs/msg/Finger", bend=bend, touches=bend > 0.5),
        robot.make("my_msgs/msg/Finger", bend=0.0, touches=False),
    ]
    return robot.make("my_msgs/msg/Hand", header=robot.header(stamp_ns), fingers=fingers, name="left")


def test_numbers_of_a_type_that_only_the_bag_knows_become_state_and_action(maker, tmp_path):
    further = [("/hand", ns + 2 * MS, hand(maker, ns, index / 60)) for index, ns in enumerate(at())]
    further += [
        ("/hand/grip", ns, maker.make("control_msgs/msg/GripperCommand", position=index / 60, max_effort=1.0))
        for index, ns in enumerate(at())
    ]
    types = {"/hand": "my_msgs/msg/Hand", "/hand/grip": "control_msgs/msg/GripperCommand"}
    bag = with_topics(maker, tmp_path / "bag", further, types)
    text = maker.text.replace(
        "action:",
        """  - {name: hand, modality: state, topic: /hand, type: my_msgs/msg/Hand, rate_hz: 20.0, tolerance_s: 0.1,
     values: ['fingers[0].bend', 'fingers[0].touches']}
action:""",
    )
    i = text.index("action:")
    text = (
        text[:i]
        + """action:
  horizon: 4
  rate_hz: 20.0
  grippers: [grip]
  outputs:
    - {name: grip, topic: /hand/grip, type: control_msgs/msg/GripperCommand, names: [grip], values: [position]}
  limits: [{name: grip, lower: 0, upper: 1, velocity: 5, acceleration: 50}]
"""
    )
    convert([bag], tmp_path / "data", Embodiment.loads(text))
    data = open_dataset(tmp_path / "data")
    assert data.embodiment.state_names[-2:] == ("hand.fingers[0].bend", "hand.fingers[0].touches")
    # The bend is linear in time, and the command holds as a gripper's does.
    np.testing.assert_allclose(np.diff(data.state[1:-1, -2]), 0.1 * 20 / 60, atol=1e-5)
    assert set(np.unique(data.state[:, -1])) <= {0.0, 0.5, 1.0} | set(np.unique(data.state[:, -1]))
    np.testing.assert_allclose(data.action[1:, 0] * 60, np.round(data.action[1:, 0] * 60), atol=1e-4)


def test_every_topic_is_in_the_first_file_or_left_out_with_a_way_to_take_it(maker, tmp_path):
    def interface(value):
        return maker.make(
            "control_msgs/msg/InterfaceValue", interface_names=["position"], values=np.array([value])
        )

    further = []
    for index, ns in enumerate(at()):
        further.append(
            (
                "/dynamic", ns,
                maker.make(
                    "control_msgs/msg/DynamicJointState", header=maker.header(ns), joint_names=["a", "b"],
                    interface_values=[interface(index * 0.01), interface(0.5)],
                ),
            )
        )  # fmt: skip
        further.append(("/hand", ns, hand(maker, ns, index / 60)))
        further.append(("/say", ns, maker.string("hello")))
        further.append(
            (
                "/gripper/command",
                ns,
                maker.make("control_msgs/msg/GripperCommand", position=index / 60, max_effort=1.0),
            )
        )
    types = {
        "/dynamic": "control_msgs/msg/DynamicJointState", "/hand": "my_msgs/msg/Hand", "/say": "std_msgs/msg/String",
        "/gripper/command": "control_msgs/msg/GripperCommand",
    }  # fmt: skip
    bag = with_topics(maker, tmp_path / "bag", further, types)
    made, robot, topics = first(bag)
    used = {f"/{topic.lstrip('/')}" for topic in robot.topics}
    assert {"a", "b"} in [set(stream.joints) for stream in robot.state_streams]
    said = {line.split("'")[1] for line in made.left_out}
    assert topics == used | said
    assert not used & said
    (hint,) = [line for line in made.left_out if line.startswith("'/hand'")]
    assert "values: [fingers[0].bend, fingers[0].touches]" in hint
    # What is proposed helps.
    proposed = made.text.replace(
        "\naction:",
        "\n  - {name: hand, modality: state, topic: /hand, type: my_msgs/msg/Hand, rate_hz: 20, tolerance_s: 0.1, "
        "values: ['fingers[0].bend']}\naction:",
    )
    assert convert([bag], tmp_path / "data", Embodiment.loads(proposed)).kept >= 20
    gripper = next(part for part in robot.action.parts if part.topic == "gripper/command")
    assert gripper.values == ("position",)
    assert set(gripper.names) <= set(robot.action.grippers)


def transform(robot, parent, child, stamp_ns, x):
    vector = robot.make("geometry_msgs/msg/Vector3", x=x, y=0.0, z=0.0)
    turn = robot.make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
    return robot.make(
        "geometry_msgs/msg/TransformStamped", header=framed(robot, stamp_ns, parent), child_frame_id=child,
        transform=robot.make("geometry_msgs/msg/Transform", translation=vector, rotation=turn),
    )  # fmt: skip


def framed(robot, stamp_ns, frame):
    stamp = robot.header(stamp_ns).stamp
    return robot.make("std_msgs/msg/Header", stamp=stamp, frame_id=frame)


def pose(robot, stamp_ns, x):
    return robot.make(
        "geometry_msgs/msg/PoseStamped", header=framed(robot, stamp_ns, "base"),
        pose=robot.make(
            "geometry_msgs/msg/Pose", position=robot.make("geometry_msgs/msg/Point", x=x, y=0.0, z=0.0),
            orientation=robot.make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
        ),
    )  # fmt: skip


def test_a_tool_that_only_transforms_measure_is_found_and_converted(maker, tmp_path):
    tf = "tf2_msgs/msg/TFMessage"
    further = [
        # Static, before all else, of which a part lies above the arm and a part below it.
        (
            "/tf_static",
            START_NS - 8 * MS,
            maker.make(
                tf,
                transforms=[
                    transform(maker, "base", "link0", 1, 0.1),
                    transform(maker, "flange", "tool0", 1, 0.02),
                ],
            ),
        ),
    ]
    for index, ns in enumerate(at(150, 20)):
        links = [
            transform(maker, "link0", "flange", ns, index / 150),
            transform(maker, "world", "cart", ns, 5.0),
        ]
        further.append(("/tf", ns + 2 * MS, maker.make(tf, transforms=links)))
        further.append(("/servo/target_pose", ns + 3 * MS, pose(maker, ns, 0.12 + index / 150)))
    types = {"/tf": tf, "/tf_static": tf, "/servo/target_pose": "geometry_msgs/msg/PoseStamped"}
    bag = with_topics(maker, tmp_path / "bag", further, types, without=("/command", "/joint_states"))
    made, robot, topics = first(bag)
    (stream,) = [item for item in robot.streams if item.frame]
    assert (stream.frame, stream.child, stream.topic) == ("base", "tool0", "tf")
    said = {line.split("'")[1] for line in made.left_out}
    assert topics == said | {f"/{topic}" for topic in robot.topics} | {"/tf_static"}
    report = convert([bag], tmp_path / "data", robot)
    assert report.kept >= 25
    data = open_dataset(tmp_path / "data")
    np.testing.assert_allclose(np.diff(data.state[1:-1, 0]), 5 / 150, atol=1e-5)
    np.testing.assert_allclose(data.state[1:-1, 0], data.action[1:-1, 0], atol=1e-5)
    with Bag.open(bag) as opened:
        named = robot.with_topics(lambda topic: f"/{topic.lstrip('/')}")
        assert not any("decoded" in note for note in inspect(opened, named).topics["/tf"].notes)


def test_when_a_frame_is_not_there_expect_the_frames_that_are(maker, tmp_path):
    tf = "tf2_msgs/msg/TFMessage"
    further = [
        ("/tf", ns, maker.make(tf, transforms=[transform(maker, "base", "tool0", ns, 0.1)])) for ns in at()
    ]
    bag = with_topics(maker, tmp_path / "bag", further, {"/tf": tf})
    text = maker.text.replace(
        "action:",
        f"  - {{name: tool, modality: state, topic: /tf, type: {tf}, rate_hz: 20.0, tolerance_s: 0.1, frame: base,\n"
        "     child: gripper}\naction:",
    )
    robot = Embodiment.loads(text)
    with pytest.raises(Exception, match=r"no frame 'gripper' among base, tool0; correct frame and child"):
        convert([bag], tmp_path / "data", robot)
    with Bag.open(bag) as opened:
        assert any("no frame 'gripper'" in note for note in inspect(opened, robot).topics["/tf"].notes)


def trajectory(robot, stamp_ns, times_s, rise):
    empty = np.zeros(0)
    points = [
        robot.make(
            "trajectory_msgs/msg/JointTrajectoryPoint", positions=np.array([rise * time_s, -rise * time_s]),
            velocities=empty, accelerations=empty, effort=empty,
            time_from_start=robot.make(
                "builtin_interfaces/msg/Duration", sec=int(time_s), nanosec=round(time_s % 1 * 1e9)
            ),
        )
        for time_s in times_s
    ]  # fmt: skip
    return robot.make(
        "trajectory_msgs/msg/JointTrajectory",
        header=robot.header(stamp_ns),
        joint_names=["a", "b"],
        points=points,
    )


def test_a_trajectory_that_is_sent_once_commands_until_its_end(maker, tmp_path):
    ns = START_NS + 100 * MS
    plan = ("/command", ns + 5 * MS, trajectory(maker, ns, [0.0, 1.0, 2.5], 0.2))
    bag = with_topics(maker, tmp_path / "bag", [plan], {}, without=("/command",))
    report = convert([bag], tmp_path / "data", maker.embodiment)
    data = open_dataset(tmp_path / "data")
    assert report.kept >= 22
    ticks_s = (report.episodes[0].spans[0].start_ns - ns) * 1e-9 + np.arange(data.length) / 10
    expected = np.clip(0.2 * ticks_s, 0.0, 0.5)
    np.testing.assert_allclose(data.action[:, 1], expected, atol=1e-4)  # b, a
    again = ("/command", ns + 2700 * MS, trajectory(maker, ns + 2690 * MS, [0.0, 0.2], 0.2))
    bag = with_topics(maker, tmp_path / "two", [plan, again], {}, without=("/command",))
    _, robot, _ = first(bag)
    assert robot.action.rate_hz == 50.0


def test_a_bag_without_commands_gets_a_file_for_the_measured_joints(maker, tmp_path):
    bag = with_topics(maker, tmp_path / "bag", [], {}, without=("/command",))
    made, robot, _ = first(bag)
    assert any("convert it with --actions state" in line for line in made.advice)
    assert set(robot.action.names) == {"a", "b"}
    assert convert([bag], tmp_path / "data", robot, Options(action_source="state")).kept >= 20


def test_when_a_topic_breaks_a_limit_of_the_schema_expect_the_file_without_it(maker, tmp_path):
    further = [
        ("/hand_camera", START_NS + index, maker.image(index, START_NS + index)) for index in range(50)
    ]
    bag = with_topics(maker, tmp_path / "bag", further, {"/hand_camera": "sensor_msgs/msg/Image"})
    made, robot, _ = first(bag)
    (line,) = [line for line in made.left_out if line.startswith("'/hand_camera'")]
    assert "rate_hz" in line
    assert {stream.topic for stream in robot.image_streams} == {"left", "right"}


SPLIT = """action:
  horizon: 4
  rate_hz: 50.0
  grippers: [a]
  outputs:
    - {name: arm, topic: /command, type: trajectory_msgs/msg/JointTrajectory, names: [b]}
    - {name: gripper, topic: /gripper/command, type: std_msgs/msg/Float64, names: [a]}
  limits:
    - {name: b, lower: -1.0, upper: 4.0, velocity: 1.0, acceleration: 1.0}
    - {name: a, lower: -1.0, upper: 1.0, velocity: 1.0, acceleration: 1.0}
"""


def test_an_output_without_commands_takes_the_measured_positions_beside_the_others_commands(maker, tmp_path):
    robot = Embodiment.loads(maker.text[: maker.text.index("action:")] + SPLIT)
    bag = with_topics(maker, tmp_path / "bag", [], {})
    with pytest.raises(BagError, match="lacks the topic '/gripper/command'"):
        convert([bag], tmp_path / "refused", robot)
    report = convert([bag], tmp_path / "data", robot, Options(measured=frozenset({"gripper"})))
    data = open_dataset(tmp_path / "data")
    assert report.measured == ["gripper"]
    assert report.kept >= 25
    # A gripper's holds: what was measured last, at most 20 ms before.
    np.testing.assert_allclose(data.action[:-1, 1], data.state[1:, 0], atol=0.02)
    plain = convert([bag], tmp_path / "plain", maker.embodiment)
    assert plain.kept >= report.kept
    np.testing.assert_allclose(
        data.action[:, 0], open_dataset(tmp_path / "plain").action[: data.length, 0], atol=1e-4
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"measured": frozenset({"griper"})}, "did you mean 'gripper'"),
        ({"measured": frozenset({"gripper"}), "action_source": "state"}, "leave --measured out"),
    ],
)
def test_when_measured_outputs_cannot_be_expect_why(maker, tmp_path, options, said):
    robot = Embodiment.loads(maker.text[: maker.text.index("action:")] + SPLIT)
    bag = with_topics(maker, tmp_path / "bag", [], {})
    with pytest.raises(BagError, match=said):
        convert([bag], tmp_path / "data", robot, Options(**options))


def test_a_joint_without_a_position_is_told(maker, tmp_path):
    messages = maker.messages()
    for topic, _, message in messages:
        if topic == "/joint_states":
            message.name = [*message.name, "wheel"]
            message.position = np.append(message.position, np.nan)
            message.velocity = np.append(message.velocity, np.nan)
    made, robot, _ = first(maker.write(tmp_path / "bag", messages))
    assert any("joint wheel" in line and "its position is never a number" in line for line in made.left_out)
    assert "wheel.position" not in robot.state_names
