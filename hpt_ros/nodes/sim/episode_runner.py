# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Asks the nodes of an evaluation for things, and waits for the answers in simulated time.

Everything goes through the services that a person would use from the shell.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from hpt_msgs.srv import GetTaskResult, ResetScene
from hpt_ros.errors import Code, HptError, Refusal
from hpt_ros.nodes.policy.policy_node import PolicyNode

# Wall time within which any node of this process must answer; generous, since rendering holds up the simulator.
ANSWER_TIMEOUT_S = 60.0
POLL_S = 0.02  # wall time between looks at the simulated clock


class EpisodeRunner(Node):
    """Resets the scene, takes the policy node through its life, and asks how the task stands.

    Spin it on another thread (`Composition.add`); its methods block the caller.
    """

    def __init__(self, *, context: Context) -> None:
        overrides = [Parameter("use_sim_time", value=True)]
        super().__init__("episode_runner", context=context, parameter_overrides=overrides)
        self._callers: dict[str, Any] = {}

    def reset_scene(self, seed: int) -> None:
        """Put everything at this seed's start, and wait until the cameras have shown it.

        Raises:
            HptError: the simulator refused.
        """
        self.call(ResetScene, "/sim/reset_scene", ResetScene.Request(seed=seed))

    def task_result(self) -> GetTaskResult.Response:
        """How the task stands now."""
        return self.call(GetTaskResult, "/sim/task_result")

    def configure_policy(self, policy: PolicyNode) -> None:
        """Configure the policy node.

        Raises:
            HptError: it refused; the sentence is the node's own.
        """
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
        if not self._ask(ChangeState, "/policy_node/change_state", request).success:
            raise HptError.of(
                policy.refusal
                or Refusal(
                    Code.NOT_READY, "the policy node", problem="cannot be configured", remedy="see its log"
                )
            )

    def change_policy_state(self, transition: int) -> None:
        """Take the policy node through one lifecycle transition.

        Raises:
            HptError: the node refused it; its log says why.
        """
        request = ChangeState.Request(transition=Transition(id=transition))
        self.call(ChangeState, "/policy_node/change_state", request)

    def call(self, kind: Any, name: str, request: Any = None) -> Any:
        """Call a service and wait for its answer.

        Raises:
            HptError: no such service, no answer in time, or the answer says that it failed.
        """
        answer = self._ask(kind, name, request)
        # GetTaskResult's `success` is about the task, not about the call.
        if kind is not GetTaskResult and not answer.success:
            why = getattr(answer, "message", "") or "see the node's log"
            raise HptError(Code.NOT_READY, f"the service {name} refused: {why}")
        return answer

    def _ask(self, kind: Any, name: str, request: Any) -> Any:
        if name not in self._callers:
            self._callers[name] = self.create_client(kind, name)
        client = self._callers[name]
        if not client.wait_for_service(timeout_sec=ANSWER_TIMEOUT_S):
            raise HptError(
                Code.TIMEOUT, f"the service {name}", ANSWER_TIMEOUT_S,
                problem="did not appear within {value} s", remedy="is its node running?",
            )  # fmt: skip
        answered = threading.Event()
        future = client.call_async(kind.Request() if request is None else request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(ANSWER_TIMEOUT_S):
            raise HptError(
                Code.TIMEOUT, f"the service {name}", ANSWER_TIMEOUT_S,
                problem="gave no answer within {value} s", remedy="see its node's log",
            )  # fmt: skip
        return future.result()

    def now_s(self) -> float:
        """Simulated time."""
        return float(self.get_clock().now().nanoseconds) * 1e-9

    def wait_until(self, time_s: float) -> None:
        """Wait for a moment of simulated time.

        Raises:
            HptError: simulated time stands still.
        """
        before_s, wall_limit_s = self.now_s(), time.monotonic() + ANSWER_TIMEOUT_S
        while (now_s := self.now_s()) < time_s:
            if now_s != before_s:
                before_s, wall_limit_s = now_s, time.monotonic() + ANSWER_TIMEOUT_S
            if time.monotonic() > wall_limit_s:
                raise HptError(
                    Code.TIMEOUT, "simulated time", ANSWER_TIMEOUT_S,
                    problem=f"stood still at {now_s:.2f} s for {{value}} s of wall time",
                    remedy="see the simulator's log",
                )  # fmt: skip
            time.sleep(POLL_S)
