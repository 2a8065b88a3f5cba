# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""ALOHA behind topics."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from support import suites

from hpt_ros.extras import MissingExtraError
from hpt_ros.sim.messages import Message
from hpt_ros.sim.suites.aloha.environment import COMMANDS, AlohaEnvironment
from hpt_ros.sim.suites.aloha.expert import DOWN_RAD, TIP_M, Arm, rotation

pytest.importorskip("gym_aloha", reason="the extra suites is not installed")


@pytest.fixture(scope="module")
def environment():
    made = AlohaEnvironment(task="transfer-cube")
    yield made
    made.close()


@pytest.fixture
def unseen():
    made = AlohaEnvironment(task="transfer-cube")
    made.select(())
    return made


@pytest.mark.parametrize("check", suites.CHECKS)
def test_an_environment_keeps(environment, check):
    check(environment)


def test_its_expert_solves(unseen):
    suites.check_expert(unseen, 1000)


def test_each_arm_goes_where_it_is_told_and_the_other_stays(unseen):
    before = unseen.joints
    targets = [0.2, -0.7, 0.9, 0.1, -0.2, 0.3, 0.9]
    unseen.command(COMMANDS["right"], Message(data=targets))
    unseen.advance(unseen.now_ns + 2_000_000_000)
    np.testing.assert_allclose(unseen.joints[7:], targets, atol=0.06)
    np.testing.assert_allclose(unseen.joints[:7], before[:7], atol=0.02)


def test_a_cube_that_no_gripper_touches_is_at_none_of_the_stages(unseen):
    for place in ((0.1, 0.5, 0.02), (0.1, 0.5, 0.3)):
        unseen.reset(0)
        unseen.data.qpos[16:19] = place
        unseen.advance(unseen.now_ns + 20_000_000)
        assert unseen.outcome().progress == 0.0


@pytest.mark.parametrize(("side", "towards", "pitch"), [("left", 1.0, 0.0), ("right", -1.0, DOWN_RAD)])
def test_the_inverse_of_an_arm_is_where_its_gripper_is(unseen, side, towards, pitch):
    import mujoco

    arm, tip, axes = Arm(unseen.model, side), np.array([-0.05 * towards, 0.52, 0.2]), rotation(pitch, towards)
    arm.data.qpos[arm.qpos] = arm.inverse(tip, axes, np.array([0.0, -0.96, 1.16, 0.0, -0.3, 0.0]))
    mujoco.mj_kinematics(unseen.model, arm.data)
    found = arm.data.xmat[arm.body].reshape(3, 3)
    np.testing.assert_allclose(arm.data.xpos[arm.body] + TIP_M * found[:, 0], tip, atol=1e-3)
    np.testing.assert_allclose(found, axes, atol=5e-3)


def test_without_the_package_one_sentence_names_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gym_aloha", None)
    with pytest.raises(MissingExtraError, match="'aloha/transfer-cube' needs.*make setup EXTRAS=suites"):
        AlohaEnvironment(task="transfer-cube")
