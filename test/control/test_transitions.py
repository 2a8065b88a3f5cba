# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Every transition of the table, brought about in the real controller over injected time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from control_rig import DT_S, Rig
from support.refused import saying

from hpt_ros.control import TRANSITIONS, ControlConfig, Event, Fault, SafetyConfig, State
from hpt_ros.control.refusals import Why
from hpt_ros.errors import Refusal

# Of the node alone, which makes the controller and lets go of it.
OF_THE_NODE = {(State.UNCONFIGURED, Event.CONFIGURE), (State.INACTIVE, Event.CLEANUP)}


def waiting() -> Rig:
    rig = Rig(ControlConfig(safety=SafetyConfig(max_refused=2)))
    rig.controller.activate()
    rig.tick(10)
    return rig


def running() -> Rig:
    rig = Rig(ControlConfig(safety=SafetyConfig(max_refused=2))).run()
    rig.tick(5)
    return rig


def holding() -> Rig:
    rig = running()
    rig.joints_on = False
    rig.tick(25)
    rig.joints_on = True
    return rig


def fault() -> Rig:
    rig = running()
    rig.controller.stop()
    rig.tick(30)
    return rig


def inactive() -> Rig:
    return Rig()


def latched() -> Rig:
    rig = Rig()
    rig.controller.stop()
    return rig


def two_failures(rig: Rig) -> None:
    for _ in range(2):
        rig.controller.note_inference_error(saying("out of cheese", Why.INFERENCE))


def a_chunk(rig: Rig) -> None:
    rig.base = rig.measured()
    rig.tick(10)
    assert rig.chunk() is None
    rig.tick(10)


def a_far_chunk(rig: Rig) -> None:
    rig.pose = rig.measured() + 0.9
    rig.tick()
    assert rig.controller.take_chunk(rig.now, DT_S, np.tile(rig.pose, (16, 1)), rig.now) is None
    rig.tick()


def silence(rig: Rig) -> None:
    rig.joints_on = False
    rig.tick(25)


MAKE: dict[State, Callable[[], Rig]] = {
    State.INACTIVE: inactive, State.WAITING: waiting, State.RUNNING: running, State.HOLDING: holding,
    State.FAULT: fault,
}  # fmt: skip
DO: dict[Event, Callable[[Rig], object]] = {
    Event.ACTIVATE: lambda rig: rig.controller.activate(),
    Event.ACTIVATE_LATCHED: lambda rig: rig.controller.activate(),
    Event.DEACTIVATE: lambda rig: rig.controller.deactivate(),
    Event.READY: a_chunk,
    Event.STALE: silence,
    Event.EXHAUSTED: lambda rig: rig.tick(160),
    Event.CLOCK_JUMP: lambda rig: rig.controller.note_clock_jump(saying("the clock was set", Why.WENT_BACK)),
    Event.PAUSE: lambda rig: rig.controller.disable(),
    Event.AWAY: a_far_chunk,
    Event.HOLD_TIMEOUT: lambda rig: rig.tick(110),
    Event.ERROR: two_failures,
    Event.STOP: lambda rig: rig.controller.stop(),
    Event.CLEAR: lambda rig: rig.controller.clear_fault(),
}


@pytest.mark.parametrize(("state", "event"), sorted(set(TRANSITIONS) - OF_THE_NODE))
def test_when_it_happens_expect_the_next_state_commands_within_limits_and_a_reason_if_latched(
    state: State, event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = latched() if event is Event.ACTIVATE_LATCHED else MAKE[state]()
    assert rig.state() is state
    seen: list[tuple[State, Event]] = []
    machine = rig.controller._machine
    told = machine.event

    def noted(what: Event, reason: Refusal | None = None, fault: Fault | None = None) -> None:
        if (rig.state(), what) in TRANSITIONS:
            seen.append((rig.state(), what))
        told(what, reason, fault)

    monkeypatch.setattr(machine, "event", noted)
    DO[event](rig)
    assert seen[0] == (state, event)
    monkeypatch.undo()
    reached = TRANSITIONS[state, event]
    assert len(seen) > 1 or rig.state() is reached
    if rig.state() is State.FAULT:
        assert rig.controller.latched
        assert rig.controller.fault is not None
    if reached is not State.RUNNING:
        before = np.abs(rig.controller.filter.velocity)
        rig.tick(3)
        assert (np.abs(rig.controller.filter.velocity) <= before + 1e-12).all()
    rig.check_limits()
