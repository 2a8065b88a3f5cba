from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpt_ros.embodiment import Embodiment, ImageSpec
from hpt_ros.errors import HptError
from hpt_ros.observation import ObservationWindow, Tick, assemble


def tick(index, *, valid=True, restart=""):
    images = {
        name: np.full((8, 12, 3), 10 * index + view, np.uint8) for view, name in enumerate(("left", "right"))
    }
    state = np.array([index, 0.1, 0.2, 1 / 3])
    if not valid:
        return Tick(index, index * 100, {}, np.empty(0), {}, {"left": "never seen"}, restart)
    return Tick(index, index * 100, images, state, {}, {}, restart)


def seen(inputs):
    """Indices of the ticks in the window, from the state and from both views."""
    states = inputs["state"][0, :, 0].astype(int).tolist()
    assert (inputs["image"][0, :, 0, 0, 0, 0] // 10).tolist() == states
    assert (inputs["image"][0, :, 1, 7, 11, 2] % 10).tolist() == [1] * len(states)
    return states


def test_inputs_have_the_policys_shapes_and_types(robot):
    inputs = assemble(robot, [tick(1), tick(2), tick(3)])
    assert inputs["image"].shape == (1, 3, 2, 8, 12, 3)
    assert inputs["image"].dtype == np.uint8
    assert inputs["state"].shape == (1, 3, 4)
    assert inputs["state"].dtype == np.float32
    assert inputs["state"][0, 0, 3] == np.float32(1 / 3)


def test_the_first_tick_is_repeated_until_there_are_enough(robot):
    window = ObservationWindow(robot)
    found = []
    for index in range(1, 6):
        assert window.push(tick(index))
        found.append(seen(window.inputs()))
    assert found == [[1, 1, 1], [1, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]


@pytest.mark.parametrize("broken", [tick(4, valid=False), None])
def test_a_gap_starts_the_episode_anew(robot, broken):
    window = ObservationWindow(robot)
    for index in (1, 2, 3):
        window.push(tick(index))
    if broken is not None:
        assert not window.push(broken)
        assert window.latest is None
        with pytest.raises(HptError, match="0 ticks were given"):
            window.inputs()
    assert window.push(tick(5))
    assert seen(window.inputs()) == [5, 5, 5]


def test_a_restart_starts_the_episode_anew(robot):
    window = ObservationWindow(robot, horizon=2)
    window.push(tick(1))
    window.push(tick(2, restart="the clock went back by 1 s"))
    assert seen(window.inputs()) == [2, 2]
    window.push(tick(3))
    assert seen(window.inputs()) == [2, 3]
    window.reset()
    assert window.latest is None


def test_when_views_differ_in_size_expect_both_named(robot: Embodiment):
    left, right, joints = robot.streams
    other = dataclasses.replace(
        robot, streams=(left, dataclasses.replace(right, image=ImageSpec(10, 12)), joints)
    )
    with pytest.raises(HptError, match="left 8x12, right 10x12, but one size"):
        assemble(other, [tick(1)])


def test_when_a_tick_is_invalid_expect_error(robot):
    with pytest.raises(HptError, match="all valid, were expected"):
        assemble(robot, [tick(1), tick(2, valid=False)])
