# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The task: resets, success, and that doing nothing is none."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.errors import HptError
from hpt_ros.sim.table_task import START_JITTER_RAD
from hpt_ros.sim.tasks.feed_dog.scene import FeedDogScene
from hpt_ros.sim.tasks.feed_dog.task import BOWL_X_M, BOWL_Y_M, START_RAD
from hpt_ros.sim.tasks.feed_dog.teleoperator import BIN_HEADING_RAD, BIN_XY_M, ScriptedTeleoperator


@pytest.fixture(scope="module")
def env() -> FeedDogScene:
    return FeedDogScene()


def state_after_reset(env: FeedDogScene, seed: int) -> np.ndarray:
    env.reset(seed)
    return np.concatenate([env.physics.data.qpos, env.physics.data.qvel, env.task.bowl_xy_m])


def play(env: FeedDogScene, seed: int) -> int:
    env.reset(seed)
    teleop = ScriptedTeleoperator(env.task.bowl_xy_m, env.physics.joint_positions_rad, seed=seed)
    while not teleop.is_done(env.time_s):
        env.step(teleop.target(env.time_s))
    return env.task.kibble_in_bowl()


def test_when_the_seed_is_the_same_expect_the_same_start(env):
    first = state_after_reset(env, 3)
    env.step(START_RAD + 0.05)
    np.testing.assert_array_equal(state_after_reset(env, 3), first)
    np.testing.assert_array_equal(state_after_reset(FeedDogScene(), 3), first)
    assert (state_after_reset(env, 4) != first).any()


def test_reset_keeps_to_its_region_and_jitter_and_covers_the_region(env):
    places = []
    for seed in range(60):
        env.reset(seed)
        places.append(env.task.bowl_xy_m)
        assert np.abs(env.physics.joint_positions_rad - START_RAD).max() <= START_JITTER_RAD
        assert env.task.kibble_in_bowl() == 0
    low, high = np.min(places, axis=0), np.max(places, axis=0)
    region = np.array([BOWL_X_M, BOWL_Y_M])
    assert (low >= region[:, 0]).all()
    assert (high <= region[:, 1]).all()
    assert (high - low > 0.8 * (region[:, 1] - region[:, 0])).all()


def test_reset_does_not_turn_the_clock_back(env):
    env.reset(0)
    env.step(START_RAD)
    before_s = env.physics.time_s
    env.reset(1)
    assert env.physics.time_s == before_s
    assert env.time_s == 0.0


def test_bin_stands_where_the_teleoperator_thinks(env):
    body = env.physics.model.body("bin")
    np.testing.assert_allclose(body.pos[:2], BIN_XY_M)
    np.testing.assert_allclose(2 * np.arctan2(body.quat[3], body.quat[0]), BIN_HEADING_RAD, atol=1e-7)


def test_kibble_lies_in_the_bin_after_a_reset(env):
    env.reset(0)
    before = env.physics.piece_poses[:, :3]
    for _ in range(25):
        env.step(START_RAD)
    assert (
        np.abs(env.physics.piece_poses[:, :3] - before).max() < 0.012
    )  # half a piece: the heap creeps a little
    assert np.hypot(*(before[:, :2] - BIN_XY_M).T).max() < 0.115
    assert before[:, 2].min() > 0.0


def test_when_nothing_is_done_expect_no_success(env):
    env.reset(5)
    start_rad = env.physics.joint_positions_rad
    for _ in range(400):
        env.step(start_rad)
    result = env.result()
    assert not result.success
    assert result.progress == 0.0
    assert env.task.kibble_in_bowl() == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_when_the_teleoperator_plays_expect_success(env, seed):
    assert play(env, seed) >= env.task.needed
    assert env.result().success
    assert env.result().progress == 1.0
    assert "rest in the bowl" in env.result().detail


def test_when_the_arm_is_disturbed_expect_the_teleoperator_to_succeed_all_the_same():
    disturbed = FeedDogScene(disturbance_rad=0.02)
    assert play(disturbed, 1) >= disturbed.task.needed


@pytest.mark.slow
@pytest.mark.parametrize("disturbance_rad", [0.0, 0.02])
def test_teleoperator_succeeds_in_more_than_95_percent(disturbance_rad):
    env = FeedDogScene(disturbance_rad=disturbance_rad)
    counts = [play(env, seed) for seed in range(40)]
    assert sum(count >= env.task.needed for count in counts) > 0.95 * len(counts)


def test_kibble_counts_only_when_it_rests_in_the_bowl(env):
    env.reset(0)
    physics, bowl = env.physics, env.task.bowl_xy_m
    poses = physics.piece_poses
    poses[: env.task.needed, :3] = [*bowl, 0.02]
    poses[: env.task.needed, 0] += 0.025 * (np.arange(env.task.needed) - 1.5)
    poses[env.task.needed, :3] = [*bowl, 0.15]  # still above the rim
    poses[env.task.needed + 1, :3] = [bowl[0] + 0.12, bowl[1], 0.012]  # beside it
    physics.put_pieces(poses)
    physics.settle()
    assert env.task.kibble_in_bowl() == env.task.needed


def test_when_the_control_period_is_no_multiple_of_the_step_expect_both_named():
    with pytest.raises(HptError, match=r"control period of 0\.003 s is no whole multiple .* of 0\.0025 s"):
        FeedDogScene(control_period_s=0.003)


def test_tail_wags(env):
    env.reset(0)
    seen = []
    for _ in range(30):
        env.step(START_RAD)
        seen.append(env.physics.data.mocap_quat[env.physics.model.body("dog_tail").mocapid[0]].copy())
    assert np.ptp(seen, axis=0).max() > 0.05
