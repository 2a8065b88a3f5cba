# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Asks the nodes of a demo for things, and waits for the answers in simulated time.

Everything goes through the services and topics that a person would use from the shell.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from hpt_msgs.msg import EpisodeEvent, PolicyStatus
from hpt_msgs.srv import ClearFault, GetTaskResult, ResetScene, StartEpisode, StopEpisode
from hpt_ros.errors import Code, HptError, Refusal
from hpt_ros.nodes.policy.policy_node import PolicyNode

# Wall time within which any node of this process must answer; generous, since rendering holds up the simulator.
ANSWER_TIMEOUT_S = 60.0
POLL_S = 0.02  # wall time between looks at the simulated clock


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """How one episode ended."""

    seed: int
    success: bool
    progress: float  # share of the task done, 0 to 1, as the simulator judges it
    duration_s: float  # simulated
    detail: str
    fault: str  # why the policy node stopped by itself; empty if it did not


class EpisodeRunner(Node):
    """Resets the scene, starts and stops the policy or the teleoperator, and asks how it went.

    Spin it on another thread (`Composition.add`); its methods block the caller.
    """

    def __init__(self, *, context: Context) -> None:
        overrides = [Parameter("use_sim_time", value=True)]
        super().__init__("demo_director", context=context, parameter_overrides=overrides)
        self._callers: dict[str, Any] = {}
        self._status: PolicyStatus | None = None
        self._teleop_done = threading.Event()
        self.create_subscription(PolicyStatus, "/policy_node/status", self._on_status, 10)
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(Bool, "/teleop_node/done", self._on_done, latched)

    def run_episode(self, seed: int, timeout_s: float) -> EpisodeResult:
        """Let the policy node run one episode on the scene of this seed; returns when it succeeded or time is up.

        Args:
            seed: of the scene.
            timeout_s: simulated seconds.
        """
        self.reset_scene(seed)
        self._status = None
        start_s = self.now_s()
        self.change_policy_state(Transition.TRANSITION_ACTIVATE)
        try:
            result = GetTaskResult.Response()
            next_look_s = start_s + 0.5
            while self.now_s() < start_s + timeout_s and not result.success and not self._fault():
                self._wait_until(next_look_s)
                next_look_s += 0.5
                result = self.task_result()
        finally:
            fault = self._fault()
            self.change_policy_state(Transition.TRANSITION_DEACTIVATE)
        if fault:
            self.call(ClearFault, "/policy_node/clear_fault")
        duration_s = self.now_s() - start_s
        return EpisodeResult(
            seed, bool(result.success), float(result.progress), duration_s, result.detail, fault
        )

    def demonstrate(self, seed: int, task: str, timeout_s: float) -> tuple[EpisodeResult, str]:
        """Record one demonstration of the scripted teleoperator; returns its result and the bag's folder."""
        self.reset_scene(seed)
        self._wait_until(self.now_s() + 0.3)
        request = StartEpisode.Request(task=task, operator_name="scripted teleoperator")
        started = self.call(StartEpisode, "/recorder_node/start_episode", request)
        start_s = self.now_s()
        self._teleop_done.clear()
        self.call(Trigger, "/teleop_node/start")
        while not self._teleop_done.is_set() and self.now_s() < start_s + timeout_s:
            time.sleep(POLL_S)
        result = self.task_result()
        outcome = EpisodeEvent.OUTCOME_SUCCESS if result.success else EpisodeEvent.OUTCOME_FAILURE
        self.call(StopEpisode, "/recorder_node/stop_episode", StopEpisode.Request(outcome=outcome))
        duration_s = self.now_s() - start_s
        episode = EpisodeResult(
            seed, bool(result.success), float(result.progress), duration_s, result.detail, ""
        )
        return episode, str(started.bag_path)

    def reset_scene(self, seed: int) -> None:
        """Put the arm at its start, the kibble into the bin and the bowl at this seed's place."""
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

    def _wait_until(self, time_s: float) -> None:
        wall_limit_s = time.monotonic() + ANSWER_TIMEOUT_S
        while self.now_s() < time_s:
            time.sleep(POLL_S)
            if time.monotonic() > wall_limit_s:
                raise HptError(
                    Code.TIMEOUT, "simulated time", ANSWER_TIMEOUT_S,
                    problem=f"stood still at {self.now_s():.2f} s for {{value}} s of wall time",
                    remedy="see the simulator's log",
                )  # fmt: skip

    def _fault(self) -> str:
        """Why the policy node stopped by itself; empty if it did not."""
        status = self._status
        return status.fault if status is not None and status.state == PolicyStatus.FAULT else ""

    def _on_status(self, message: PolicyStatus) -> None:
        self._status = message

    def _on_done(self, message: Bool) -> None:
        if message.data:
            self._teleop_done.set()
