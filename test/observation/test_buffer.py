# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.embodiments import camera, embodiment, joints, limit, trajectory
from support.refused import refused

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError, Refusal
from hpt_ros.observation import DecodeError, InvalidSampleError, ObservationBuffer, TickGrid
from hpt_ros.observation.time_series import NEVER_SEEN, Absence, Restart

MS = 1_000_000
BASE = 1_700_000_000_000_000_000  # a date: stamps exceed the 53 bits of a float
ROBOT = embodiment(
    "tiny",
    [camera("left", 8, 12), camera("right", 8, 12), joints("ab", fields=["position", "velocity"])],
    trajectory([limit("a")], topic="/c", rate_hz=10.0, horizon=2),
)


def image(level):
    return np.full((8, 12, 3), level, np.uint8)


def state(*values):
    return np.array(values, np.float64)


def feed_all(buffer, stamp_ns, level=0, values=(0.0, 0.0, 0.0, 0.0), delay_ns=MS):
    """One sample of every stream."""
    buffer.push("left", stamp_ns, stamp_ns + delay_ns, image(level))
    buffer.push("right", stamp_ns, stamp_ns + delay_ns, image(level + 1))
    buffer.push("joints", stamp_ns, stamp_ns + delay_ns, state(*values))


def test_tick_has_the_newest_images_and_the_interpolated_state(robot):
    buffer = ObservationBuffer(robot)
    buffer.push("left", BASE - 40 * MS, BASE - 30 * MS, image(3))
    buffer.push("right", BASE - 90 * MS, BASE - 25 * MS, image(4))
    buffer.push("left", BASE + MS, BASE + 2 * MS, image(9))  # after the tick
    buffer.push("joints", BASE - 15 * MS, BASE + 3 * MS, state(0, 10, 1, 1))
    buffer.push("joints", BASE + 5 * MS, BASE + 6 * MS, state(4, 30, 1, 3))
    ticks = buffer.ticks_ready(BASE + 20 * MS)
    tick = ticks[-1]
    assert tick.valid
    assert tick.stamp_ns == BASE
    assert tick.index == 17_000_000_000
    assert {name: picture[0, 0, 0] for name, picture in tick.arrays.items()} == {"left": 3, "right": 4}
    np.testing.assert_allclose(tick.state, [3, 25, 1, 2.5], rtol=0, atol=1e-12)
    assert tick.ages_s == pytest.approx({"left": 0.04, "right": 0.09, "joints": 0.015})


def test_when_nothing_comes_after_the_tick_expect_the_newest_state_held(robot):
    buffer = ObservationBuffer(robot)
    feed_all(buffer, BASE - 10 * MS, values=(1, 2, 3, 4))
    np.testing.assert_array_equal(buffer.ticks_ready(BASE + 20 * MS)[-1].state, [1, 2, 3, 4])


def test_samples_that_arrive_when_the_tick_is_settled_do_not_count(robot):
    buffer = ObservationBuffer(robot, settle_s=0.02)
    feed_all(buffer, BASE - 10 * MS, level=1)
    buffer.push("left", BASE, BASE + 20 * MS - 1, image(5))
    buffer.push("right", BASE, BASE + 20 * MS, image(6))
    tick = buffer.ticks_ready()[-1]
    assert tick.arrays["left"][0, 0, 0] == 5
    assert tick.arrays["right"][0, 0, 0] == 2


def test_a_tick_is_ready_at_its_settling_time_and_not_before(robot):
    buffer = ObservationBuffer(robot)
    feed_all(buffer, BASE - 10 * MS)
    buffer.ticks_ready()
    assert buffer.ticks_ready(BASE + 20 * MS - 1) == []
    assert [tick.stamp_ns for tick in buffer.ticks_ready(BASE + 20 * MS)] == [BASE]
    assert buffer.ticks_ready(BASE + 20 * MS) == []


def test_when_a_stream_was_never_seen_expect_the_reason_and_no_data(robot):
    buffer = ObservationBuffer(robot)
    buffer.push("left", BASE, BASE, image(1))
    buffer.push("joints", BASE, BASE, state(1, 2, 3, 4))
    tick = buffer.ticks_ready(BASE + 20 * MS)[0]
    assert not tick.valid
    assert tick.missing == {"right": NEVER_SEEN}
    assert dict(tick.arrays) == {}
    assert tick.state.size == 0
    assert tick.ages_s["right"] == math.inf


def test_when_a_stream_is_stale_expect_age_and_tolerance(robot):
    buffer = ObservationBuffer(robot)
    feed_all(buffer, BASE)
    for step in range(1, 31):
        buffer.push("joints", BASE + step * 10 * MS, BASE + step * 10 * MS, state(0, 0, 0, 0))
        buffer.push("right", BASE + step * 10 * MS, BASE + step * 10 * MS, image(0))
    ticks = {(tick.stamp_ns - BASE) // MS: tick for tick in buffer.ticks_ready()}
    assert ticks[100].valid  # 0.1 s old, tolerance 0.15 s
    assert list(ticks[200].missing) == ["left"]
    assert str(ticks[200].missing["left"]) == "newest sample is 0.200 s old (tolerance 0.15 s)"


def test_when_the_sample_before_is_too_old_expect_no_interpolation_across_the_gap(robot):
    buffer = ObservationBuffer(robot)
    feed_all(buffer, BASE - 101 * MS)
    buffer.push("left", BASE, BASE, image(1))
    buffer.push("right", BASE, BASE, image(1))
    buffer.push("joints", BASE + MS, BASE + 2 * MS, state(1, 1, 1, 1))
    tick = buffer.ticks_ready(BASE + 20 * MS)[-1]
    assert list(tick.missing) == ["joints"]


def test_out_of_order_samples_are_put_in_order(robot):
    buffer = ObservationBuffer(robot)
    feed_all(buffer, BASE - 50 * MS)
    buffer.push("joints", BASE + 10 * MS, BASE + 11 * MS, state(2, 2, 2, 2))
    buffer.push("joints", BASE - 10 * MS, BASE + 12 * MS, state(0, 0, 0, 0))
    np.testing.assert_allclose(buffer.ticks_ready(BASE + 20 * MS)[-1].state, [1, 1, 1, 1])


def test_of_two_samples_with_one_stamp_the_later_counts(robot):
    buffer = ObservationBuffer(robot)
    feed_all(buffer, BASE, level=1)
    buffer.push("left", BASE, BASE + 2 * MS, image(8))
    assert buffer.ticks_ready(BASE + 20 * MS)[-1].arrays["left"][0, 0, 0] == 8


def test_when_arrival_goes_back_expect_a_reset_with_a_reason(robot):
    buffer = ObservationBuffer(robot)
    feed_all(buffer, BASE + 5_000 * MS)
    reason = buffer.push("left", BASE, BASE, image(1))
    assert (reason.code, str(reason)) == (Restart.BACK, "the clock went back by 5.001 s")
    assert buffer.resets == 1
    tick = buffer.ticks_ready(BASE + 20 * MS)[-1]
    assert tick.restart == reason
    assert sorted(tick.missing) == ["joints", "right"]  # the samples before the jump are gone


def test_when_now_goes_back_expect_a_reset_too(robot):
    buffer = ObservationBuffer(robot)
    feed_all(buffer, BASE)
    buffer.ticks_ready(BASE + 5_000 * MS)
    buffer.ticks_ready(BASE)
    assert buffer.resets == 1
    assert buffer.ages_s(BASE) == {"left": math.inf, "right": math.inf, "joints": math.inf}


def test_when_stamps_of_one_stream_go_back_expect_a_reset_naming_it(robot):
    buffer = ObservationBuffer(robot)
    feed_all(buffer, BASE)
    reason = buffer.push("right", BASE - 2_000 * MS, BASE + 5 * MS, image(1))
    assert (reason.code, reason.value) == (Restart.STAMPS, 2.0)
    assert str(reason) == "the stamps of stream 'right' went back by 2.000 s"
    assert buffer.ticks_ready(BASE + 100 * MS)[0].restart == reason


def test_ticks_resolved_before_a_jump_stay_and_carry_no_reason(robot):
    buffer = ObservationBuffer(robot)
    feed_all(buffer, BASE)
    feed_all(buffer, BASE + 100 * MS)
    buffer.push("left", BASE - 5_000 * MS, BASE - 5_000 * MS, image(1))
    ticks = buffer.ticks_ready(BASE - 4_900 * MS)
    assert [(tick.stamp_ns - BASE) // MS for tick in ticks] == [0, -5_000]
    assert ticks[0].valid
    assert [tick.restart is None for tick in ticks] == [True, False]


def test_threads_that_overtake_one_another_are_no_jump(robot):
    buffer = ObservationBuffer(robot)
    feed_all(buffer, BASE)
    assert buffer.push("left", BASE + MS, BASE, image(1)) is None
    assert buffer.resets == 0


def test_when_time_leaps_ahead_expect_a_reset_and_no_flood_of_ticks(robot):
    buffer = ObservationBuffer(robot)
    feed_all(buffer, MS)  # simulated time before /clock, then a date
    buffer.ticks_ready()
    ticks = buffer.ticks_ready(BASE)
    assert buffer.resets == 1
    assert len(ticks) == 0
    feed_all(buffer, BASE + 100 * MS)
    assert buffer.ticks_ready(BASE + 120 * MS)[-1].valid


def test_reset_forgets_samples_and_waiting_ticks(robot):
    buffer = ObservationBuffer(robot)
    feed_all(buffer, BASE)
    feed_all(buffer, BASE + 100 * MS)
    buffer.reset("activated")
    assert buffer.ticks_ready(BASE + 400 * MS) == []
    buffer.push("left", BASE + 400 * MS, BASE + 401 * MS, image(1))
    ticks = buffer.ticks_ready(BASE + 420 * MS)
    assert [(tick.restart.code, str(tick.restart)) for tick in ticks] == [(Restart.ASKED, "activated")]
    assert not ticks[0].valid


def test_ages_take_the_older_of_stamp_and_arrival(robot):
    buffer = ObservationBuffer(robot)
    buffer.push("left", BASE + 60_000 * MS, BASE, image(1))  # a stamp from the future
    buffer.push("right", BASE - 300 * MS, BASE, image(1))
    ages = buffer.ages_s(BASE + 500 * MS)
    assert ages == pytest.approx({"left": 0.5, "right": 0.8, "joints": math.inf})


def test_refused_messages_do_not_count_and_the_tick_says_so(robot, messages):
    buffer = ObservationBuffer(robot)
    feed_all(buffer, BASE)
    bad = messages.joints(velocity=(0.0, float("nan")), stamp_ns=BASE + 250 * MS)
    buffer.push_message("joints", bad, BASE + 251 * MS)
    assert buffer.find_refused()["joints"].value == "b.velocity"
    tick = buffer.ticks_ready(BASE + 320 * MS)[-1]
    absence = tick.missing["joints"]
    assert (absence.code, absence.value) == (Absence.TOO_OLD, pytest.approx(0.3))
    assert "its last message was refused (" in str(absence)
    assert isinstance(absence.cause, Refusal)
    assert absence.cause.value == "b.velocity"
    buffer.push_message("joints", messages.joints(stamp_ns=BASE + 330 * MS), BASE + 331 * MS)
    assert buffer.find_refused() == {}


def test_messages_that_do_not_fit_the_file_are_errors(robot, messages):
    with refused(
        DecodeError,
        Code.UNKNOWN,
        subject="stream 'joints' (topic /joint_states)",
        value="b",
        problem="lacks the joint",
    ):
        ObservationBuffer(robot).push_message("joints", messages.joints(("a", "z")), BASE)


def test_deferred_pictures_are_decoded_once_and_only_when_used(robot):
    buffer = ObservationBuffer(robot)
    decoded = []

    def later(level):
        def decode():
            decoded.append(level)
            return image(level)

        return decode

    for step in range(10):  # 100 Hz pictures, 10 Hz ticks
        buffer.push("left", BASE + 10 * step * MS, BASE + 10 * step * MS, later(step))
    feed = ObservationBuffer.push
    feed(buffer, "right", BASE, BASE + 90 * MS, image(0))
    feed(buffer, "joints", BASE, BASE + 90 * MS, state(0, 0, 0, 0))
    buffer.ticks_ready(BASE + 220 * MS)
    assert decoded == [0, 9]


def test_when_a_deferred_picture_is_bad_expect_the_one_before(robot):
    buffer = ObservationBuffer(robot)

    def bad():
        raise InvalidSampleError(Code.DAMAGED, "the picture", problem="is cut short")

    feed_all(buffer, BASE - 60 * MS, level=4)
    buffer.push("left", BASE - 10 * MS, BASE - 5 * MS, bad)
    tick = buffer.ticks_ready(BASE + 20 * MS)[-1]
    assert tick.arrays["left"][0, 0, 0] == 4
    assert tick.ages_s["left"] == pytest.approx(0.06)
    assert list(buffer.find_refused()) == ["left"]
    assert (buffer.find_refused()["left"].code, buffer.find_refused()["left"].subject) == (
        Code.DAMAGED,
        "the picture",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("left", state(1, 2)),
        ("left", image(1).astype(np.float32)),
        ("joints", state(1, 2, 3)),
        ("joints", image(1)),
    ],
)
def test_when_an_array_does_not_fit_expect_error(robot, name, value):
    with pytest.raises(HptError, match=f"stream '{name}' was given an array of shape"):
        ObservationBuffer(robot).push(name, BASE, BASE, value)


def test_when_the_stream_is_unknown_expect_the_known_ones(robot):
    with refused(
        HptError,
        Code.MISSING,
        subject="embodiment 'tiny'",
        value="top",
        problem="no stream",
        remedy="its streams are left, right, joints",
    ):
        ObservationBuffer(robot).push("top", BASE, BASE, image(1))


@pytest.mark.parametrize("settle_s", [-0.1, 1.5, float("nan")])
def test_when_settle_is_out_of_range_expect_error(robot, settle_s):
    with refused(HptError, Code.INVALID, subject="settle_s"):
        ObservationBuffer(robot, settle_s=settle_s)


def test_memory_is_bounded_without_anybody_asking(robot):
    buffer = ObservationBuffer(robot)
    for step in range(5_000):  # stamps an hour ahead: no tick ever uses them
        stamp = BASE + step * 20 * MS
        buffer.push("joints", stamp + 3_600_000 * MS, stamp, state(0, 0, 0, 0))
        buffer.push("left", stamp, stamp, image(0))
    assert max(len(feed.track.samples) for feed in buffer._feeds.values()) <= 100
    assert len(buffer.ticks_ready()) <= 110


_STREAMS = st.sampled_from(["left", "right", "joints"])
_EVENTS = st.lists(
    st.tuples(
        _STREAMS,
        st.integers(0, 60 * MS),  # arrival after the event before
        st.integers(-30 * MS, 80 * MS),  # age of the sample when it arrives
        st.floats(-3, 3),
    ),
    max_size=60,
)


def _play(robot: Embodiment, events, asks):
    """Ticks of a sequence of pushes, asked for at the times in `asks` between them."""
    buffer = ObservationBuffer(robot)
    ticks, arrival, pending = [], BASE, sorted(asks)
    for name, step, age, number in events:
        while pending and BASE + pending[0] < arrival + step:
            ticks += buffer.ticks_ready(max(arrival, BASE + pending.pop(0)))
        arrival += step
        value = state(number, -number, 1, 2) if name == "joints" else image(int(40 * (number + 3)))
        buffer.push(name, arrival - age, arrival, value)
    return ticks + buffer.ticks_ready(arrival + 40 * MS)


@settings(max_examples=150)
@given(_EVENTS, st.lists(st.integers(0, 3_600 * MS), max_size=20))
def test_ticks_depend_on_the_pushes_and_not_on_when_somebody_asks(events, asks):
    robot = ROBOT
    once, often = _play(robot, events, []), _play(robot, events, asks)
    assert [tick.index for tick in once] == [tick.index for tick in often]
    for a, b in zip(once, often, strict=True):
        assert a.missing == b.missing
        assert a.ages_s == b.ages_s
        np.testing.assert_array_equal(a.state, b.state)
        assert a.arrays.keys() == b.arrays.keys()
        for name in a.arrays:
            np.testing.assert_array_equal(a.arrays[name], b.arrays[name])


@settings(max_examples=150)
@given(_EVENTS)
def test_ticks_are_consecutive_and_states_lie_between_their_samples(events):
    ticks = _play(ROBOT, events, [])
    indices = [tick.index for tick in ticks]
    assert indices == list(range(indices[0], indices[0] + len(indices))) if indices else True
    numbers = [number for name, _, _, number in events if name == "joints"]
    for tick in ticks:
        assert tick.valid == (set(tick.arrays) == {"left", "right"} and tick.state.size == 4)
        if tick.valid:
            assert min(numbers) - 1e-9 <= tick.state[0] <= max(numbers) + 1e-9
            assert tick.state[0] == -tick.state[1]


@given(st.sampled_from([1.0, 10.0, 29.97, 30.0, 50.0, 59.94, 1000.0]), st.integers(0, 2 * 10**18))
def test_grid_finds_the_first_tick_at_or_after_a_time(tick_hz, time_ns):
    grid = TickGrid(tick_hz)
    index = grid.first_at_or_after(time_ns)
    assert grid.time_ns(index - 1) < time_ns <= grid.time_ns(index)
    assert abs((grid.time_ns(index + 1) - grid.time_ns(index)) - 1e9 / tick_hz) <= 1
