# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The action ~/run: how goals end, and what a client learns about one that cannot begin.

Pinned: a goal that was refused was rejected without a word, since a rejection has no text; an exception in the callback
that decided about a goal left it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from action_msgs.msg import GoalStatus
from lifecycle_msgs.msg import Transition
from policy_rig import Rig, policy_rig, wait_for

from hpt_msgs.action import RunPolicy
from hpt_msgs.srv import ClearFault
from hpt_ros.control import State


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig() as made:
        yield made


def send(rig: Rig, task: str, timeout_s: float, feedback: Callable[[Any], Any] | None = None) -> Any:
    """The goal's handle, accepted."""
    client = rig.robot.run_client
    assert client.wait_for_server(timeout_sec=20.0)
    sent = client.send_goal_async(RunPolicy.Goal(task=task, timeout_s=timeout_s), feedback_callback=feedback)
    goal = wait_for(lambda: sent.done() and sent.result(), "the goal's answer")
    assert goal.accepted
    return goal


def answer(rig: Rig, task: str = "go", timeout_s: float = 60.0) -> RunPolicy.Result:
    """What comes of a goal that is aborted at once."""
    outcome = send(rig, task, timeout_s).get_result_async()
    answered = wait_for(lambda: outcome.done() and outcome.result(), "the result")
    assert answered.status == GoalStatus.STATUS_ABORTED
    assert answered.result.elapsed_s == 0.0
    return answered.result


@pytest.mark.parametrize("end", ["success", "timeout", "fault", "cancel", "deactivate"])
def test_run_action_ends_with_its_outcome_and_the_robot_at_rest(rig, end):
    node = rig.start(start_on_activate=False, task_result_service="/sim/task_result")
    wait_for(
        lambda: rig.robot.statuses and "waiting for a task" in rig.robot.statuses[-1].fault,
        "waiting for a task",
    )
    assert rig.robot.commands == []
    feedback: list[Any] = []
    limit_s = 0.5 if end == "timeout" else 60.0
    goal = send(rig, "go", limit_s, feedback.append)
    outcome = goal.get_result_async()
    if end != "timeout":
        rig.until_moving()
    match end:
        case "success":
            rig.robot.task_done = True
        case "fault":
            node.stop("test")
        case "cancel":
            goal.cancel_goal_async()
        case "deactivate":
            assert rig.robot.change(Transition.TRANSITION_DEACTIVATE)
    result = wait_for(lambda: outcome.done() and outcome.result(), "the result").result
    expected = {
        "success": RunPolicy.Result.SUCCEEDED,
        "timeout": RunPolicy.Result.TIMED_OUT,
        "fault": RunPolicy.Result.FAULTED,
        "cancel": RunPolicy.Result.CANCELED,
        "deactivate": RunPolicy.Result.CANCELED,
    }[end]
    assert result.outcome == expected, result.message
    assert result.elapsed_s > 0.0
    rig.until_rest()
    rig.check_limits()
    assert feedback


def test_when_a_goal_cannot_begin_expect_the_client_told_why_and_nothing_moved(rig):
    node = rig.start(active=False, start_on_activate=False)
    for transition, state in ((None, "UNCONFIGURED"), (Transition.TRANSITION_CONFIGURE, "INACTIVE")):
        assert transition is None or rig.robot.change(transition)
        refused = answer(rig)
        assert refused.outcome == RunPolicy.Result.REFUSED
        assert refused.message == f"the node is {state}, expected active, for a goal; activate it first"
    assert rig.robot.change(Transition.TRANSITION_ACTIVATE)
    for task, timeout_s, reason in (
        ("go", 0.0, "timeout_s is 0, expected more than 0 s"),
        ("go", float("nan"), "timeout_s is nan, expected more than 0 s"),
        (" ", 60.0, "the task is empty, expected a text"),
    ):
        refused = answer(rig, task, timeout_s)
        assert refused.outcome == RunPolicy.Result.REFUSED
        assert reason in refused.message
    assert node.runtime.task.text != " "
    assert rig.robot.commands == []
    node.stop("a person stood there")
    assert answer(rig).message == "a fault is latched (a person stood there); clear it first"
    wait_for(lambda: rig.robot.call(ClearFault, "clear_fault").success, "clearing")
    send(rig, "go", 60.0)
    rig.until_moving()
    refused = answer(rig, "jump")
    assert refused.message == "another goal is running; cancel that one first"
    assert node.runtime.task.text == "go"
    assert rig.state() is State.RUNNING
    rig.check_limits()


def test_when_a_goal_meets_a_fault_of_ours_expect_it_answered_and_the_node_alive(rig, monkeypatch, capfd):
    node = rig.start(start_on_activate=False)
    monkeypatch.setattr(node, "set_task", lambda task: {}["no such key"])
    failed = answer(rig)
    assert failed.outcome == RunPolicy.Result.FAULTED
    assert failed.message.startswith("internal error, KeyError: 'no such key'")
    assert str(node.runtime.controller.latched) == failed.message
    assert "Traceback" in capfd.readouterr().err
    monkeypatch.undo()
    wait_for(lambda: rig.robot.call(ClearFault, "clear_fault").success, "clearing")
    send(rig, "go", 60.0)
    rig.until_moving()


def test_when_a_goal_that_runs_meets_a_fault_of_ours_expect_it_answered_and_the_robot_at_rest(
    rig, monkeypatch
):
    node = rig.start(start_on_activate=False)
    outcome = send(rig, "go", 60.0).get_result_async()
    rig.until_moving()
    monkeypatch.setattr(RunPolicy, "Feedback", lambda **_: {}["no such key"])
    rig.until(State.FAULT)
    result = wait_for(lambda: outcome.done() and outcome.result(), "the result").result
    assert result.outcome == RunPolicy.Result.FAULTED
    assert "no such key" in result.message
    rig.until_rest()
    rig.check_limits()
    assert "no such key" in str(node.runtime.controller.latched)
