# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Joints that turn without end, however their drivers report them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.embodiments import embodiment, joints, limit, trajectory
from support.refused import refused

from hpt_ros.angles import TURN, shortest
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code
from hpt_ros.observation import CommandTrack, InvalidSampleError, ObservationBuffer, decode

MS = 1_000_000
BASE = 1_700_000_000_000_000_000


def robot_of(partial: bool = False) -> Embodiment:
    return embodiment(
        "spinner",
        [joints(("a", "spin"), fields=["position", "velocity"], partial=partial)],
        trajectory(
            [
                limit("a", 9.0, 9.0, 9.0),
                {"name": "spin", "continuous": True, "velocity": 9.0, "acceleration": 9.0},
            ],
            rate_hz=10.0,
            horizon=2,
        ),
    )


@pytest.mark.parametrize("partial", [False, True])
def test_when_joints_are_decoded_expect_cosine_and_sine_in_the_place_of_the_position(
    partial, messages
) -> None:
    stream = robot_of(partial).stream("joints")
    assert stream.names == (
        "a.position",
        "spin.position.cos",
        "spin.position.sin",
        "a.velocity",
        "spin.velocity",
    )
    found = decode(stream, messages.joints(("spin", "a"), (3.0, 0.5), (0.1, 0.2)))
    np.testing.assert_array_equal(found, [0.5, np.cos(3.0), np.sin(3.0), 0.2, 0.1])
    with refused(
        InvalidSampleError,
        Code.NOT_FINITE,
        subject="stream 'joints' (topic /joint_states)",
        value="spin.position",
        problem="value nan for",
    ):
        decode(stream, messages.joints(("spin", "a"), (float("nan"), 0.5), (0.1, 0.2)))


def test_when_a_part_lacks_the_continuous_joint_expect_nan_in_both_of_its_elements(messages) -> None:
    found = decode(robot_of(True).stream("joints"), messages.joints(("a",), (0.5,), (0.2,)))
    np.testing.assert_array_equal(found, [0.5, np.nan, np.nan, 0.2, np.nan])


@given(st.floats(-8.0, 8.0), st.floats(-3.0, 3.0), st.booleans())
def test_when_a_driver_wraps_or_counts_turns_expect_the_same_ticks_without_a_jump(
    messages, start, speed, partial
) -> None:
    robot = robot_of(partial)
    counted, wrapped = ObservationBuffer(robot), ObservationBuffer(robot)
    for step in range(30):
        stamp, angle = BASE + step * 20 * MS + 3 * MS, start + 0.02 * step * speed
        for buffer, value in ((counted, angle), (wrapped, float(shortest(np.array(angle))))):
            message = messages.joints(("a", "spin"), (0.0, value), (0.0, speed), stamp_ns=stamp)
            buffer.push_message("joints", message, stamp)
    pairs = list(zip(counted.ticks_ready(), wrapped.ticks_ready(), strict=True))
    angles = []
    for one, other in pairs:
        np.testing.assert_allclose(one.state, other.state, atol=1e-12)
        if one.valid:
            angles.append(robot.space.states.control(one.state)[1])
    assert len(angles) > 3
    np.testing.assert_allclose(shortest(np.diff(angles)), 0.1 * speed, atol=1e-6)


@given(st.floats(-3.1, 3.1), st.floats(-3.0, 3.0), st.integers(-2, 2))
def test_when_commands_lie_on_both_sides_of_the_seam_expect_the_short_way_between(start, step, turns) -> None:
    commands = CommandTrack(robot_of())
    commands.push(90 * MS, 91 * MS, np.array([1.0, start]))
    commands.push(130 * MS, 131 * MS, np.array([5.0, start + step + TURN * turns]))
    found = commands.value_at(100 * MS)
    assert isinstance(found, np.ndarray)
    assert abs(found[1]) <= np.pi + 1e-9
    np.testing.assert_allclose(shortest(found[1:] - start), [step / 4.0], atol=1e-9)
    assert found[0] == 2.0
