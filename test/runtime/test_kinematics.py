# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A URDF's links and limits, against a plain computation of the same chain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.refused import refused

from hpt_ros.cli.main import main
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.policies.factory import load_policy
from hpt_ros.runtime.kinematics import read_urdf
from hpt_ros.runtime.policy_config import PolicyChoice
from hpt_ros.runtime.robot_description import with_robot_description

URDF = """<?xml version="1.0"?>
<robot name="arm">
  <link name="base"/>
  <link name="table"/>
  <link name="upper"><visual><geometry><mesh filename="package://none/upper.stl"/></geometry></visual></link>
  <link name="lower"><collision><geometry><mesh filename="package://none/lower.stl"/></geometry></collision></link>
  <link name="rail"/>
  <link name="tool"/>
  <link name="finger"/>
  <joint name="fixed_table" type="fixed"><parent link="base"/><child link="table"/><origin xyz="1 0 0"/></joint>
  <joint name="shoulder" type="revolute"><parent link="base"/><child link="upper"/>
    <origin xyz="0 0 0.3" rpy="0 0 0.5"/><axis xyz="0 1 0"/>
    <limit lower="-2" upper="1.5" velocity="3" effort="9"/></joint>
  <joint name="elbow" type="continuous"><parent link="upper"/><child link="lower"/>
    <origin xyz="0.4 0 0"/><axis xyz="0 1 0"/></joint>
  <joint name="slide" type="prismatic"><parent link="lower"/><child link="rail"/>
    <origin xyz="0.3 0 0"/><axis xyz="1 0 0"/><limit lower="0" upper="0.2" velocity="0" effort="9"/></joint>
  <joint name="flange" type="fixed"><parent link="rail"/><child link="tool"/><origin xyz="0 0 0.1"/></joint>
  <joint name="grip" type="prismatic"><parent link="tool"/><child link="finger"/><axis xyz="0 1 0"/>
    <limit lower="0" upper="0.1" velocity="1" effort="1"/><mimic joint="slide" multiplier="0.5" offset="0.01"/></joint>
</robot>
"""
NAMES = ("slide", "shoulder", "elbow")


def rotation(axis: str, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]] if axis == "y" else [[c, -s, 0], [s, c, 0], [0, 0, 1]])


def plain(slide: float, shoulder: float, elbow: float) -> dict[str, np.ndarray]:
    found = {"upper": np.array([0.0, 0.0, 0.3])}
    turned = rotation("z", 0.5) @ rotation("y", shoulder)
    found["lower"] = found["upper"] + turned @ [0.4, 0, 0]
    turned = turned @ rotation("y", elbow)
    found["rail"] = found["lower"] + turned @ [0.3 + slide, 0, 0]
    found["tool"] = found["rail"] + turned @ [0, 0, 0.1]
    found["finger"] = found["tool"] + turned @ [0, 0.5 * slide + 0.01, 0]
    return found


@settings(max_examples=30)
@given(hnp.arrays(np.float64, 3, elements=st.floats(-3, 3)))
def test_when_joints_move_expect_every_moving_link_where_a_plain_chain_puts_it(position):
    kinematics = read_urdf(URDF, NAMES).kinematics
    expected = plain(*position)
    assert set(kinematics.links) == set(expected)
    for name, origin in zip(kinematics.links, kinematics.origins(position), strict=True):
        np.testing.assert_allclose(origin, expected[name], atol=1e-9)


def test_limits_are_those_of_the_urdf_in_the_order_asked_for():
    slide, shoulder, elbow = read_urdf(URDF, NAMES).limits
    assert (shoulder.lower, shoulder.upper, shoulder.velocity) == (-2.0, 1.5, 3.0)
    assert (elbow.lower, elbow.upper, elbow.velocity) == (-np.inf, np.inf, np.inf)
    assert (slide.lower, slide.upper, slide.velocity) == (0.0, 0.2, np.inf)


@pytest.mark.parametrize(
    ("text", "names", "words"),
    [
        ("/opt/robot.urdf", NAMES, "no XML"),
        ("<sdf><link/></sdf>", NAMES, "a 'sdf', expected a URDF's <robot>"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><robot/>", NAMES, "declares entities"),
        (URDF, ("sholder",), "no joint 'sholder'.*did you mean 'shoulder'"),
        (URDF, ("flange",), "'flange' of type 'fixed'"),
        (URDF.replace('upper="1.5"', 'upper="much"'), NAMES, "has upper 'much', expected a number"),
        (URDF.replace('<parent link="lower"/>', '<parent link="nowhere"/>'), NAMES, "cannot be read"),
    ],
)
def test_when_the_urdf_is_wrong_expect_a_sentence(text, names, words):
    with pytest.raises(HptError, match=words):
        read_urdf(text, names)


FILE = """
format: hpt_ros/embodiment/1
name: arm
tick_hz: 10.0
streams:
  - {name: joints, modality: state, topic: /joint_states, type: sensor_msgs/msg/JointState, rate_hz: 100.0,
     tolerance_s: 0.1, joints: [shoulder, elbow, slide], fields: [position]}
action:
  topic: /command
  type: trajectory_msgs/msg/JointTrajectory
  names: [shoulder, elbow, slide]
  horizon: 4
  limits:
    - {name: shoulder, upper: 1.0, acceleration: 9.0}
    - {name: elbow, lower: -3.0, upper: 3.0, velocity: 2.0, acceleration: 9.0}
    - {name: slide, velocity: 0.5, acceleration: 2.0}
"""


def test_limits_that_the_file_leaves_out_are_the_urdfs_and_the_others_the_files():
    robot, kinematics = with_robot_description(Embodiment.loads(FILE), URDF)
    np.testing.assert_array_equal(robot.lower, [-2.0, -3.0, 0.0])
    np.testing.assert_array_equal(robot.upper, [1.0, 3.0, 0.2])
    np.testing.assert_array_equal(robot.max_velocity, [3.0, 2.0, 0.5])
    np.testing.assert_array_equal(robot.max_acceleration, [9.0, 9.0, 2.0])
    assert kinematics is not None
    assert with_robot_description(robot, URDF)[0] == robot  # once more changes nothing


@pytest.mark.parametrize(
    ("left_out", "urdf", "words"),
    [
        (", velocity: 0.5", URDF, "neither embodiment 'arm' nor robot_description has the velocity limit of 'slide'"),
        ("lower: -3.0, ", URDF, "nor robot_description has the lower limit of 'elbow'"),
        (
            "", URDF.replace('lower="-2" upper="1.5"', 'lower="1.2" upper="1.5"'),
            "'shoulder' has lower 1.2 and upper 1 in embodiment 'arm' and robot_description together",
        ),
        ("", URDF.replace('upper="1.5"', 'upper="0.5"'), "has the upper limit 1 for 'shoulder', but .* says 0.5"),
    ],
)  # fmt: skip
def test_when_neither_has_a_limit_or_both_contradict_expect_a_sentence(left_out, urdf, words):
    robot = Embodiment.loads(FILE.replace(left_out, ""))
    with pytest.raises(HptError, match=words):
        with_robot_description(robot, urdf)


def test_the_baseline_moves_within_the_urdfs_limits_and_without_a_urdf_it_is_refused(tmp_path):
    file = tmp_path / "arm.yaml"
    file.write_text(FILE, encoding="utf-8")
    loaded = PolicyChoice(policy="random", embodiment=str(file)).load(URDF)
    assert loaded.embodiment.max_velocity[0] == 3.0
    with refused(
        HptError,
        Code.MISSING,
        subject="embodiment 'arm'",
        value="shoulder",
        problem="to robot_description, which is not given",
    ):
        load_policy("random", checkpoint="", embodiment_file=str(file))


def test_hpt_embodiment_check_shows_what_is_left_out_and_with_a_urdf_its_limits(tmp_path, capsys):
    file, urdf = tmp_path / "arm.yaml", tmp_path / "arm.urdf"
    file.write_text(FILE, encoding="utf-8")
    urdf.write_text(URDF, encoding="utf-8")
    assert main(["embodiment", "check", str(file)]) == 0
    assert (
        "shoulder: (robot_description's) to 1 rad, (robot_description's) rad/s, 9 rad/s^2"
        in capsys.readouterr().out
    )
    assert main(["embodiment", "check", str(file), "--urdf", str(urdf)]) == 0
    said = capsys.readouterr().out
    assert "shoulder: -2 to 1 rad, 3 rad/s, 9 rad/s^2" in said
    assert "robot_description" not in said
    assert main(["embodiment", "check", str(file), "--urdf", str(tmp_path / "none")]) == 2
    assert "--urdf" in capsys.readouterr().err
