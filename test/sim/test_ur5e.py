# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The 6-joint arm: its kinematics against Universal Robots' table, computed here a second time, and its controller."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpt_ros.errors import Code, HptError
from hpt_ros.sim.arm import ToolKinematics
from hpt_ros.sim.messages import Message, stamp_message
from hpt_ros.sim.physics import Physics
from hpt_ros.sim.pose_commands import PoseCommands
from hpt_ros.sim.robots import UR5E_ROBOT
from hpt_ros.sim.table_task import table_physics
from hpt_ros.sim.tasks.switch_insertion.task import SwitchInsertionTask
from hpt_ros.sim.ur5e import POSTURE_RAD, UR5E

ANGLES = arrays(np.float64, 6, elements=st.floats(-math.pi, math.pi))
NEAR = arrays(np.float64, 6, elements=st.floats(-0.25, 0.25))
MS = 1_000_000


def published_flange(joints_rad: np.ndarray) -> np.ndarray:
    """The classical DH table, each row as the textbook's single matrix, on a base that is turned by half a rotation."""
    a = [0.0, -0.425, -0.3922, 0.0, 0.0, 0.0]
    d = [0.1625, 0.0, 0.0, 0.1333, 0.0997, 0.0996]
    alpha = [90.0, 0.0, 0.0, 90.0, -90.0, 0.0]
    pose = np.diag([-1.0, -1.0, 1.0, 1.0])
    for a_i, d_i, alpha_deg, theta in zip(a, d, alpha, joints_rad, strict=True):
        ca, sa = math.cos(math.radians(alpha_deg)), math.sin(math.radians(alpha_deg))
        ct, st_ = math.cos(theta), math.sin(theta)
        pose = pose @ np.array(
            [[ct, -st_ * ca, st_ * sa, a_i * ct], [st_, ct * ca, -ct * sa, a_i * st_], [0.0, sa, ca, d_i], [0, 0, 0, 1]]
        )  # fmt: skip
    return pose


@pytest.fixture(scope="module")
def physics() -> Physics:
    return table_physics(SwitchInsertionTask, UR5E_ROBOT)


@given(ANGLES)
def test_flange_pose_is_that_of_the_published_table(joints_rad):
    np.testing.assert_allclose(UR5E.frames(joints_rad)[6], published_flange(joints_rad), atol=1e-12)


@given(ANGLES)
def test_scene_has_the_published_kinematics_and_the_tool_where_it_is_thought(physics, joints_rad):
    physics.put_arm(joints_rad)
    physics.settle()
    wanted = published_flange(joints_rad)
    flange = physics.data.body("ur_flange")
    np.testing.assert_allclose(flange.xpos, wanted[:3, 3], atol=1e-9)
    np.testing.assert_allclose(flange.xmat.reshape(3, 3), wanted[:3, :3], atol=1e-9)
    tool = wanted @ SwitchInsertionTask.tool_in_flange
    np.testing.assert_allclose(physics.site_position("switch_end"), tool[:3, 3], atol=1e-9)


def test_limits_of_the_scene_are_those_of_the_arm(physics):
    for index, name in enumerate(UR5E.joint_names):
        limits = [UR5E.lower_rad[index], UR5E.upper_rad[index]]
        np.testing.assert_allclose(physics.model.joint(name).range, limits)
        np.testing.assert_allclose(physics.model.actuator(name).ctrlrange, limits)
        torque = 150.0 if index < 3 else 28.0
        np.testing.assert_array_equal(physics.model.actuator(name).forcerange, [-torque, torque])


TOOL = ToolKinematics(UR5E, SwitchInsertionTask.tool_in_flange)


def message(controller: PoseCommands, joints_rad: np.ndarray, due_ns: int) -> Message:
    return stamp_message(due_ns, "base", pose=controller.measure(0, joints_rad)["tool_pose"].pose)


@given(NEAR)
def test_a_pose_moves_the_joints_to_where_it_is_reached_in_time_and_no_faster_than_they_may(offset_rad):
    controller = PoseCommands(TOOL, POSTURE_RAD, 400.0)
    goal_rad = POSTURE_RAD + offset_rad
    controller.command(0, message(controller, goal_rad, 200 * MS))
    before = POSTURE_RAD
    for step in range(1, 121):
        target = controller.target(step * 2_500_000, before, np.zeros(6))
        assert (np.abs(target - before) <= UR5E.velocity_rad_s / 400.0 + 1e-12).all()
        before = target
    np.testing.assert_allclose(TOOL.pose(before), TOOL.pose(goal_rad), atol=1e-3)
    pose = TOOL.pose(goal_rad)
    np.testing.assert_allclose(controller.action(goal_rad)[3:6], pose[:3, 0])


@pytest.mark.parametrize("stamp_ns", [0, 1, 400 * MS, 1000 * MS])
def test_a_pose_whose_time_has_passed_is_gone_to_as_fast_as_the_joints_may(stamp_ns):
    controller = PoseCommands(TOOL, POSTURE_RAD, 400.0)
    goal_rad = POSTURE_RAD + 0.02
    controller.command(1000 * MS, message(controller, goal_rad, stamp_ns))
    before = POSTURE_RAD
    for step in range(40):
        target = controller.target(1000 * MS + step * 2_500_000, before, np.zeros(6))
        assert (np.abs(target - before) <= UR5E.velocity_rad_s / 400.0 + 1e-12).all()
        before = target
    np.testing.assert_allclose(TOOL.pose(before), TOOL.pose(goal_rad), atol=1e-3)
    assert controller.counts() == {"accepted": 1, "refused": 0}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"frame": "camera"}, Code.MISMATCH),
        ({"x": float("nan")}, Code.NOT_FINITE),
        ({"x": 1.6}, Code.UNSUPPORTED),
        ({"y": -0.5}, Code.OUT_OF_RANGE),
        ({"w": 0.0, "turn": 0.0}, Code.INVALID),
    ],
)
def test_a_pose_that_cannot_be_followed_is_refused_and_the_one_before_goes_on(change, code):
    controller = PoseCommands(TOOL, POSTURE_RAD, 400.0)
    sent = message(controller, POSTURE_RAD, 0)
    sent.header.frame_id = change.get("frame", "base")
    for axis in "xy":
        setattr(sent.pose.position, axis, change.get(axis, getattr(sent.pose.position, axis)))
    if "turn" in change:
        sent.pose.orientation = Message(x=0.0, y=0.0, z=0.0, w=0.0)
    with pytest.raises(HptError) as caught:
        controller.command(0, sent)
    assert caught.value.code is code
    np.testing.assert_array_equal(controller.target(2_500_000, POSTURE_RAD, np.zeros(6)), POSTURE_RAD)
