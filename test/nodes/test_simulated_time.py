# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The real node on simulated time that never begins, pauses, is reset, or leaps."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from lifecycle_msgs.msg import Transition
from policy_rig import Rig, policy_rig, wait_for
from rclpy.parameter import Parameter
from second_publishers import SimulatedClock
from std_srvs.srv import Trigger

from hpt_ros.control import State


@pytest.fixture
def simulation() -> Iterator[tuple[Rig, SimulatedClock]]:
    with policy_rig() as rig:
        rig.robot.set_parameters([Parameter("use_sim_time", value=True)])
        yield rig, rig.composition.add(SimulatedClock(rig.composition.context))


def fault(rig: Rig) -> str:
    return str(rig.robot.statuses[-1].fault) if rig.robot.statuses else ""


def resting(rig: Rig, since: int) -> bool:
    return any(not item.velocity.any() for item in rig.robot.commands[since:])


def test_when_nobody_publishes_the_simulated_clock_expect_waiting_and_that_said(simulation):
    rig, clock = simulation
    clock.running = False
    rig.composition.remove(clock)
    node = rig.start(use_sim_time=True)
    wait_for(lambda: "simulated time has not begun: nothing comes on /clock" in fault(rig), "the reason")
    assert "it has no publisher" in fault(rig)
    assert rig.state() is State.WAITING
    assert rig.robot.call(Trigger, "stop").success
    assert rig.robot.change(Transition.TRANSITION_DEACTIVATE)
    assert node.state is State.INACTIVE
    assert rig.robot.commands == []


def test_when_simulated_time_pauses_while_moving_expect_rest_the_reason_and_motion_again(simulation):
    rig, clock = simulation
    node = rig.start(use_sim_time=True)
    rig.until_moving()
    sent, clock.running = len(rig.robot.commands), False
    wait_for(lambda: resting(rig, sent), "rest")
    wait_for(lambda: "simulated time stands still since" in fault(rig), "the reason")
    time.sleep(1.5)  # longer than HOLDING may last, of a time that stands still
    assert rig.state() is State.HOLDING
    clock.running = True
    rig.until_moving()
    assert node.counters()["clock_jumps"] == 1
    assert node.counters()["faults"] == 0


@pytest.mark.parametrize("how", ["stop", "deactivate"])
def test_when_stopped_while_simulated_time_stands_still_expect_braking_now(simulation, how):
    rig, clock = simulation
    rig.start(use_sim_time=True)
    rig.until_moving()
    clock.running = False
    time.sleep(0.05)
    sent = len(rig.robot.commands)
    if how == "stop":
        assert "brakes" in rig.robot.call(Trigger, "stop").message
    else:
        assert rig.robot.change(Transition.TRANSITION_DEACTIVATE)
    wait_for(lambda: resting(rig, sent), "rest")
    rig.check_limits()
    assert rig.state() is (State.FAULT if how == "stop" else State.INACTIVE)


@pytest.mark.parametrize("to_s", [0.5, 1_000.0])
def test_when_simulated_time_is_reset_or_leaps_while_moving_expect_rest_and_motion_again(simulation, to_s):
    rig, clock = simulation
    node = rig.start(use_sim_time=True)
    rig.until_moving()
    sent, clock.now_ns = len(rig.robot.commands), round(to_s * 1e9)
    wait_for(lambda: resting(rig, sent), "rest")
    rig.until_moving()
    assert node.counters()["clock_jumps"] == 1
    assert node.counters()["faults"] == 0


def test_when_two_nodes_publish_the_clock_expect_rest_and_a_fault_that_names_both(simulation):
    rig, _ = simulation
    rig.start(use_sim_time=True)
    rig.until_moving()
    sent = len(rig.robot.commands)
    other = rig.composition.add(SimulatedClock(rig.composition.context, "bag_player"))
    rig.until(State.FAULT)
    wait_for(lambda: resting(rig, sent), "rest")
    wait_for(
        lambda: "simulated time goes back and forth: /clock has 2 publishers" in fault(rig), "the reason"
    )
    assert "/simulated_clock" in fault(rig)
    assert "/bag_player" in fault(rig)
    rig.composition.remove(other)
    wait_for(lambda: rig.node.clear_fault()[0], "the fault cleared")
    rig.until_moving()


def test_when_simulated_time_is_chosen_while_moving_but_nobody_publishes_it_expect_rest_and_motion_again_without_it():
    with policy_rig() as rig:
        node = rig.start()
        rig.until_moving()
        sent = len(rig.robot.commands)
        node.set_parameters([Parameter("use_sim_time", value=True)])
        wait_for(lambda: resting(rig, sent), "rest")
        wait_for(lambda: "simulated time has not begun" in fault(rig), "the reason")
        node.set_parameters([Parameter("use_sim_time", value=False)])
        rig.until_moving()
        assert node.counters()["faults"] == 0
