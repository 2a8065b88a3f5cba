# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Measured poses that cannot be those of one robot: glitches, drivers that are not connected, second publishers."""

from __future__ import annotations

import numpy as np
import pytest
from control_rig import MS, Rig
from hypothesis import given, settings
from hypothesis import strategies as st
from support.refused import assert_refusal

from hpt_ros.control import State
from hpt_ros.control.plausible import Plausibility
from hpt_ros.control.refusals import Why

V = np.array([2.0, 2.0])
HERE, ZERO = np.array([1.2, -0.8]), np.zeros(2)


def guard() -> Plausibility:
    return Plausibility(("a", "b"), V, np.array([False, False]))


def say(guard: Plausibility, poses: list[np.ndarray], period_ms: int = 10, begin_ms: int = 0) -> list[bool]:
    """Whether each message is believed."""
    return [
        guard.check("joints", b"", (begin_ms + period_ms * number) * MS, pose) is None
        for number, pose in enumerate(poses)
    ]


def test_when_one_message_is_all_zeros_expect_it_refused_with_the_joint_and_nothing_else():
    watched = guard()
    assert say(watched, [HERE] * 5 + [ZERO] + [HERE] * 5) == [True] * 5 + [False] + [True] * 5
    assert watched.find_contradictions(110 * MS) == {}
    reason = watched.check("joints", b"", 120 * MS, ZERO)
    assert_refusal(reason, Why.IMPLAUSIBLE, value=1.2, subject="stream 'joints'")
    assert str(reason).startswith(
        "stream 'joints' has a at 0.000, 1.200 from where it was 0.020 s before, expected"
    )


@pytest.mark.parametrize("every", [2, 3, 8])
def test_when_two_nodes_publish_different_poses_expect_the_stream_said_to_contradict_itself(every):
    watched = guard()
    poses = [ZERO if number % every == 0 else HERE for number in range(60)]
    say(watched, poses)
    found = watched.find_contradictions(600 * MS)["joints"]
    assert_refusal(
        found, Why.CONTRADICTED, subject="stream 'joints'", problem="contradicts itself: it has a at"
    )
    say(watched, [HERE] * 150, begin_ms=600)
    assert watched.find_contradictions(2100 * MS) == {}


def test_when_two_nodes_publish_the_same_pose_expect_nothing():
    watched = guard()
    assert all(say(watched, [HERE, HERE + 1e-4] * 50, period_ms=3))
    assert watched.find_contradictions(300 * MS) == {}


def test_when_a_robot_is_elsewhere_for_good_expect_it_believed_after_a_tenth_of_a_second():
    believed = say(guard(), [HERE] * 5 + [ZERO] * 30)
    assert not any(believed[5:15])
    assert all(believed[16:])


def test_when_parts_of_a_robot_come_in_messages_of_their_own_expect_each_to_have_its_own_time():
    watched = guard()
    for number in range(100):
        pose = np.array([0.02 * number, 0.0])
        assert watched.check("joints", b"a", 10 * number * MS, pose) is None
    assert watched.check("joints", b"b", 990 * MS, np.array([1.98, 0.5])) is None
    assert watched.check("joints", b"b", 991 * MS, np.array([1.98, 1.5])) is not None


def test_when_a_gripper_jumps_expect_nothing():
    fingers = Plausibility(("a", "finger"), V, np.array([False, True]))
    assert all(say(fingers, [np.array([0.0, 0.8 * (number % 2)]) for number in range(20)]))


@settings(max_examples=60)
@given(
    st.lists(st.floats(-1, 1), min_size=5, max_size=60),
    st.integers(1, 50),
    st.floats(0, 0.05),
    st.integers(0, 5),
)
def test_whatever_a_robot_does_within_its_limits_expect_every_message_believed(
    speeds: list[float], period_ms: int, noise: float, lost: int
):
    rng = np.random.default_rng(0)
    path = np.cumsum(np.outer(speeds, V) * period_ms / 1000.0, axis=0)
    measured = path + noise * np.clip(rng.standard_normal(path.shape), -3, 3)
    kept = [(number, pose) for number, pose in enumerate(measured) if not lost or number % (lost + 1) == 0]
    watched = guard()
    assert all(watched.check("joints", b"", number * period_ms * MS, pose) is None for number, pose in kept)


def test_when_a_stream_contradicts_itself_while_moving_expect_rest_and_then_the_reason_latched():
    rig = Rig().run()
    rig.tick(40)
    for number in range(40):
        rig.controller.check_plausible("joints", b"", ZERO + 5.0 * (number % 2), rig.now + number)
        rig.tick()
    assert rig.state() is State.HOLDING
    for number in range(100):
        rig.controller.check_plausible("joints", b"", ZERO + 5.0 * (number % 2), rig.now + number)
        rig.tick()
    assert rig.state() is State.FAULT
    assert_refusal(rig.controller.latched.value, Why.CONTRADICTED)
    rig.check_limits()
