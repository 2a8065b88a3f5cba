# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Numbers by their paths, of messages of rclpy and of bags alike; and commands written to them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Twist
from hypothesis import given
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float32, Float32MultiArray, Float64, Int32, String

from hpt_ros.embodiment import Embodiment, EmbodimentError
from hpt_ros.embodiment.message_types.base import Sending
from hpt_ros.embodiment.message_types.by_path import is_path, read, steps
from hpt_ros.observation import DecodeError, InvalidSampleError, decode, decode_command

TEXT = """
format: hpt_ros/embodiment/1
name: tiny
tick_hz: 10.0
streams:
  - {name: grip, modality: state, topic: /grip, type: std_msgs/msg/Float32, rate_hz: 10.0, tolerance_s: 0.1,
     values: [data], joints: [finger]}
action:
  horizon: 4
  grippers: [finger]
  outputs:
    - {name: gripper, topic: /grip/command, type: std_msgs/msg/Bool, names: [finger], values: [data]}
  limits: [{name: finger, lower: 0, upper: 1, velocity: 5, acceleration: 50}]
"""


def controller_state(names, positions):
    """As control_msgs/JointTrajectoryControllerState."""
    return SimpleNamespace(joint_names=names, feedback=SimpleNamespace(positions=positions))


@pytest.mark.parametrize(
    ("message", "path", "expected"),
    [
        (Float32(data=2.5), "data", 2.5),
        (Bool(data=True), "data", 1.0),
        (Int32(data=-7), "data", -7.0),
        (Float32MultiArray(data=[1.0, 2.0, 3.0]), "data[1]", 2.0),
        (Float32MultiArray(data=[1.0, 2.0, 3.0]), "data[-1]", 3.0),
        (JointState(name=["a", "elbow"], effort=[1.0, 4.0]), "effort[name=elbow]", 4.0),
        (controller_state(["a", "b/c.d"], [1.0, 9.0]), "feedback.positions[joint_names=b/c.d]", 9.0),
        (
            SimpleNamespace(
                joint_names=["j1", "j2"],
                interface_values=[
                    SimpleNamespace(interface_names=["position"], values=[1.0]),
                    SimpleNamespace(interface_names=["position", "effort"], values=[2.0, 3.0]),
                ],
            ),
            "interface_values[joint_names=j2].values[interface_names=effort]",
            3.0,
        ),
    ],
)
def test_a_path_leads_to_its_number(message, path, expected):
    assert is_path(path)
    assert read(message, path, "it") == expected


@pytest.mark.parametrize(
    ("message", "path", "kind", "said"),
    [
        (Float32(), "date", DecodeError, "no field 'date'.*did you mean 'data'"),
        (String(data="x"), "data", DecodeError, "has a str at 'data', expected a number"),
        (Twist(), "linear", DecodeError, "has a Vector3 at 'linear'"),
        (Float32(), "data[0]", DecodeError, "no list at"),
        (Float32MultiArray(data=[1.0]), "data[1]", InvalidSampleError, "list of 1 values"),
        (
            JointState(name=["a"], effort=[1.0]),
            "effort[name=b]",
            DecodeError,
            "no 'b' among name, expected one of a",
        ),
        (JointState(name=["a"]), "effort[name=a]", InvalidSampleError, "list of 0 values"),
        (JointState(), "effort[name=a]", InvalidSampleError, "without name"),
        (JointState(name=["a"]), "effort[names=a]", DecodeError, "no list 'names' beside"),
    ],
)
def test_when_a_path_leads_nowhere_expect_it_said(message, path, kind, said):
    with pytest.raises(kind, match=said):
        read(message, path, "it")


@given(st.text(max_size=30))
def test_whatever_a_path_is_expect_steps_that_make_it_again(text):
    if not is_path(text):
        return
    made = ""
    for step in steps(text):
        if isinstance(step, tuple):
            made += f"[{step[0]}={step[1]}]"
        else:
            made += f"[{step}]" if isinstance(step, int) else f".{step}" if made else step
    assert [str(step) for step in steps(made)] == [str(step) for step in steps(text)]


def test_messages_of_a_bag_and_of_the_robot_give_the_same_numbers():
    store = get_typestore(Stores.ROS2_KILTED)
    live = DiagnosticArray(status=[DiagnosticStatus(level=b"\2", values=[KeyValue(key="k", value="v")])])
    twist = Twist()
    twist.angular.z = 0.25
    stored = store.types["geometry_msgs/msg/Twist"](
        linear=store.types["geometry_msgs/msg/Vector3"](x=0.0, y=0.0, z=0.0),
        angular=store.types["geometry_msgs/msg/Vector3"](x=0.0, y=0.0, z=0.25),
    )
    assert read(twist, "angular.z", "it") == read(stored, "angular.z", "it") == 0.25
    with pytest.raises(DecodeError, match="has no field 'z'; there is|no field 'z'"):
        read(live, "status[0].z", "it")


def test_a_stream_and_an_output_of_any_type():
    robot = Embodiment.loads(TEXT)
    assert robot.state_names == ("finger.position",)
    assert robot.space.states.joint_indices().tolist() == [0]
    assert Embodiment.loads(robot.to_yaml()) == robot
    np.testing.assert_array_equal(decode(robot.streams[0], Float32(data=0.5)), [0.5])
    (output,) = robot.action.parts
    time_ns, vector = decode_command(output, Bool(data=True), 7)
    assert (time_ns, vector.tolist()) == (7, [1.0])
    with pytest.raises(InvalidSampleError, match="value inf for 'finger.position'"):
        decode(robot.streams[0], Float32(data=float("inf")))


@pytest.mark.parametrize(
    ("kind", "path", "position", "expected"),
    [
        (Bool, "data", 0.7, True), (Bool, "data", 0.2, False), (Float64, "data", 0.25, 0.25), (Int32, "data", 2.6, 3),
    ],
)  # fmt: skip
def test_a_command_is_written_as_it_is_read(kind, path, position, expected):
    name = f"std_msgs/msg/{kind.__name__}"
    robot = Embodiment.loads(TEXT.replace("std_msgs/msg/Bool", name))
    (output,) = robot.action.parts
    told = SimpleNamespace(time_ns=5, position=np.array([position]))
    message = output.command.encode(told, output, Sending(lambda type_: kind, 5))
    assert message.data == expected
    assert decode_command(output, message, 5)[1].tolist() == [float(expected)]


def test_a_command_to_a_place_in_an_array():
    robot = Embodiment.loads(
        TEXT.replace("std_msgs/msg/Bool", "std_msgs/msg/Float32MultiArray").replace("[data]}", "['data[2]']}")
    )
    (output,) = robot.action.parts
    told = SimpleNamespace(time_ns=5, position=np.array([0.5]))
    message = output.command.encode(told, output, Sending(lambda type_: Float32MultiArray, 5))
    assert message.data.tolist() == [0.0, 0.0, 0.5]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "values: [data], joints",
            "joints",
            "no values give the paths of its numbers",
        ),
        ("std_msgs/msg/Float32", "Float32", "expected one such as std_msgs/msg/Float32"),
        ("values: [data], joints: [finger]", "values: [data, data]", "the path 'data' among its values"),
        ("values: [data], joints: [finger]", "values: ['data..x']", "the path 'data..x'"),
        ("joints: [finger]", "joints: [finger, thumb]", "1 values and 2 joints"),
        ("names: [finger], values: [data]", "names: [finger], values: [data, data]", "2 values and 1 names"),
        (
            "names: [finger], values: [data]",
            "names: [finger], values: ['a[b=c]']",
            "since a command is written to them",
        ),
        ("names: [finger], values: [data]", "names: [finger]", "no values give the paths of its numbers"),
    ],
)
def test_when_a_file_has_wrong_paths_expect_it_said(old, new, said):
    with pytest.raises(EmbodimentError, match=said):
        Embodiment.loads(TEXT.replace(old, new))
