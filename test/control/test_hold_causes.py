# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""HOLDING over injected time: each cause has its own time, and what is over is neither latched nor named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from control_rig import DT_S, Rig
from hypothesis import given, settings
from hypothesis import strategies as st
from support.refused import assert_refusal, saying

from hpt_ros.control import State
from hpt_ros.control.holding import Cause, HoldTimes
from hpt_ros.control.link import CommandTopic
from hpt_ros.control.refusals import Why

TOPIC = "/arm/command"


def set_clock(rig: Rig) -> None:
    rig.controller.note_clock_jump(saying("the system clock was set back by 3.000 s", Why.WENT_BACK))


def lose_camera(rig: Rig) -> None:
    rig.camera_on = False
    rig.tick(40)
    rig.camera_on = True


def lose_controller(rig: Rig) -> None:
    rig.controller.note_graph([CommandTopic(TOPIC, taken=False)])
    rig.tick()
    rig.controller.note_graph([CommandTopic(TOPIC)])


def use_up(rig: Rig) -> None:
    rig.tick(160)


BEGIN = {"clock": set_clock, "camera": lose_camera, "controller": lose_controller, "chunk": use_up}


def held(begin: Callable[[Rig], object], slope: float = 0.5) -> Rig:
    """A robot that moved and is held, with all that held it over again, but no chunk yet."""
    rig = Rig().run(slope)
    rig.tick(40)
    begin(rig)
    assert rig.state() is State.HOLDING
    return rig


def chunk_at(rig: Rig, away: float) -> str:
    return rig.controller.take_chunk(rig.now, DT_S, np.tile(rig.measured() + away, (16, 1)), rig.now)


@pytest.mark.parametrize("begin", BEGIN.values(), ids=BEGIN)
def test_when_only_the_start_is_refused_expect_waiting_with_its_reason_and_motion_when_the_policy_comes_near(
    begin,
):
    rig = held(begin)
    for _ in range(30):
        chunk_at(rig, 0.5)
        rig.tick(10)
    assert rig.state() is State.WAITING
    assert rig.counters["faults"] == 0
    assert rig.controller.activation.missing.cause is Cause.START
    assert_refusal(rig.controller.activation.reason, Why.FAR, problem="from its pose")
    assert rig.tick() is None
    chunk_at(rig, 0.1)
    rig.start()
    rig.tick(60)
    rig.check_limits()


def test_when_the_start_is_refused_while_braking_expect_held_until_the_policy_comes_near_or_rest():
    for comes_near in (True, False):
        rig = held(lose_controller, slope=1.0)
        chunk_at(rig, 0.9)
        rig.tick()
        assert not rig.controller.plan.at_rest
        assert (rig.state(), rig.controller.activation.missing.cause) == (State.HOLDING, Cause.START)
        if comes_near:
            rig.tick()
            chunk_at(rig, 0.1)
            rig.tick()
            assert rig.state() is State.RUNNING
        else:
            rig.rest()
            assert rig.state() is State.WAITING
        rig.check_limits()


@pytest.mark.parametrize(
    ("begin", "then", "code", "subject"),
    [
        ("clock", "joints_on", Why.UNSEEN, "stream 'joints'"),
        ("clock", "", Why.NO_CHUNK, "no new chunk"),
        ("camera", "", Why.NO_CHUNK, "no new chunk"),
        ("camera", "joints_on", Why.STALE, "stream 'joints'"),
        ("controller", "", Why.NO_CHUNK, "no new chunk"),
        ("chunk", "", Why.USED_UP, "the chunk"),
        ("chunk", "camera_on", Why.STALE, "stream 'camera'"),
    ],
)
def test_when_another_cause_remains_expect_the_fault_to_name_it(begin, then, code, subject):
    rig = held(BEGIN[begin])
    if then:
        setattr(rig, then, False)
    rig.tick(300)
    assert rig.state() is State.FAULT
    latched = rig.controller.latched
    assert_refusal(latched, Why.HELD)
    assert_refusal(latched.value, code, subject=subject)
    assert str(latched) == f"held for more than 1 s: {latched.value}"


@pytest.mark.parametrize("begin", ["clock", "camera"])
def test_when_the_policy_takes_its_own_second_after_a_stream_is_back_expect_no_fault(begin):
    rig = Rig().run()
    rig.tick(40)
    if begin == "clock":
        set_clock(rig)
    rig.joints_on = False
    rig.tick(100 if begin == "camera" else 80)
    rig.joints_on = True
    rig.tick(90)
    assert rig.state() is State.HOLDING
    chunk_at(rig, 0.0)
    rig.tick()
    assert rig.state() is State.RUNNING


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(list(Cause)), st.integers(0, 2_000)), max_size=50))
def test_whatever_causes_alternate_expect_each_to_count_all_of_its_own_time_and_no_other(lasting):
    times, now_ms = HoldTimes(), 0
    own_ms = dict.fromkeys(Cause, 0)
    for number, (cause, length_ms) in enumerate(lasting):
        now_ms += length_ms
        own_ms[cause] += length_ms if number else 0  # what was before the first look is not known
        assert times.add(cause, now_ms) == own_ms[cause]
    times.begin()
    assert times.add(Cause.INPUT, now_ms) == 0
