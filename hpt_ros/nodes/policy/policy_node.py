# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The policy on a robot: a lifecycle node from observed topics to limited commands.

| interface | type |
| --- | --- |
| the embodiment's streams | subscriptions |
| the embodiment's outputs | what it says, e.g. trajectory_msgs/JointTrajectory, which ends at rest |
| the parameters outputs.* | the same command as std_msgs/Float64MultiArray or sensor_msgs/JointState |
| ~/status, ~/chunk, /diagnostics | hpt_msgs/PolicyStatus, hpt_msgs/ActionChunk, diagnostic_msgs/DiagnosticArray |
| ~/predicted_path | nav_msgs/Path, with a robot_description or Cartesian commands |
| ~/set_task, ~/clear_fault, ~/stop | services hpt_msgs/SetTask, hpt_msgs/ClearFault, std_srvs/Trigger |
| ~/stop | topic std_msgs/Empty: any message stops the robot |
| the parameter deadman.topic | std_msgs/Bool, true while a person holds the switch |
| the parameter speed_scaling.topic | std_msgs/Float64, the robot's own speed scaling |
| ~/run | action hpt_msgs/RunPolicy |

docs/safety.md says what it guarantees.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.parameter import Parameter

from hpt_ros.control import Command, ControlConfig, Fault, State
from hpt_ros.control.clock import Instant
from hpt_ros.control.refusals import Why
from hpt_ros.errors import Code, Refusal
from hpt_ros.nodes.common import parameters
from hpt_ros.nodes.common.executable import run
from hpt_ros.nodes.common.failing import answer_always
from hpt_ros.nodes.common.lifecycle import log_errors
from hpt_ros.nodes.common.parameters import StrictParameters
from hpt_ros.nodes.common.publishers import Publishers
from hpt_ros.nodes.policy import parameter_callback
from hpt_ros.nodes.policy.control_loop import ControlLoop
from hpt_ros.nodes.policy.decision_log import DecisionLog
from hpt_ros.nodes.policy.kinds import Kind
from hpt_ros.nodes.policy.loading import load_or_connect, make_runtime
from hpt_ros.nodes.policy.operator_services import create_operator_services
from hpt_ros.nodes.policy.prediction import Prediction
from hpt_ros.nodes.policy.ros_interfaces import RosInterfaces
from hpt_ros.nodes.policy.run_action import RunAction
from hpt_ros.nodes.policy.state_logger import StateLogger
from hpt_ros.nodes.policy.status_messages import Warned, warnings
from hpt_ros.nodes.policy.status_publisher import StatusPublisher
from hpt_ros.nodes.policy.streams import StreamMonitor
from hpt_ros.nodes.policy.topic_callbacks import TopicCallbacks
from hpt_ros.nodes.policy.waiting import Reason, reason, stale_streams
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.runtime.policy_config import PolicyNodeConfig
from hpt_ros.runtime.policy_runtime import PolicyRuntime


class PolicyNode(StrictParameters, LifecycleNode):
    """See the module. Make it in any process, with its own executor (`Composition.add`), and call `close` at the end.

    Attributes:
        refusal: why the last transition failed; None if it did not.
        watch: as given.
        starting: whether the executable makes the first transitions; it says their refusal itself.
    """

    def __init__(
        self,
        name: str = "policy_node",
        *,
        load: Callable[[], LoadedPolicy] | None = None,
        watch: Callable[[Command | None, State], None] | None = None,
        **node_arguments: Any,
    ) -> None:
        """Declare parameters; nothing is loaded before the configure transition.

        Args:
            name: node name.
            load: makes the policy in place of the parameters `policy`, `checkpoint` and `embodiment`.
            watch: is shown each control period's command, if one was sent, and the state after it.
            node_arguments: of rclpy's Node, e.g. context, parameter_overrides.
        """
        super().__init__(name, **node_arguments)
        self.refusal: Refusal | None = None
        self.may_come = self.starting = False
        self._load, self.watch = load, watch
        self._lock = threading.RLock()
        self._runtime: PolicyRuntime | None = None
        self._latched: tuple[Refusal | None, Fault | None] = (None, None)  # outlives a cleanup
        self._closed = self._failing = False
        self.state_log = StateLogger(self.get_logger())
        parameters.declare(self, PolicyNodeConfig, read_only=parameter_callback.NEVER)
        parameters.declare(self, ControlConfig)
        parameters.require_known(self)
        parameter_callback.require_names(self)
        self._config = parameters.read(self, PolicyNodeConfig)
        parameters.read(self, ControlConfig)
        self.add_on_set_parameters_callback(self._on_parameters)

        self._connections: RosInterfaces | None = None
        self._prediction: Prediction | None = None
        self._monitor: StreamMonitor | None = None
        self._loop, self._topic_callbacks = ControlLoop(self), TopicCallbacks(self)
        self._sources = Publishers(self)
        create_operator_services(self)
        self._run = RunAction(self, self._config.task_result_service)
        self._reports = StatusPublisher(self, self._config.status_rate_hz)
        answer_always(self)

    # --- for whoever composes the node -----------------------------------------------------------------------------

    def metrics(self) -> dict[str, NDArray[np.float64]]:
        """Timings in seconds since configuration, by name; see `hpt_ros.runtime.metrics.Metrics`."""
        with self._lock:
            return {} if self._runtime is None else self._runtime.metrics.arrays()

    def clear_metrics(self) -> None:
        """Forget the timings so far."""
        with self._lock:
            if self._runtime is not None:
                self._runtime.metrics.clear()

    def counters(self) -> dict[str, int]:
        """Counters since activation, by name."""
        with self._lock:
            return {} if self._runtime is None else self._runtime.all_counters()

    @property
    def state(self) -> State:
        """The controller's state."""
        with self._lock:
            return State.UNCONFIGURED if self._runtime is None else self._runtime.controller.state

    @property
    def runtime(self) -> PolicyRuntime | None:
        """What flies while configured; lock with `lock` when the node spins on another thread."""
        return self._runtime

    @property
    def monitor(self) -> StreamMonitor | None:
        """What watches the streams' rates while configured."""
        return self._monitor

    @property
    def lock(self) -> threading.RLock:
        """Guards the runtime."""
        return self._lock

    @property
    def now_ns(self) -> int:
        """Node time, simulated with use_sim_time."""
        return int(self.get_clock().now().nanoseconds)

    def close(self) -> None:
        """Brake if moving, end the worker; before `destroy_node`. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._reports.close()
            self._run.end_all()
            self._loop.stop()
            self._release()

    # --- lifecycle -------------------------------------------------------------------------------------------------

    @log_errors
    def on_configure(self, state: Any) -> Any:
        """Load the policy, make subscriptions and publishers. A mistake is logged as one sentence and refuses."""
        config, control = parameters.read(self, PolicyNodeConfig), parameters.read(self, ControlConfig)
        with ExitStack() as made:  # whatever fails, nothing of it stays
            loaded = self._load() if self._load is not None else load_or_connect(self, config)
            made.callback(loaded.close)
            runtime = make_runtime(loaded, config, control, lambda: self.now_ns, self.resolve_topic_name)
            made.callback(runtime.end)
            connections = RosInterfaces(
                self,
                loaded.embodiment,
                config.outputs,
                self._topic_callbacks,
                deadman_topic=control.deadman.topic,
                speed_topic=control.speed_scaling.topic,
            )
            made.callback(connections.close)
            prediction = Prediction(self, runtime, config)
            made.callback(prediction.close)
            parameters.require_known(self, qos=True)
            with self._lock:
                runtime.controller.latch(*self._latched)
                self._config, self._runtime, self._monitor = (
                    config,
                    runtime,
                    StreamMonitor(runtime.embodiment, loaded.image_sizes),
                )
                self._connections, self._prediction = connections, prediction
            made.pop_all()
        source = loaded.checkpoint or f"the {config.policy} policy"
        self.get_logger().info(
            f"configured for {loaded.embodiment.name} with {source}{loaded.computed_by}; "
            f"commands go to {connections.topics}"
        )
        if loaded.deployed:
            self.get_logger().info(f"this cell changes {'; '.join(loaded.deployed)}")
        return super().on_configure(state)

    @log_errors
    def on_activate(self, state: Any) -> Any:
        """Start control with nothing remembered."""
        with self._lock:
            runtime = self._require_runtime()
            folder = self._config.log_decisions  # first: it may refuse
            log = DecisionLog(Path(folder), self.get_fully_qualified_name(), runtime) if folder else None
            result = super().on_activate(state)
            runtime.activate(enabled=self._config.start_on_activate)
            self.watched().reset()
            self.state_log.reset()
            self._loop.start(log)
        if runtime.controller.latched is not None:
            self.get_logger().warning(
                f"activated, but latched: {runtime.controller.latched}; call ~/clear_fault"
            )
        return result

    @log_errors
    def on_deactivate(self, state: Any) -> Any:
        """Brake within the limits, stop and forget everything."""
        self._halt(release=False)
        return super().on_deactivate(state)

    @log_errors
    def on_cleanup(self, state: Any) -> Any:
        """Release the policy and all that configure made."""
        with self._lock:
            self._release()
        return super().on_cleanup(state)

    @log_errors
    def on_shutdown(self, state: Any) -> Any:
        """As deactivate and cleanup."""
        self._halt(release=True)
        return super().on_shutdown(state)

    @log_errors
    def on_error(self, state: Any) -> Any:
        """A transition failed by an internal error: release everything, back to unconfigured."""
        self._halt(release=True)
        return TransitionCallbackReturn.SUCCESS

    def _require_runtime(self) -> PolicyRuntime:
        if self._runtime is None:
            raise RuntimeError("the node is not configured")
        return self._runtime

    def _halt(self, *, release: bool) -> None:
        with self._lock:
            self._run.end_all()
            self._loop.stop()
            if release:
                self._release()

    def _release(self) -> None:
        if self._connections is not None:
            self._connections.close()
            self._connections = None
        if self._prediction is not None:
            self._prediction.close()
            self._prediction = None
        if self._runtime is not None:
            controller = self._runtime.controller
            self._latched = controller.latched, controller.fault
            if not self._runtime.close():
                self.get_logger().error("the policy did not come back; its thread ends with the process")
        self._runtime = None

    # --- control ---------------------------------------------------------------------------------------------------

    def time(self) -> Instant:
        """This moment on control time and on ROS time, with the lock held; a jump of ROS time is dealt with first."""
        return self._loop.now()

    @property
    def standstill(self) -> Refusal | None:
        """Why simulated time does not go on; None if it does."""
        return self._loop.standstill

    def reason(self, now_ns: int) -> Reason | None:
        """Return why the robot does not move on the policy's behalf, in WAITING and HOLDING; with the lock held."""
        if self._runtime is None:
            return None
        return reason(self._runtime, self._monitor, self.standstill, now_ns, self._sources.silence)

    def stale_streams(self, now_ns: int) -> dict[str, Reason]:
        """The streams that stop the robot, and why; with the lock held."""
        if self._runtime is None:
            return {}
        return stale_streams(self._runtime, self._monitor, now_ns, self._sources.silence)

    def warnings(self) -> list[Warned]:
        """What is not as it should be although the robot may move; with the lock held."""
        if self._runtime is None or self._monitor is None or not self._runtime.controller.state.active:
            return []
        return warnings(self._runtime, self._monitor)

    def draw(self, now_ns: int) -> None:
        """Publish the way of the newest chunk."""
        if self._prediction is not None:
            self._prediction.draw(now_ns)

    def check_run(self, runtime: PolicyRuntime, control_ns: int) -> None:
        """Look whether the goal of ~/run has ended."""
        self._run.check(runtime, control_ns)

    def unusable(self, kind: Kind, who: str, problem: Refusal) -> None:
        """Count and log what could not be used."""
        self.watched().unusable(who, problem)
        self.state_log.complain(kind, who, str(problem))

    def connected(self) -> RosInterfaces:
        """What a configured node is connected to."""
        if self._connections is None:
            raise RuntimeError("the node is not configured")
        return self._connections

    def watched(self) -> StreamMonitor:
        """What watches the streams of a configured node."""
        if self._monitor is None:
            raise RuntimeError("the node is not configured")
        return self._monitor

    # --- operators -------------------------------------------------------------------------------------------------

    def set_task(self, task: str) -> Refusal | None:
        """Set the task's text; returns why not, or None."""
        with self._lock:
            if self._runtime is None:
                remedy = "configure it first, or set the parameter task"
                return Refusal(Code.NOT_READY, "the node", problem="is not configured", remedy=remedy)
            return self._runtime.task.set(task)

    def clear_fault(self) -> tuple[bool, str]:
        """Clear what is latched; returns whether, and what or why not."""
        with self._lock:
            self._failing = False
            if self._runtime is None:
                self._latched = None, None
                return True, "the node is not configured; nothing is latched now"
            latched = self._runtime.controller.latched
            refused = self._runtime.controller.clear_fault()
        return refused is None, f"cleared: {latched}" if refused is None else str(refused)

    def stop(self, reason: str) -> str:
        """Stop the robot and latch, because somebody wants it; returns what was done."""
        return self._stop(Refusal(Why.STOPPED, problem=reason), Fault.STOPPED)

    def _stop(self, reason: Refusal, fault: Fault) -> str:
        with self._lock:
            if self._runtime is None:
                self._latched = (reason, fault) if self._latched[0] is None else self._latched
                return "latched; the node is not configured"
            before = self._runtime.controller.state
            if not self._runtime.controller.stop(reason, fault):
                return f"latched already: {self._runtime.controller.latched}"
            self.state_log.state(before, self._runtime)
        return "the robot brakes and stays until ~/clear_fault is called"

    def on_internal_error(self, error: Refusal) -> bool:
        """Brake and latch after an exception that left a callback; returns whether the node may go on.

        Once: if the control loop itself fails, or things fail again and again, whoever spins closes the node, and
        `close` brakes by a loop of its own.
        """
        with self._lock:
            again, self._failing = self._failing, True
            self._stop(error, Fault.INTERNAL)
        return not again

    def retune(self, config: PolicyNodeConfig, control: ControlConfig) -> None:
        """Take other parameters of control, while configured and not active; the policy stays loaded.

        Raises:
            HptError: the robot cannot be driven so.
        """
        old = self._require_runtime()
        runtime = make_runtime(old.loaded, config, control, lambda: self.now_ns, self.resolve_topic_name)
        runtime.controller.latch(old.controller.latched, old.controller.fault)
        runtime.task.text = old.task.text
        runtime.succeed(old)
        old.end()
        self._runtime, self._config = runtime, config
        if self._prediction is not None:
            self._prediction.runtime = runtime

    def _on_parameters(self, changes: Sequence[Parameter[Any]]) -> Any:
        refused = parameter_callback.change(self, changes)
        return SetParametersResult(successful=not refused, reason=str(refused or ""))


def main(args: Sequence[str] | None = None, name: str = "policy_node") -> int:
    """Run the node until SIGINT or SIGTERM; a moving robot is braked first. `name` stands in front of errors."""
    return run(name, PolicyNode, args)


if __name__ == "__main__":
    sys.exit(main())
