# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Joints that are published only while they move: where they were last is where they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.embodiments import embodiment, joints, limit, trajectory
from support.refused import refused

from hpt_ros.embodiment import Embodiment, EmbodimentError
from hpt_ros.errors import Code
from hpt_ros.observation import ObservationBuffer, decode

MS = 1_000_000
S = 1000 * MS
BASE = 1_700_000_000_000_000_000


def robot_of(holds: Sequence[str] = ("gripper",), partial: bool = True) -> Embodiment:
    parts = joints(("a", "gripper"), rate_hz=60.0, partial=partial, holds=list(holds))
    return embodiment("parts", [parts], trajectory([limit("a")], rate_hz=10.0, horizon=2))


@pytest.fixture
def push(messages):
    def send(buffer, at_ms, **positions):
        at_ns = BASE + at_ms * MS
        message = messages.joints(tuple(positions), tuple(positions.values()), (), stamp_ns=at_ns)
        return buffer.push_message("joints", message, at_ns)

    return send


def ticks(buffer, until_ms):
    return {(tick.stamp_ns - BASE) // MS: tick for tick in buffer.ticks_ready(BASE + (until_ms + 20) * MS)}


def test_when_a_gripper_is_silent_expect_its_last_value_however_old(push) -> None:
    buffer = ObservationBuffer(robot_of())
    push(buffer, 0, gripper=0.5)
    for at_ms in range(10, 60_000, 90):
        push(buffer, at_ms, a=at_ms / 1e5)
    found = ticks(buffer, 59_990)
    assert all(tick.valid for tick in found.values())
    np.testing.assert_allclose(found[59_900].state, [0.599, 0.5], atol=1e-3)
    assert found[59_900].ages_s["joints"] < 0.1  # of the joints whose silence counts
    assert buffer.ages_s(BASE + 60_000 * MS)["joints"] < 0.2
    newest = buffer.newest("joints")
    assert newest is not None
    assert newest[0] > BASE + 59_900 * MS


def test_when_the_arm_is_silent_too_expect_its_ticks_missing(push) -> None:
    buffer = ObservationBuffer(robot_of())
    push(buffer, 0, gripper=0.5, a=0.1)
    push(buffer, 300, gripper=0.6)
    assert "newest 'a.position' is 0.200 s old" in str(ticks(buffer, 200)[200].missing["joints"])


def test_when_a_gripper_begins_to_move_expect_it_to_have_stood_until_then(push) -> None:
    """No ramp over the silence, and within a motion the line between two messages."""
    buffer = ObservationBuffer(robot_of())
    push(buffer, 0, gripper=0.0)
    for at_ms in range(10, 1400, 20):
        push(buffer, at_ms, a=0.0)
        if at_ms in (1010, 1090, 1110):
            push(buffer, at_ms + 5, gripper=(at_ms - 1000) / 100)
    found = ticks(buffer, 1300)
    assert found[1000].state[1] == 0.0
    np.testing.assert_allclose(found[1100].state[1], 0.9 + 0.2 * 5 / 20)
    assert found[1300].state[1] == 1.1


def test_when_a_joint_that_holds_was_never_seen_expect_it_named(push) -> None:
    buffer = ObservationBuffer(robot_of())
    push(buffer, -20, a=0.0)
    push(buffer, 90, a=0.0)
    assert str(ticks(buffer, 100)[100].missing["joints"]) == "'gripper.position' never seen"
    assert buffer.newest("joints") is None


@pytest.mark.parametrize("partial", [False, True])
def test_when_all_joints_hold_expect_them_through_silence_and_a_clock_that_went_back(push, partial) -> None:
    buffer = ObservationBuffer(robot_of(("a", "gripper"), partial))
    push(buffer, 5000, a=0.1, gripper=0.5)
    assert ticks(buffer, 9900)[9900].valid
    push(buffer, -1, a=0.2, gripper=0.5)  # the clock went back
    np.testing.assert_array_equal(ticks(buffer, 400)[400].state, [0.2, 0.5])


def test_when_the_clock_jumps_expect_the_gripper_where_it_was(push) -> None:
    buffer = ObservationBuffer(robot_of())
    push(buffer, 5000, a=0.1, gripper=0.5)
    assert push(buffer, 0, a=0.3)
    push(buffer, 90, a=0.3)
    found = ticks(buffer, 100)
    np.testing.assert_array_equal(found[100].state, [0.3, 0.5])


def test_when_holds_names_another_joint_or_messages_must_be_whole_expect_a_sentence() -> None:
    with refused(
        EmbodimentError,
        Code.INVALID,
        subject="embodiment text, stream 'joints'",
        value="finger",
        problem="in holds",
        expected="one of its joints",
    ):
        robot_of(("finger",))
    with pytest.raises(EmbodimentError, match="add partial: true"):
        robot_of(partial=False)


@pytest.mark.parametrize("first", ["gripper", "a"])
def test_when_two_parts_have_the_same_stamp_expect_the_message_that_came_last(push, first) -> None:
    """Whichever part was seen first: on both sides of a tick."""
    buffer = ObservationBuffer(robot_of())
    push(buffer, 0, **{first: 0.0})
    push(buffer, 0, a=0.0, gripper=0.0)
    for at_ms in (95, 105):
        push(buffer, at_ms, a=0.1, gripper=0.1)
        push(buffer, at_ms, gripper=0.5)
        push(buffer, at_ms, a=0.3)
    np.testing.assert_allclose(ticks(buffer, 100)[100].state, [0.3, 0.5])
    np.testing.assert_allclose(ticks(buffer, 200)[200].state, [0.3, 0.5])


@settings(deadline=None)
@example(events=[("a", 1, 0), ("a", 1, 0), ("a", 1, 0), ("both", 65, 0), ("gripper", 1, 1)], seed=0)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "gripper", "both"]), st.integers(1, 400), st.integers(0, 30)),
        min_size=5, max_size=40,
    ),
    st.integers(0, 2**32),
)  # fmt: skip
def test_when_a_bag_is_replayed_expect_the_ticks_that_the_robot_had(messages, events, seed) -> None:
    """The converter pushes messages; the node decodes them, asks at times of its own, and knew the gripper before."""
    robot, rng = robot_of(), np.random.default_rng(seed)
    stream = robot.stream("joints")
    bag, live = ObservationBuffer(robot), ObservationBuffer(robot)
    # What was known before the episode: in the bag its first message, written again by the recorder.
    earlier = messages.joints(("gripper",), (0.7,), (), stamp_ns=BASE - 60 * S)
    live.hold("joints", decode(stream, earlier))
    bag.push_message("joints", earlier, BASE)
    live.push("joints", BASE, BASE, np.array([0.0, np.nan]))
    bag.push_message("joints", messages.joints(("a",), (0.0,), (), stamp_ns=BASE), BASE)
    now, from_live = BASE, []
    for names, step, delay in events:
        now += step * MS
        joints = ("a", "gripper") if names == "both" else (names,)
        values = tuple(rng.uniform(-1.0, 1.0, len(joints)))
        message = messages.joints(joints, values, (), stamp_ns=now - delay * MS)
        bag.push_message("joints", message, now, defer=True)
        live.push("joints", now - delay * MS, now, decode(stream, message))
        from_live += live.ticks_ready(now + int(rng.integers(0, 1)))
    from_live += live.ticks_ready(now + 50 * MS)
    from_bag = bag.ticks_ready(now + 50 * MS)
    assert [tick.index for tick in from_bag] == [tick.index for tick in from_live]
    for one, other in zip(from_bag, from_live, strict=True):
        assert dict(one.missing) == dict(other.missing)
        np.testing.assert_array_equal(one.state, other.state)
