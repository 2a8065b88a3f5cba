# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The physics wrapper: time, targets, tracking, rendering."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from hpt_ros.errors import HptError
from hpt_ros.sim.physics import POLICY_QUALITY, VIDEO_QUALITY, Physics, Renderer, whole_steps
from hpt_ros.sim.robots import PANDA_ROBOT
from hpt_ros.sim.table_task import table_physics
from hpt_ros.sim.tasks.feed_dog.task import START_RAD, FeedDogTask


@pytest.fixture(scope="module")
def physics() -> Physics:
    return table_physics(FeedDogTask, PANDA_ROBOT)


@pytest.mark.parametrize(("period_s", "steps"), [(0.0025, 1), (0.02, 8), (0.1, 40)])
def test_when_a_period_is_a_multiple_of_the_step_expect_the_count(period_s, steps):
    assert whole_steps(period_s, 0.0025, what="control period") == steps


@pytest.mark.parametrize("period_s", [0.0, -0.02, 0.003, 0.0026, float("nan"), float("inf")])
def test_when_a_period_is_no_multiple_of_the_step_expect_both_named(period_s):
    with pytest.raises(
        HptError, match=rf"control period of {period_s:g} s is no whole multiple .* step of 0\.0025 s"
    ):
        whole_steps(period_s, 0.0025, what="control period")


def test_step_advances_time_by_whole_steps(physics):
    before_s = physics.time_s
    physics.step(7)
    assert physics.time_s == pytest.approx(before_s + 7 * physics.timestep_s, abs=1e-12)


def test_arm_follows_a_moving_target_closely_and_does_not_ring(physics):
    physics.put_arm(START_RAD)
    physics.settle()
    errors_rad = []
    for step in range(800):
        fraction = min(step / 400, 1.0)
        progress = fraction**3 * (
            10 - 15 * fraction + 6 * fraction**2
        )  # minimum jerk over 1 s, then hold for 1 s
        physics.set_targets(START_RAD + 0.4 * progress)
        physics.step()
        errors_rad.append(physics.joint_positions_rad - physics.targets_rad)
    errors = np.abs(errors_rad)
    assert errors.max() < 0.05  # 0.75 rad/s at most, behind by the actuators' lag of some 30 ms
    assert errors[600:].max() < 1e-3  # at rest, 0.5 s after the target stopped


def test_targets_are_cut_at_the_joint_limits(physics):
    physics.set_targets(np.full(7, 9.0))
    np.testing.assert_array_equal(
        physics.targets_rad, [2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973]
    )


def test_arm_at_rest_stays_where_it_is_without_gravity_sag(physics):
    physics.put_arm(START_RAD)
    physics.settle()
    physics.step(500)
    np.testing.assert_allclose(physics.joint_positions_rad, START_RAD, atol=1e-6)


@pytest.mark.parametrize("quality", [POLICY_QUALITY, VIDEO_QUALITY])
@pytest.mark.parametrize("camera", ["front", "wrist", "picture"])
def test_cameras_draw_pictures_of_the_size_asked_for(physics, camera, quality):
    renderer = Renderer(physics, 48, 64, quality)
    try:
        picture = renderer.render(camera)
    finally:
        renderer.close()
    assert picture.shape == (48, 64, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 10  # something is to be seen


def test_bowl_is_seen_by_the_front_camera_wherever_it_stands(physics):
    task = FeedDogTask(physics)
    renderer = Renderer(physics, 96, 128)
    try:
        for seed in range(12):
            task.reset(seed)
            red, green, blue = np.moveaxis(renderer.render("front").astype(int), 2, 0)
            seen = np.argwhere((blue > 100) & (blue > 1.6 * red) & (blue > 1.3 * green))
            assert len(seen) > 80
            assert seen.min() > 0  # not cut by the picture's edge
            assert (seen.max(axis=0) < (95, 127)).all()
    finally:
        renderer.close()


def test_when_a_renderer_is_used_in_another_thread_expect_it_refused(physics):
    renderer = Renderer(physics, 48, 64)
    caught: list[Exception] = []

    def draw() -> None:
        try:
            renderer.render("front")
        except HptError as error:
            caught.append(error)

    thread = threading.Thread(target=draw)
    thread.start()
    thread.join()
    renderer.close()
    assert "another thread" in str(caught[0])
