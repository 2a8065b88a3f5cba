# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Joint states that come in parts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.embodiments import embodiment, joints, limit, trajectory
from support.refused import refused

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code
from hpt_ros.observation import DecodeError, InvalidSampleError, ObservationBuffer, decode

MS = 1_000_000
BASE = 1_700_000_000_000_000_000
JOINTS = ("a", "b", "gripper")


def robot_of(*, partial, fields=("position",), names=JOINTS):
    parts = joints(names, rate_hz=60.0, fields=list(fields), partial=partial)
    return embodiment("parts", [parts], trajectory([limit("a")], rate_hz=10.0, horizon=2))


@pytest.fixture(scope="module")
def robot() -> Embodiment:
    return robot_of(partial=True)


@pytest.fixture
def buffer(robot) -> ObservationBuffer:
    return ObservationBuffer(robot)


@pytest.fixture
def push(buffer, messages):
    def send(stamp_ns, **positions):
        message = messages.joints(tuple(positions), tuple(positions.values()), (), stamp_ns=BASE + stamp_ns)
        return buffer.push_message("joints", message, BASE + stamp_ns)

    return send


def at_base(buffer):
    return next(tick for tick in buffer.ticks_ready(BASE + 20 * MS) if tick.stamp_ns == BASE)


def test_a_part_has_nan_at_the_joints_that_it_lacks(robot, messages):
    result = decode(robot.stream("joints"), messages.joints(("x", "gripper", "a"), (9, 3, 1), ()))
    np.testing.assert_array_equal(result, [1, math.nan, 3])


def test_fields_of_a_part_stand_where_the_file_wants_them(messages):
    stream = robot_of(partial=True, fields=("velocity", "position")).stream("joints")
    result = decode(stream, messages.joints(("gripper", "b"), (3, 2), (0.3, 0.2)))
    np.testing.assert_array_equal(result, [math.nan, 0.2, 0.3, math.nan, 2, 3])


def test_each_joint_is_interpolated_between_the_messages_that_have_it(buffer, push):
    push(-30 * MS, gripper=10.0)
    push(-20 * MS, a=1.0, b=2.0)
    push(-10 * MS, gripper=20.0)
    push(-5 * MS, a=2.0, b=4.0)
    push(5 * MS, b=6.0, a=4.0)
    push(10 * MS, gripper=60.0)
    tick = at_base(buffer)
    np.testing.assert_allclose(tick.state, [3, 5, 40])
    assert tick.ages_s["joints"] == pytest.approx(0.010)  # the gripper's sample before the tick


def test_when_a_joint_was_never_seen_expect_it_named(buffer, push):
    push(-10 * MS, a=1.0, b=2.0)
    tick = at_base(buffer)
    assert {name: str(absence) for name, absence in tick.missing.items()} == {
        "joints": "'gripper.position' never seen"
    }
    assert tick.ages_s["joints"] == math.inf
    assert buffer.newest("joints") is None
    assert buffer.ages_s(BASE) == {"joints": math.inf}


def test_when_a_joint_comes_only_after_the_tick_expect_it_named(buffer, push):
    push(-10 * MS, a=1.0, b=2.0)
    push(5 * MS, gripper=2.0)
    assert str(at_base(buffer).missing["joints"]) == "'gripper.position' not seen before the tick"


def test_when_one_part_falls_silent_expect_the_vector_stale(buffer, push):
    push(-150 * MS, gripper=1.0)
    for step in range(-15, 1):
        push(step * 10 * MS, a=0.0, b=0.0)
    assert (
        str(at_base(buffer).missing["joints"]) == "newest 'gripper.position' is 0.150 s old (tolerance 0.1 s)"
    )
    assert buffer.ages_s(BASE) == pytest.approx({"joints": 0.150})


def test_of_overlapping_parts_the_newest_counts_for_each_joint(buffer, push):
    push(-40 * MS, a=1.0, b=1.0, gripper=1.0)
    push(-30 * MS, a=2.0, gripper=2.0)
    push(-20 * MS, gripper=3.0)
    np.testing.assert_array_equal(at_base(buffer).state, [2, 1, 3])
    stamp, value = buffer.newest("joints")
    assert stamp == BASE - 40 * MS
    np.testing.assert_array_equal(value, [2, 1, 3])


def test_messages_of_other_drivers_on_the_topic_change_nothing(buffer, push):
    push(-10 * MS, a=1.0, b=2.0, gripper=3.0)
    push(-5 * MS, lift=math.nan, wheel=7.0)
    np.testing.assert_array_equal(at_base(buffer).state, [1, 2, 3])
    assert buffer.find_refused() == {}


def test_when_a_part_has_a_bad_value_expect_it_refused(robot, messages):
    with refused(
        InvalidSampleError,
        Code.NOT_FINITE,
        subject="stream 'joints' (topic /joint_states)",
        value="b.position",
        problem="value nan for",
    ):
        decode(robot.stream("joints"), messages.joints(("b",), (math.nan,), ()))


def test_when_a_part_lacks_a_field_expect_it_named(messages):
    stream = robot_of(partial=True, fields=("position", "velocity")).stream("joints")
    with refused(
        DecodeError,
        Code.WRONG_SHAPE,
        subject="stream 'joints' (topic /joint_states)",
        value=0,
        problem="values of 'velocity' for 1 joints",
        remedy="velocity",
    ):
        decode(stream, messages.joints(("gripper",), (1.0,), ()))


def test_when_parts_never_repeat_expect_an_error_and_bounded_memory(messages):
    names = [f"j{index}" for index in range(8)]
    buffer = ObservationBuffer(robot_of(partial=True, names=names))

    def push(number):
        some = tuple(name for index, name in enumerate(names) if number >> index & 1)
        buffer.push_message("joints", messages.joints(some, (0.0,) * len(some), ()), BASE + number)

    for number in range(1, 65):
        push(number)
    with refused(
        DecodeError,
        Code.INVALID,
        value=64,
        subject="stream 'joints' (topic /joint_states)",
        problem="more than {value} different sets of joints",
    ):
        push(65)
    push(64)  # a known set goes on


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sets(st.sampled_from(JOINTS), min_size=1),
            st.integers(1, 40 * MS),  # after the message before
            st.integers(0, 30 * MS),  # age on arrival
            st.floats(-3, 3),
        ),
        max_size=60,
    )
)
def test_merging_is_each_joint_by_itself(events):
    """A partial stream of three joints gives what three streams of one joint give, each at its own messages."""
    from types import SimpleNamespace

    merged = ObservationBuffer(robot_of(partial=True))
    single = {name: ObservationBuffer(robot_of(partial=False, names=(name,))) for name in JOINTS}
    arrival = BASE
    for names, step, age, number in events:
        arrival += step
        stamp = SimpleNamespace(sec=(arrival - age) // 10**9, nanosec=(arrival - age) % 10**9)
        ordered = sorted(names, reverse=number > 0)
        values = [number + JOINTS.index(name) for name in ordered]
        message = SimpleNamespace(header=SimpleNamespace(stamp=stamp), name=ordered, position=values)
        merged.push_message("joints", message, arrival)
        for name in JOINTS:
            if name in names:
                single[name].push_message("joints", message, arrival)
    together = {tick.index: tick for tick in merged.ticks_ready(arrival + 40 * MS)}
    apart = {
        name: {tick.index: tick for tick in buffer.ticks_ready(arrival + 40 * MS)}
        for name, buffer in single.items()
    }
    for index, tick in together.items():
        ticks = [apart[name].get(index) for name in JOINTS]
        if all(item is not None and item.valid for item in ticks):
            np.testing.assert_array_equal(tick.state, np.concatenate([item.state for item in ticks]))
            assert tick.ages_s["joints"] == max(item.ages_s["joints"] for item in ticks)
        else:
            assert not tick.valid


@given(st.lists(st.tuples(st.integers(1, 30 * MS), st.floats(-3, 3)), max_size=40))
def test_whole_messages_give_the_same_ticks_whether_they_may_be_partial_or_not(events):
    whole, parts = ObservationBuffer(robot_of(partial=False)), ObservationBuffer(robot_of(partial=True))
    arrival = BASE
    for step, number in events:
        arrival += step
        for buffer in (whole, parts):
            buffer.push("joints", arrival - MS, arrival, np.array([number, -number, 1.0]))
    for one, other in zip(whole.ticks_ready(), parts.ticks_ready(), strict=True):
        assert one.valid == other.valid
        assert one.ages_s == other.ages_s
        np.testing.assert_array_equal(one.state, other.state)
