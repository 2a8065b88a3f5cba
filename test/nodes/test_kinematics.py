"""A URDF's links and limits, against a plain computation of the same chain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hpt_ros.errors import HptError
from hpt_ros.nodes.kinematics import read_urdf

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
        ("<sdf><link/></sdf>", NAMES, "a 'sdf', but a URDF's <robot>"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><robot/>", NAMES, "declares entities"),
        (URDF, ("sholder",), "no joint 'sholder'.*did you mean 'shoulder'"),
        (URDF, ("flange",), "'flange' of type 'fixed'"),
        (URDF.replace('upper="1.5"', 'upper="much"'), NAMES, "has upper 'much', but a number"),
        (URDF.replace('<parent link="lower"/>', '<parent link="nowhere"/>'), NAMES, "cannot be read"),
    ],
)
def test_when_the_urdf_is_wrong_expect_a_sentence(text, names, words):
    with pytest.raises(HptError, match=words):
        read_urdf(text, names)
