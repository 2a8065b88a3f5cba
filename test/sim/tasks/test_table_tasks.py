# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Tasks at the arm's table: experts that solve them, starts that a seed draws, and success that is judged right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.evaluation.expert import ExpertRollout
from hpt_ros.evaluation.rollout import RolloutConfig
from hpt_ros.sim.arm import ToolKinematics
from hpt_ros.sim.environment import make_environment
from hpt_ros.sim.messages import stamp_message
from hpt_ros.sim.movement import MISTAKES, NO_SPREAD, STANDARD_SPREAD, tool_pose
from hpt_ros.sim.panda import PANDA
from hpt_ros.sim.robots import PANDA_ROBOT
from hpt_ros.sim.table_task import TableTask, table_physics
from hpt_ros.sim.tasks.feed_dog.environment import FeedDogEnvironment
from hpt_ros.sim.tasks.fill_water.task import FillWaterTask
from hpt_ros.sim.tasks.sweep_leftovers import task as sweep
from hpt_ros.sim.tasks.sweep_leftovers.task import SweepLeftoversTask
from hpt_ros.sim.tasks.switch_insertion import task as switch
from hpt_ros.sim.tasks.switch_insertion.task import SwitchInsertionTask
from hpt_ros.sim.transport import Transport
from hpt_ros.sim.variation import STANDARD, Variation

MS = 1_000_000
TASKS = (SweepLeftoversTask, FillWaterTask, SwitchInsertionTask)
NEW = [f"{task.name}{robot}" for task in TASKS for robot in ("", "_ur5e")] + ["feed_dog_ur5e"]


def made(task: type[TableTask], variation: Variation = STANDARD) -> TableTask:
    kinematics = ToolKinematics(PANDA, task.tool_in_flange)
    return task(table_physics(task, PANDA_ROBOT, variation), kinematics, variation)


@pytest.fixture(scope="module")
def tasks() -> dict[type[TableTask], TableTask]:
    return {task: made(task) for task in TASKS}


def state(task: TableTask) -> np.ndarray:
    data = task.physics.data
    return np.concatenate([data.qpos, data.qvel, data.mocap_pos.ravel(), data.mocap_quat.ravel()])


@pytest.mark.parametrize("name", NEW)
def test_the_expert_solves_a_scene(name):
    environment = make_environment(name)
    try:
        episode = ExpertRollout(environment).episode(1001)
        assert episode.success, episode.detail
        assert episode.refused == 0
        assert episode.duration_s > 3.0
    finally:
        environment.close()


def test_a_scene_that_the_arm_cannot_demonstrate_is_one_that_the_expert_fails():
    """This seed's jug would have to be where the wrist ends; the next one is as any other."""
    environment = make_environment("fill_water", variation=Variation(area=2.0))
    try:
        rollout = ExpertRollout(environment, RolloutConfig(time_limit_s=1.0))
        episode = rollout.episode(1215)
        assert not episode.success
        assert "the expert has no plan: the arm cannot put its tool at" in episode.detail
        assert episode.refused == 0
        assert episode.limits_used < 0.01
        assert "no plan" not in rollout.episode(1216).detail
    finally:
        environment.close()


@pytest.mark.parametrize("kind", TASKS)
def test_a_seed_draws_the_same_start_whatever_happened_before(tasks, kind):
    task = tasks[kind]
    task.physics.start_clock(0.0)
    task.reset(3)
    first = state(task)
    task.physics.step(40)
    task.reset(4)
    assert (state(task) != first).any()
    task.physics.start_clock(0.0)  # the tail knows the time
    task.reset(3)
    np.testing.assert_array_equal(state(task), first)
    assert not task.result().success
    assert task.result().progress < 0.7


@pytest.mark.parametrize("kind", TASKS)
def test_nothing_stirs_where_nothing_is_done(tasks, kind):
    task = tasks[kind]
    task.reset(5)
    before = task.result()
    task.physics.step(round(1.0 / task.physics.timestep_s))
    assert task.result().progress == pytest.approx(before.progress, abs=0.02)
    if task.physics.piece_count:
        assert task.physics.piece_speeds_m_s.max() < 0.1


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(area=st.floats(0.0, 2.0), orientation=st.floats(0.0, 0.4), seed=st.integers(0, 2**32))
@pytest.mark.parametrize("kind", [SweepLeftoversTask, SwitchInsertionTask])
def test_objects_stay_in_their_area_and_a_demonstration_reaches_them(tasks, kind, area, orientation, seed):
    task = tasks[kind]
    task.variation = Variation(area=area, orientation_rad=orientation)
    try:
        task.reset(seed)
        body, (xs, ys) = {
            SweepLeftoversTask: ("mat", (sweep.MAT_X_M, sweep.MAT_Y_M)),
            SwitchInsertionTask: ("panel", (switch.PANEL_X_M, switch.PANEL_Y_M)),
        }[kind]
        for value, (low, high) in zip(task.physics.body_position(body), (xs, ys), strict=False):
            assert abs(value - 0.5 * (low + high)) <= 0.5 * np.sqrt(area) * (high - low) + 1e-9
        start_rad = task.physics.joint_positions_rad
        plan = task.teleoperator(start_rad, seed, STANDARD_SPREAD)
        np.testing.assert_allclose(plan.target(0.0), start_rad, atol=1e-6)
        assert plan.duration_s + 1.0 < task.time_limit_s
    finally:
        task.variation = STANDARD


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(area=st.floats(0.0, 1.0), seed=st.integers(0, 2**32))
def test_the_jug_is_carried_to_every_bowl(tasks, area, seed):
    task = tasks[FillWaterTask]
    task.variation = Variation(area=area)
    try:
        task.reset(seed)
        plan = task.teleoperator(task.physics.joint_positions_rad, seed, STANDARD_SPREAD)
        assert plan.duration_s + 1.0 < task.time_limit_s
    finally:
        task.variation = STANDARD


def test_kibble_counts_where_it_rests_on_the_mat(tasks):
    task = tasks[SweepLeftoversTask]
    task.reset(1)
    physics, mat = task.physics, task.physics.body_position("mat")
    poses = physics.piece_poses
    needed = int(np.ceil(task.needed * len(poses)))
    index = np.arange(needed)
    poses[:needed, 0] = mat[0] + 0.03 * (index % 4 - 1.5)
    poses[:needed, 1] = mat[1] + 0.03 * (index // 4 - 1.0)
    physics.put_pieces(poses)
    physics.settle()
    assert task.result().success
    assert task.result().progress == 1.0
    poses[0, 0] = mat[0] + sweep.MAT_HALF_M[0] + 0.005  # beside it
    physics.put_pieces(poses)
    physics.settle()
    assert not task.result().success
    assert task.result().progress == pytest.approx((needed - 1) / needed)


def test_water_counts_where_it_rests_in_the_bowl(tasks):
    task = tasks[FillWaterTask]
    task.reset(1)
    physics, bowl = task.physics, task.physics.body_position("bowl")
    poses = physics.piece_poses
    needed = int(np.ceil(task.needed * len(poses)))
    index = np.arange(needed)
    poses[:needed, :2] = bowl[:2] + 0.019 * np.stack([index % 5 - 2.0, index // 5 - 2.0], axis=1)
    poses[:needed, 2] = 0.02
    physics.put_pieces(poses)
    physics.settle()
    assert task.result().success
    poses[0, 2] = 0.12  # above the rim
    physics.put_pieces(poses)
    physics.settle()
    assert not task.result().success


def test_the_switch_is_in_only_when_it_is_deep_in_the_cut_out(tasks):
    task = tasks[SwitchInsertionTask]
    task.reset(1)
    x, y, _ = task.physics.body_position("panel")

    def at(dx: float, height: float):
        tool = tool_pose(np.array([[x + dx, y, height, 0.0, 0.0, 0.0]]))
        task.physics.put_arm(task.kinematics.inverse(tool, task.posture_rad)[0])
        task.physics.settle()
        return task.result()

    far, above, half, inside = at(-0.1, 0.15), at(0.0, 0.08), at(0.0, 0.03), at(0.0, 0.012)
    assert [item.success for item in (far, above, half, inside)] == [False, False, False, True]
    assert far.progress < above.progress < half.progress < inside.progress == 1.0
    assert not at(0.05, 0.012).success  # beside the cut-out
    led = task.physics.model.geom("led").rgba
    task.animate()
    red = led.copy()
    at(0.0, 0.012)
    task.animate()
    assert led[1] > red[1]


def test_some_demonstrations_fail_as_a_persons_do_and_none_without_spread(tasks):
    task = tasks[SwitchInsertionTask]
    task.reset(1)
    start_rad, panel = task.physics.joint_positions_rad, task.physics.body_position("panel")[:2]

    def misses(spread, count: int) -> float:
        ends = []
        for seed in range(count):
            plan = task.teleoperator(start_rad, seed, spread)
            ends.append(task.kinematics.pose(plan.target(plan.duration_s))[:2, 3])
        return float((np.linalg.norm(np.array(ends) - panel, axis=1) > 0.02).mean())

    assert 0.0 < misses(STANDARD_SPREAD, 60) < 3.0 * MISTAKES
    assert misses(NO_SPREAD, 5) == 0.0


def test_each_stream_has_a_transport_of_its_own():
    environment = FeedDogEnvironment(
        images=Transport(delay_s=0.05),
        transports={"wrist": Transport(lost=1.0), "joints": Transport(delay_s=0.1)},
    )
    try:
        environment.reset(0)
        start_ns = environment.now_ns
        samples = environment.advance(start_ns + 250 * MS)
        late = {topic: [s.arrival_ns - start_ns for s in samples if s.topic == topic] for topic in
                ("front_camera/image_raw", "wrist_camera/image_raw", "joint_states")}  # fmt: skip
        assert late["front_camera/image_raw"] == [150 * MS, 250 * MS]
        assert late["wrist_camera/image_raw"] == []
        assert late["joint_states"][0] == 110 * MS
    finally:
        environment.close()
    with refused(HptError, Code.UNKNOWN, subject="a stream of the environment 'feed_dog'", value="elbow"):
        FeedDogEnvironment(transports={"elbow": Transport(delay_s=0.1)})


def test_only_what_is_selected_is_rendered_and_commands_are_counted():
    environment = FeedDogEnvironment()
    try:
        environment.reset(0)
        environment.select({"front_camera/image_raw", "joint_states"})
        samples = environment.advance(environment.now_ns + 100 * MS)
        assert {sample.topic for sample in samples} == {"front_camera/image_raw", "joint_states"}
        with pytest.raises(HptError):
            environment.command(
                "arm_controller/joint_trajectory", stamp_message(0, joint_names=["elbow"], points=[])
            )
        assert environment.counters()["refused"] == 1
        assert environment.counters()["accepted"] == 0
        assert environment.tool_jacobian(environment.physics.joint_positions_rad).shape == (6, 7)
    finally:
        environment.close()
