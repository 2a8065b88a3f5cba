# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Control time never goes back, whatever ROS time does, and every step of ROS time is noticed."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from support.refused import assert_refusal

from hpt_ros.control.clock import FOLLOWED, SIMULATED_LEAP_S, STEP_S, ControlClock, Reading
from hpt_ros.control.refusals import Why

S = 1_000_000_000
MS = 1_000_000
EPOCH = 1_800_000_000 * S
STEP_NS = round(STEP_S * S)

intervals = st.integers(0, S)
steps = st.integers(-(2**62), 2**62)


@given(st.lists(st.tuples(intervals, steps, st.booleans(), st.integers(0, S)), min_size=2))
def test_whatever_the_clocks_show_expect_control_time_never_to_go_back(moves):
    clock, steady = ControlClock(), 5 * S
    times = []
    for interval, ros, simulated, asleep in moves:
        steady += interval
        instant = clock.read(Reading(steady, ros, simulated, asleep_ns=asleep))
        assert instant.control_ns + instant.ahead_ns == instant.ros_ns
        assert abs(instant.ros_ns - ros) <= (0 if simulated else STEP_NS)
        times.append(instant.control_ns)
    assert all(before <= after for before, after in itertools.pairwise(times))


@given(st.lists(st.tuples(intervals, st.floats(-FOLLOWED, FOLLOWED)), min_size=1))
def test_when_the_system_clock_is_adjusted_gradually_expect_it_followed_smoothly_and_no_jump(moves):
    clock, steady, ros = ControlClock(), 5 * S, EPOCH
    before = clock.read(Reading(steady, ros))
    for interval, drift in moves:
        steady, ros = steady + interval, ros + interval + int(drift * interval)
        instant = clock.read(Reading(steady, ros))
        assert (instant.control_ns, instant.jump) == (steady, None)
        assert abs(instant.ros_ns - ros) <= STEP_NS
        assert abs(instant.ahead_ns - before.ahead_ns) <= FOLLOWED * interval + 1
        before = instant


@given(st.lists(st.tuples(intervals, st.integers(0, 200_000)), min_size=1))
def test_when_reading_the_clocks_takes_its_time_expect_no_jitter_between_them(moves):
    clock, steady = ControlClock(), 5 * S
    first = clock.read(Reading(steady, EPOCH))
    for interval, late in moves:
        steady += interval
        instant = clock.read(Reading(steady + late, EPOCH + steady - 5 * S, error_ns=late))
        assert (instant.ahead_ns, instant.jump) == (first.ahead_ns, None)
        steady += late


@given(
    intervals,
    st.sampled_from([-1, 1]),
    st.one_of(st.integers(STEP_NS + 2 * MS + 1, S), st.integers(S, 10 * 365 * 86_400 * S)),
    st.integers(0, MS),
)
def test_when_the_system_clock_is_set_expect_a_jump_with_its_size_and_steady_control_time(
    interval, way, size, error
):
    clock = ControlClock()
    clock.read(Reading(S, EPOCH, error_ns=error))
    instant = clock.read(Reading(S + interval, EPOCH + interval + way * size, error_ns=error))
    assert instant.control_ns == S + interval
    assert_refusal(instant.jump, Why.WENT_BACK if way < 0 else Why.WENT_FORWARD)
    assert (
        str(instant.jump)
        == f"the system clock was set {'back' if way < 0 else 'forward'} by {size / S:.3f} s"
    )
    after = clock.read(Reading(2 * S + interval, EPOCH + interval + way * size + S))
    assert (after.jump, after.ros_ns) == (None, EPOCH + interval + way * size + S)  # one jump is one event


def test_when_the_two_clocks_could_not_be_read_together_expect_no_jump_of_that_size():
    clock = ControlClock()
    clock.read(Reading(S, EPOCH))
    assert clock.read(Reading(2 * S, EPOCH + S + 40 * MS, error_ns=50 * MS)).jump is None
    jump = clock.read(Reading(3 * S, EPOCH + 2 * S + 240 * MS, error_ns=50 * MS)).jump
    assert_refusal(jump, Why.WENT_FORWARD, problem="forward by 0.240")


@given(st.lists(st.tuples(intervals, st.integers(0, round(SIMULATED_LEAP_S * S))), min_size=1))
def test_when_time_is_simulated_expect_control_time_to_follow_it_whatever_the_real_time(moves):
    clock, steady, ros = ControlClock(), 5 * S, 100 * S
    first = clock.read(Reading(steady, ros, simulated=True))
    for interval, moved in moves:
        steady, ros = steady + interval, ros + moved
        instant = clock.read(Reading(steady, ros, simulated=True))
        assert instant.jump is None
        assert instant.ahead_ns == first.ahead_ns


def test_when_simulated_time_went_back_and_forward_between_two_readings_expect_a_jump():
    clock = ControlClock()
    clock.read(Reading(0, 100 * S, simulated=True))
    on = clock.read(Reading(20 * MS, 100 * S + 20 * MS, simulated=True, back_ns=500 * MS))
    assert_refusal(on.jump, Why.WENT_BACK, match="^simulated time went back by 0.500 s and forward again$")
    assert on.control_ns == 100 * S + 20 * MS


def test_when_simulated_time_is_reset_or_leaps_expect_a_jump_and_control_time_going_on_from_there():
    clock = ControlClock()
    clock.read(Reading(0, 100 * S, simulated=True))
    back = clock.read(Reading(S, S // 2, simulated=True))
    assert_refusal(back.jump, Why.WENT_BACK, match="^simulated time went back by 99.500 s$")
    assert back.control_ns == 100 * S
    on = clock.read(Reading(2 * S, S, simulated=True))
    assert (on.jump, on.control_ns) == (None, 100 * S + S // 2)
    leap = clock.read(Reading(3 * S, 11 * S, simulated=True))
    assert_refusal(leap.jump, Why.WENT_FORWARD, match="^simulated time jumped forward by 10.000 s$")
    assert leap.control_ns > on.control_ns


def test_when_simulated_time_has_not_begun_expect_it_said_and_its_begin_to_be_no_jump():
    clock = ControlClock()
    clock.read(Reading(0, 0, simulated=True))
    assert not clock.begun
    instant = clock.read(Reading(S, 5_000 * S, simulated=True))
    assert clock.begun
    assert instant.jump is None


def test_when_simulated_time_stands_still_expect_its_duration_and_control_time_to_advance_on_demand():
    clock = ControlClock()
    clock.read(Reading(0, 100 * S, simulated=True))
    clock.read(Reading(S, 101 * S, simulated=True))
    still = clock.read(Reading(4 * S, 101 * S, simulated=True))
    assert clock.still_s(4 * S) == 3.0
    clock.advance(20 * MS)
    braking = clock.read(Reading(4 * S, 101 * S, simulated=True))
    assert braking.control_ns == still.control_ns + 20 * MS
    assert braking.ros_ns == still.ros_ns + 20 * MS
    on = clock.read(Reading(5 * S, 102 * S, simulated=True))
    assert (on.jump, on.control_ns, on.ros_ns) == (None, still.control_ns + S, 102 * S)
    assert clock.still_s(5 * S) == 0.0


def test_when_the_machine_slept_expect_a_jump_that_says_so():
    clock = ControlClock()
    clock.read(Reading(S, EPOCH))
    instant = clock.read(Reading(2 * S, EPOCH + 3_601 * S, asleep_ns=3_600 * S))
    assert_refusal(instant.jump, Why.SLEPT, value=3600.0, match="^this machine slept for 3600.000 s$")
    assert instant.control_ns == 2 * S  # the monotonic clock stood still meanwhile


def test_when_use_sim_time_changes_expect_a_jump():
    clock = ControlClock()
    first = clock.read(Reading(S, EPOCH))
    instant = clock.read(Reading(2 * S, 5 * S, simulated=True))
    assert_refusal(instant.jump, Why.CLOCK_CHANGED, match="^use_sim_time was changed$")
    assert instant.control_ns == first.control_ns + S
