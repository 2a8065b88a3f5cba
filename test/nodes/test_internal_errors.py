# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Whatever raises in a callback of the node: the robot brakes within its limits, it is said, callers are answered."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from policy_rig import Rig, policy_rig, wait_for
from rclpy.lifecycle import LifecycleNodeMixin, TransitionCallbackReturn
from rclpy.node import Node

from hpt_msgs.srv import ClearFault, SetTask
from hpt_ros.control import State


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig() as made:
        yield made


def jazzys_change_state(self, transition_id):
    """As rclpy 7.1 has it: no `except` round the transition."""
    self._state_machine.trigger_transition_by_id(transition_id, True)
    return TransitionCallbackReturn.SUCCESS


@pytest.mark.parametrize("change", [None, jazzys_change_state])
@pytest.mark.parametrize("transition", [Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP, 250])
def test_when_a_transition_does_not_fit_expect_refused_and_the_robot_moving_on(
    rig, monkeypatch, change, transition
):
    rig.start()
    rig.until_moving()
    if change is not None:
        monkeypatch.setattr(LifecycleNodeMixin, "_LifecycleNodeMixin__change_state", change)
    assert not rig.robot.change(transition)
    sent = len(rig.robot.commands)
    wait_for(lambda: len(rig.robot.commands) > sent + 20, "further commands")
    assert rig.state() is State.RUNNING
    rig.check_limits()


def test_when_transitions_are_asked_for_at_the_same_time_expect_every_one_answered_and_motion_again(rig):
    """Two lifecycle managers, or one and a person."""
    rig.start(watchdog__timeout_s=1.5)
    rig.until_moving()
    wanted = (
        Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP, Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
    )  # fmt: skip
    callers = [Node(f"manager_{number}", context=rig.composition.context) for number in wanted]
    for caller in callers:
        rig.composition.add(caller)
    clients = [caller.create_client(ChangeState, "policy_node/change_state") for caller in callers]
    for client in clients:
        assert client.wait_for_service(timeout_sec=20.0)
    asked = [
        client.call_async(ChangeState.Request(transition=Transition(id=number)))
        for client, number in zip(clients, wanted, strict=True)
    ]
    wait_for(lambda: all(future.done() for future in asked), "every answer")
    assert any(future.result().success for future in asked)
    for number in (*wanted[2:], *wanted[2:]):  # wherever they left it; what does not fit is refused
        rig.robot.change(number)
    rig.until_moving()
    rig.check_limits()


def test_when_a_service_raises_while_moving_expect_an_answer_rest_and_a_latch_that_clears(
    rig, monkeypatch, capfd
):
    node = rig.start()
    rig.until_moving()
    monkeypatch.setattr(node, "set_task", lambda task: {}["no such key"])
    answer = rig.robot.call(SetTask, "set_task", SetTask.Request(task="wipe"))
    assert not answer.success
    assert answer.message.startswith("internal error, KeyError: 'no such key'")
    rig.until(State.FAULT)
    wait_for(lambda: not rig.robot.commands[-1].velocity.any(), "rest")
    rig.check_limits()
    assert str(node.runtime.controller.latched) == answer.message
    assert "Traceback" in capfd.readouterr().err
    monkeypatch.undo()
    wait_for(lambda: rig.robot.call(ClearFault, "clear_fault").success, "clearing")
    rig.until(State.RUNNING)


def test_when_a_subscription_raises_while_moving_expect_rest_and_a_latch(rig, monkeypatch):
    node = rig.start()
    rig.until_moving()
    broken = threading.Event()

    def note_message(*_: object) -> str:
        if broken.is_set():
            broken.clear()
            raise RuntimeError("out of cheese")
        return ""

    monkeypatch.setattr(node.monitor, "note_message", note_message)
    broken.set()
    rig.until(State.FAULT)
    wait_for(lambda: not rig.robot.commands[-1].velocity.any(), "rest")
    rig.check_limits()
    assert str(node.runtime.controller.latched).startswith("internal error, RuntimeError: out of cheese")


def test_when_the_control_timer_raises_again_and_again_expect_braked_by_close(rig, monkeypatch):
    node = rig.start()
    rig.until_moving()
    monkeypatch.setattr(node.state_log, "state", SimpleNamespace())  # not to be called
    wait_for(lambda: node._closed, "the end of the node")
    wait_for(lambda: not rig.robot.commands[-1].velocity.any(), "rest")
    rig.check_limits()


PROCESS = """
import sys, threading
from hpt_ros.nodes.policy import policy_node
from hpt_ros.nodes.common.run_lifecycle import run_lifecycle_node

class Broken(policy_node.PolicyNode):
    def __init__(self):
        super().__init__()
        self.create_timer(0.05, self.fail)

    def fail(self):
        raise RuntimeError("out of cheese")

sys.exit(run_lifecycle_node("policy_node", Broken, ["policy_node"]))
"""


def test_when_an_executable_cannot_go_on_expect_a_sentence_and_status_1():
    done = subprocess.run(
        [sys.executable, "-c", PROCESS], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "internal error, RuntimeError: out of cheese" in done.stderr
