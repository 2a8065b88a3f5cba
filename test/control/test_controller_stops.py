# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The controller over injected time: operators, tasks and clocks that stop it, and how it goes on."""

from __future__ import annotations

import numpy as np
import pytest
from control_rig import MS, START, Rig, S
from support.refused import assert_refusal, saying

from hpt_ros.control import State
from hpt_ros.control.refusals import Why


@pytest.mark.parametrize("prepare", ["waiting", "running", "holding"])
def test_when_stopped_by_an_operator_expect_rest_within_limits_then_silence_until_cleared(prepare):
    rig = Rig()
    if prepare == "waiting":
        rig.controller.activate()
        rig.tick(10)
    else:
        rig.run(slope=1.0)
        rig.tick(60)
        if prepare == "holding":
            rig.joints_on = False
            rig.tick(30)
            assert rig.state() is State.HOLDING
            rig.joints_on = True
    assert rig.controller.stop(saying("red button"))
    assert rig.state() is State.FAULT
    if prepare == "running":
        assert_refusal(rig.controller.clear_fault(), Why.BRAKING, problem="still braking")
    rig.tick(40)
    sent = len(rig.sent)
    rig.tick(40)
    assert len(rig.sent) == sent
    if prepare == "waiting":
        assert rig.sent == []
    else:
        assert not rig.sent[-1].velocity.any()
        rig.check_limits()
    assert str(rig.controller.activation.reason) == "red button"
    assert not rig.controller.stop()
    assert rig.controller.clear_fault() is None


def test_when_deactivated_with_a_fault_expect_it_latched_until_cleared():
    rig = Rig().run()
    rig.controller.stop(saying("red button"))
    rig.controller.deactivate()
    assert rig.state() is State.INACTIVE
    rig.controller.activate()
    assert rig.state() is State.FAULT
    assert str(rig.controller.activation.reason) == "red button"
    rig.tick(10)
    assert_refusal(rig.chunk(), Why.NOT_WANTED)
    rig.controller.deactivate()
    assert rig.controller.clear_fault() is None
    rig.controller.activate()
    assert rig.state() is State.WAITING


def test_when_stopped_while_inactive_expect_fault_on_activation():
    rig = Rig()
    assert rig.controller.stop()
    rig.controller.activate()
    assert rig.state() is State.FAULT
    assert rig.tick(10) is None


def test_when_nothing_to_clear_expect_said_so():
    found = Rig().controller.clear_fault()
    assert_refusal(found, Why.NOTHING_LATCHED, match="^there is no fault to clear in state INACTIVE$")


def test_when_deactivated_expect_silence_and_nothing_replayed_on_activation():
    rig = Rig().run(slope=1.0)
    rig.tick(20)
    rig.controller.deactivate()
    sent = len(rig.sent)
    assert rig.tick(10) is None
    assert rig.counters["commands_sent"] == sent
    rig.controller.activate()
    assert rig.state() is State.WAITING
    assert rig.tick(30) is None
    assert len(rig.sent) == sent
    assert_refusal(rig.controller.activation.waiting_for, Why.NO_CHUNK, match="^the policy's first chunk$")
    assert rig.counters["commands_sent"] == 0


def test_when_reactivated_expect_streams_unseen_until_new_messages():
    rig = Rig().run()
    rig.controller.deactivate()
    rig.controller.activate()
    rig.controller.step(rig.now)
    assert set(rig.controller.activation.stale) == {"camera", "joints"}


def test_when_task_ends_expect_rest_then_silence_and_going_on_only_when_enabled():
    rig = Rig().run(slope=0.5)
    rig.tick(40)
    rig.controller.disable()
    assert rig.state() is State.WAITING
    rig.tick(30)
    sent = len(rig.sent)
    assert_refusal(rig.chunk(), Why.NOT_WANTED)
    rig.tick(10)
    assert len(rig.sent) == sent
    rig.check_limits()
    rig.controller.enable()
    assert rig.chunk() is None
    rig.start()


def test_when_next_task_begins_while_still_braking_expect_rest_first():
    rig = Rig().run(slope=1.0)
    rig.tick(60)
    rig.controller.disable()
    rig.tick(2)
    rig.controller.enable()
    rig.base = rig.sent[-1].position.copy()
    rig.chunk(slope=-1.0)
    rig.tick()
    assert rig.state() is State.WAITING
    assert_refusal(rig.controller.activation.waiting_for, Why.BRAKING, match="^the robot to come to rest$")
    rig.tick(20)
    assert rig.state() is State.RUNNING
    at_rest = [index for index, command in enumerate(rig.sent) if not command.velocity.any()]
    assert at_rest
    rig.sent = rig.sent[: at_rest[0] + 1]  # what follows begins at the measured pose
    rig.check_limits()


def test_when_ros_time_goes_back_expect_braking_hold_and_nothing_old_used():
    rig = Rig().run(slope=0.5)
    rig.tick(60)
    rig.now -= 100 * S
    rig.tick()
    assert rig.state() is State.HOLDING
    assert rig.counters["clock_jumps"] == 1
    assert rig.sent[-1].time_ns < START
    rig.tick(20)
    assert rig.controller.filter.at_rest
    rig.check_limits()


def test_when_ros_time_jumps_expect_braking_hold_and_motion_again_with_fresh_streams_and_a_new_chunk():
    rig = Rig().run(slope=0.5)
    rig.tick(60)
    rig.controller.note_clock_jump(saying("ROS time jumped forward by 5 s", Why.WENT_BACK))
    rig.tick()
    assert rig.state() is State.HOLDING
    assert str(rig.controller.activation.reason) == "ROS time jumped forward by 5 s"
    assert rig.counters["clock_jumps"] == 1
    rig.tick(20)
    assert rig.controller.filter.at_rest
    # Control time goes on: the braking commands lie on the grid of those before.
    assert np.unique(np.diff([command.time_ns for command in rig.sent])) == [10 * MS]
    assert rig.counters["command_gaps"] == 0
    assert rig.chunk() is None
    rig.tick(60)
    assert rig.state() is State.RUNNING
    rig.check_limits()
