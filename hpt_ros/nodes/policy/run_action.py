# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The action ~/run: let the policy work on one task until it succeeds, time is up, it faults or it is cancelled.

A goal that cannot begin is accepted and aborted at once, with the outcome REFUSED and the reason as its message: a
rejection has no text.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.task import Future

from hpt_msgs.action import RunPolicy
from hpt_msgs.srv import GetTaskResult
from hpt_ros.control import State
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.errors import Code, Refusal
from hpt_ros.nodes.common.failing import go_on, internal_error
from hpt_ros.runtime.policy_runtime import PolicyRuntime

if TYPE_CHECKING:
    from hpt_ros.nodes.policy.policy_node import PolicyNode

FEEDBACK_PERIOD_S = 0.5  # of feedback, and of asking whether the task is done


@dataclass
class _Run:
    goal: Any
    done: Future[None]
    began_ns: int | None = None  # control time at the first look
    looked_steady_s: float = 0.0
    success: bool = False
    outcome: int = 0
    message: str = ""
    elapsed_s: float = 0.0


class RunAction:
    """One goal at a time; `check` is called once per control period and never waits."""

    def __init__(self, node: PolicyNode, task_result_service: str) -> None:
        """Offer the action.

        Args:
            node: whose lock guards this too.
            task_result_service: of type GetTaskResult, asked for success; empty if there is none.
        """
        self._node = node
        self._run: _Run | None = None
        self._server = ActionServer(
            node,
            RunPolicy,
            "~/run",
            execute_callback=self._execute,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )
        self._results: Any = None
        if task_result_service:
            self._results = node.create_client(GetTaskResult, task_result_service)

    def check(self, runtime: PolicyRuntime, now_ns: int) -> None:
        """Look whether the goal has ended, at a control time."""
        run = self._run
        if run is None:
            return
        if run.began_ns is None:
            run.began_ns = now_ns
        run.elapsed_s = (now_ns - run.began_ns) / NS_PER_S
        state = runtime.controller.state
        if run.success:
            self._end(run, RunPolicy.Result.SUCCEEDED, "the task is done")
        elif state is State.FAULT:
            self._end(run, RunPolicy.Result.FAULTED, str(runtime.controller.latched))
        elif run.goal.is_cancel_requested:
            self._end(run, RunPolicy.Result.CANCELED, "the goal was cancelled")
        elif run.elapsed_s >= run.goal.request.timeout_s:
            self._end(run, RunPolicy.Result.TIMED_OUT, f"not done within {run.goal.request.timeout_s:g} s")
        else:
            self._look(run, state)
            return
        runtime.controller.disable()

    def end_all(self) -> None:
        """The node stops being active: a goal that runs is cancelled."""
        if self._run is not None:
            self._end(self._run, RunPolicy.Result.CANCELED, "the node was deactivated")

    def _look(self, run: _Run, state: State) -> None:
        steady_s = time.monotonic()
        if steady_s < run.looked_steady_s + FEEDBACK_PERIOD_S:
            return
        run.looked_steady_s = steady_s
        run.goal.publish_feedback(
            RunPolicy.Feedback(state=int(state), state_name=state.name, elapsed_s=run.elapsed_s)
        )
        if self._results is not None and self._results.service_is_ready():
            answer = self._results.call_async(GetTaskResult.Request())
            answer.add_done_callback(lambda future: self._on_task_result(run, future))

    def _on_task_result(self, run: _Run, future: Any) -> None:
        answer = future.result()
        run.success = run.success or (answer is not None and bool(answer.success))

    def _end(self, run: _Run, outcome: int, message: str) -> None:
        run.outcome, run.message = outcome, message
        self._run = None
        run.done.set_result(None)

    async def _execute(self, goal: Any) -> Any:
        node = self._node
        try:
            begun = self._begin(goal)
            if isinstance(begun, _Run):
                return await _outcome(begun)
            node.get_logger().error(f"{node.get_name()} refuses a goal: {begun}")
            goal.abort()
            return RunPolicy.Result(outcome=RunPolicy.Result.REFUSED, message=str(begun))
        except (
            Exception
        ) as error:  # rclpy would log it, answer with an empty result, and let the robot move on
            go_on(node, error)
            self._forget(goal)
            if goal.is_active:
                goal.abort()
            return RunPolicy.Result(outcome=RunPolicy.Result.FAULTED, message=str(internal_error(error)))

    def _begin(self, goal: Any) -> _Run | Refusal:
        """Let the policy work on the goal, or say why not."""
        node, timeout_s = self._node, goal.request.timeout_s
        with node.lock:
            if not node.state.active or node.runtime is None:
                return Refusal(
                    Code.NOT_READY, "the node", node.state.name, problem=f"is {node.state.name}",
                    expected="active, for a goal", remedy="activate it first",
                )  # fmt: skip
            if node.state is State.FAULT:
                latched = node.runtime.controller.latched
                return Refusal(
                    Code.NOT_READY, "a fault", problem="is latched", remedy="clear it first", cause=latched
                )
            if self._run is not None:
                return Refusal(
                    Code.NOT_READY, "another goal", problem="is running", remedy="cancel that one first"
                )
            if not timeout_s > 0.0:
                return Refusal(Code.OUT_OF_RANGE, "timeout_s", timeout_s, expected="more than 0 s")
            if refused := node.set_task(goal.request.task):
                return refused
            run = self._run = _Run(goal, Future())
            node.runtime.controller.enable()
        return run

    def _forget(self, goal: Any) -> None:
        with self._node.lock:
            if self._run is not None and self._run.goal is goal:
                self._run = None


async def _outcome(run: _Run) -> Any:
    await run.done
    if run.outcome == RunPolicy.Result.SUCCEEDED:
        run.goal.succeed()
    elif run.outcome == RunPolicy.Result.CANCELED and run.goal.is_cancel_requested:
        run.goal.canceled()
    else:
        run.goal.abort()
    return RunPolicy.Result(outcome=run.outcome, message=run.message, elapsed_s=run.elapsed_s)
