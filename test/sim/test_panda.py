# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The arm's kinematics and limits against Franka's published numbers, computed here a second time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.sim.arm import ToolKinematics
from hpt_ros.sim.panda import (
    ACCELERATION_RAD_S2,
    LOWER_RAD,
    PANDA,
    POSTURE_RAD,
    UPPER_RAD,
    VELOCITY_RAD_S,
)
from hpt_ros.sim.physics import Physics
from hpt_ros.sim.robots import PANDA_ROBOT
from hpt_ros.sim.table_task import table_physics
from hpt_ros.sim.tasks.feed_dog.task import FeedDogTask
from hpt_ros.sim.tasks.feed_dog.teleoperator import LIP_IN_FLANGE, SCOOP

POSES = arrays(np.float64, 7, elements=st.floats(0.0, 1.0)).map(
    lambda fraction: LOWER_RAD + fraction * (UPPER_RAD - LOWER_RAD)
)


def published_flange(joints_rad: np.ndarray) -> np.ndarray:
    """Franka's modified DH table, each row as the textbook's single matrix (Craig, "Introduction to Robotics", 3.6)."""
    a = [0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088, 0.0]
    d = [0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0, 0.107]
    alpha = [0.0, -90.0, 90.0, 90.0, -90.0, 90.0, 90.0, 0.0]
    pose = np.eye(4)
    for a_i, d_i, alpha_deg, theta in zip(a, d, alpha, [*joints_rad, 0.0], strict=True):
        ca, sa = math.cos(math.radians(alpha_deg)), math.sin(math.radians(alpha_deg))
        ct, st_ = math.cos(theta), math.sin(theta)
        pose = pose @ np.array(
            [
                [ct, -st_, 0.0, a_i],
                [st_ * ca, ct * ca, -sa, -d_i * sa],
                [st_ * sa, ct * sa, ca, d_i * ca],
                [0.0, 0.0, 0.0, 1.0],
            ]
        )
    return pose


@pytest.fixture(scope="module")
def physics() -> Physics:
    return table_physics(FeedDogTask, PANDA_ROBOT)


@given(POSES)
def test_flange_pose_is_that_of_the_published_table(joints_rad):
    np.testing.assert_allclose(PANDA.frames(joints_rad)[7], published_flange(joints_rad), atol=1e-12)


@given(POSES)
def test_scene_has_the_published_kinematics(physics, joints_rad):
    physics.put_arm(joints_rad)
    physics.settle()
    flange = physics.data.body("panda_flange")
    wanted = published_flange(joints_rad)
    np.testing.assert_allclose(flange.xpos, wanted[:3, 3], atol=1e-9)
    np.testing.assert_allclose(flange.xmat.reshape(3, 3), wanted[:3, :3], atol=1e-9)


@given(POSES)
def test_lip_of_the_scoop_is_where_the_teleoperator_thinks(physics, joints_rad):
    physics.put_arm(joints_rad)
    physics.settle()
    wanted = published_flange(joints_rad) @ LIP_IN_FLANGE
    np.testing.assert_allclose(physics.site_position("scoop_lip"), wanted[:3, 3], atol=1e-7)
    np.testing.assert_allclose(physics.data.site("scoop_lip").xmat.reshape(3, 3), wanted[:3, :3], atol=1e-7)


def test_limits_are_the_published_ones(physics):
    lower = [-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973]
    upper = [2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973]
    np.testing.assert_array_equal(LOWER_RAD, lower)
    np.testing.assert_array_equal(UPPER_RAD, upper)
    np.testing.assert_array_equal(VELOCITY_RAD_S, [2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61])
    np.testing.assert_array_equal(ACCELERATION_RAD_S2, [15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0])
    for index, name in enumerate(physics.joint_names):
        np.testing.assert_array_equal(physics.model.joint(name).range, [lower[index], upper[index]])
        np.testing.assert_array_equal(physics.model.actuator(name).ctrlrange, [lower[index], upper[index]])
        torque = 87.0 if index < 4 else 12.0
        np.testing.assert_array_equal(physics.model.actuator(name).forcerange, [-torque, torque])


@given(POSES)
def test_jacobian_is_the_derivative_of_the_pose(joints_rad):
    pose, jacobian = SCOOP.pose_and_jacobian(joints_rad)
    step = 1e-6
    for joint in range(7):
        moved = SCOOP.pose(joints_rad + step * np.eye(7)[joint])
        np.testing.assert_allclose((moved - pose)[:3, 3] / step, jacobian[:3, joint], atol=1e-5)
        turn = (moved[:3, :3] - pose[:3, :3]) / step @ pose[:3, :3].T
        np.testing.assert_allclose([turn[2, 1], turn[0, 2], turn[1, 0]], jacobian[3:, joint], atol=1e-5)


@given(arrays(np.float64, 7, elements=st.floats(-0.25, 0.25)))
def test_inverse_kinematics_reaches_any_pose_near_the_posture(offset_rad):
    target = SCOOP.pose(POSTURE_RAD + offset_rad)
    found = SCOOP.inverse(target[None], POSTURE_RAD)[0]
    np.testing.assert_allclose(SCOOP.pose(found), target, atol=2e-4)


def test_when_the_target_is_out_of_reach_expect_the_place_named():
    target = SCOOP.pose(POSTURE_RAD)
    target[:3, 3] = [1.5, 0.0, 0.2]
    with refused(
        HptError,
        Code.UNSUPPORTED,
        subject="the arm",
        problem="cannot put its tool at (1.500, 0.000, 0.200) m",
    ):
        SCOOP.inverse(target[None], POSTURE_RAD)


def test_when_only_a_pose_beyond_the_joint_limits_fits_expect_it_refused():
    beyond = POSTURE_RAD.copy()
    beyond[3] = LOWER_RAD[3] - 0.1
    tool = ToolKinematics(PANDA, np.eye(4))
    with refused(HptError, Code.UNSUPPORTED, subject="the arm", problem="within its joint limits"):
        tool.inverse(tool.pose(beyond)[None], np.where(np.arange(7) == 3, beyond, POSTURE_RAD))
