# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.refused import refused

from hpt_ros.embodiment import Embodiment, ImageSpec
from hpt_ros.errors import Code, HptError, Refusal
from hpt_ros.observation import ObservationWindow, Tick, assemble
from hpt_ros.observation.track import NEVER_SEEN, Restart


def tick(index, *, valid=True, restart=None):
    images = {
        name: np.full((8, 12, 3), 10 * index + view, np.uint8) for view, name in enumerate(("left", "right"))
    }
    state = np.array([index, 0.1, 0.2, 1 / 3])
    if not valid:
        return Tick(index, index * 100, {}, {}, {}, {"left": NEVER_SEEN}, restart)
    return Tick(index, index * 100, images, {"state": state}, {}, {}, restart)


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
        with refused(HptError, Code.OUT_OF_RANGE, subject="0 ticks", problem="were given"):
            window.inputs()
    assert window.push(tick(5))
    assert seen(window.inputs()) == [5, 5, 5]


def test_a_restart_starts_the_episode_anew(robot):
    window = ObservationWindow(robot, horizon=2)
    window.push(tick(1))
    window.push(tick(2, restart=Refusal(Restart.BACK, "the clock", 1.0, problem="went back by 1 s")))
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
    with refused(HptError, Code.WRONG_SHAPE, problem="left 8x12x3, right 10x12x3", expected="one size"):
        assemble(other, [tick(1)])


def test_when_a_tick_is_invalid_expect_error(robot):
    with refused(HptError, Code.OUT_OF_RANGE, subject="2 ticks", expected="all valid"):
        assemble(robot, [tick(1), tick(2, valid=False)])


def full_tick(index, *, absent=(), task="push it"):
    """A tick of the robot with every modality."""
    arrays: dict[str, np.ndarray] = {
        "eye": np.full((8, 12, 3), index, np.uint8),
        "near": np.full((8, 12), 100 * index, np.uint16),
        "far": np.full((8, 12), 100 * index + 1, np.uint16),
        "skin": np.full(3, index, np.float32),
        "cloud": np.full((5, 3), index / 4, np.float32),
    }
    return Tick(
        index,
        index * 100,
        {name: value for name, value in arrays.items() if name not in absent},
        {"state": np.array([index, -index, 0.5])}
        | ({} if "wrist" in absent else {"wrench": np.arange(6.0) + index}),
        {},
        {},
        texts={} if "instruction" in absent else {"language": task},
        absent=dict.fromkeys(absent, NEVER_SEEN),
    )


def test_inputs_of_every_modality_have_the_policys_shapes_and_types(everything):
    window = ObservationWindow(everything)
    window.push(full_tick(7))
    window.push(full_tick(8, task="stop"), np.array([0.25, 0.75]))
    inputs = window.inputs()
    assert {name: (array.shape, array.dtype.name) for name, array in inputs.items() if name != "task"} == {
        "image": ((1, 2, 1, 8, 12, 3), "uint8"),
        "depth": ((1, 2, 2, 8, 12), "uint16"),
        "state": ((1, 2, 3), "float32"),
        "wrench": ((1, 2, 6), "float32"),
        "tactile": ((1, 2, 1, 3), "float32"),
        "pointcloud": ((1, 2, 1, 5, 3), "float32"),
        "actions": ((1, 2, 2), "float32"),
    }
    assert list(inputs["task"]) == ["stop"]
    assert inputs["depth"][0, :, :, 0, 0].tolist() == [[700, 701], [800, 801]]
    assert inputs["wrench"][0, :, 5].tolist() == [12, 13]
    assert inputs["tactile"][0, :, 0, 2].tolist() == [7, 8]
    assert inputs["pointcloud"][0, :, 0, 4, 2].tolist() == [1.75, 2.0]


def test_previous_actions_begin_with_the_measured_position(everything):
    window = ObservationWindow(everything, horizon=3)
    seen = []
    for index, command in ((5, [9.0, 9.0]), (6, [0.6, 0.7]), (7, None), (8, [0.8, 0.9])):
        window.push(full_tick(index), None if command is None else np.array(command))
        seen.append(window.inputs()["actions"][0].tolist())
    # The action's names are [b, a] and the state is [a.position, b.position, ...]: measured is (-index, index).
    first, second, third = [-5, 5], np.array([0.6, 0.7], np.float32).tolist(), [-7, 7]
    assert seen[:3] == [[first] * 3, [first, first, second], [first, second, third]]
    assert seen[3] == [second, third, np.array([0.8, 0.9], np.float32).tolist()]


def test_after_a_gap_the_command_before_it_is_not_used(everything):
    window = ObservationWindow(everything)
    window.push(full_tick(5))
    window.push(full_tick(7), np.array([0.1, 0.2]))
    assert window.inputs()["actions"][0].tolist() == [[-7, 7], [-7, 7]]


def test_keys_name_the_ticks_of_the_window(everything):
    window = ObservationWindow(everything, horizon=3)
    assert window.keys == ()
    found = []
    for index in (5, 6, 7, 8, 10):
        window.push(full_tick(index))
        found.append(window.keys)
    assert found == [(5, 5, 5), (5, 5, 6), (5, 6, 7), (6, 7, 8), (10, 10, 10)]
    window.reset()
    assert window.keys == ()


@pytest.mark.parametrize(
    ("stream", "input_name"),
    [
        ("eye", "image"), ("far", "depth"), ("wrist", "wrench"), ("skin", "tactile"), ("cloud", "pointcloud"),
        ("instruction", "task"),
    ],
)  # fmt: skip
def test_a_modality_absent_in_one_tick_of_the_window_is_left_out(everything, stream, input_name):
    whole = {"image", "depth", "state", "wrench", "tactile", "pointcloud", "actions", "task"}
    window = ObservationWindow(everything)
    found = []
    for index in range(5, 9):
        window.push(full_tick(index, absent=(stream,) if index == 6 else ()))
        found.append(set(window.inputs()))
    assert found == [whole, whole - {input_name}, whole - {input_name}, whole]


def test_when_the_state_is_absent_at_the_first_tick_expect_no_previous_actions(everything):
    window = ObservationWindow(everything)
    lost = dataclasses.replace(
        full_tick(5), vectors={"wrench": np.arange(6.0)}, absent={"joints": NEVER_SEEN}
    )
    window.push(lost)
    assert {"state", "actions"}.isdisjoint(window.inputs())


def test_when_a_commanded_joint_is_not_observed_expect_previous_actions_once_all_are_known(everything):
    blind = dataclasses.replace(
        everything,
        streams=tuple(
            dataclasses.replace(item, joints=("a", "c")) if item.name == "joints" else item
            for item in everything.streams
        ),
    )
    window = ObservationWindow(blind)
    found = []
    for index in (5, 6, 7):
        window.push(full_tick(index), np.array([0.5, 0.25]))
        found.append("actions" in window.inputs())
    assert found == [False, False, True]


@pytest.mark.parametrize("action", [np.zeros(3), np.array([0.0, np.nan])])
def test_when_the_previous_action_is_no_command_expect_the_names(everything, action):
    window = ObservationWindow(everything)
    window.push(full_tick(5))
    with refused(
        HptError, Code.NOT_FINITE, subject="the previous action", expected="one finite value for each of b, a"
    ):
        window.push(full_tick(6), action)


def test_when_depth_views_differ_in_size_expect_both_named(everything):
    other = dataclasses.replace(
        everything,
        streams=tuple(
            dataclasses.replace(item, image=ImageSpec(9, 12)) if item.name == "far" else item
            for item in everything.streams
        ),
    )
    with refused(HptError, Code.WRONG_SHAPE, problem="near 8x12, far 9x12", expected="one size"):
        assemble(other, [full_tick(1)])
