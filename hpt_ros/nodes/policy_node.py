"""The policy on a robot: a lifecycle node from observed topics to limited commands.

| interface | type |
| --- | --- |
| the embodiment's streams | subscriptions |
| the embodiment's outputs | what it says, e.g. trajectory_msgs/JointTrajectory of one point |
| the parameters outputs.* | the same command as std_msgs/Float64MultiArray or sensor_msgs/JointState |
| ~/status, ~/chunk, /diagnostics | hpt_msgs/PolicyStatus, hpt_msgs/ActionChunk, diagnostic_msgs/DiagnosticArray |
| ~/predicted_path | nav_msgs/Path, with a robot_description or Cartesian commands |
| ~/set_task, ~/clear_fault, ~/stop | services hpt_msgs/SetTask, hpt_msgs/ClearFault, std_srvs/Trigger |
| ~/stop | topic std_msgs/Empty: any message stops the robot |
| the parameter deadman.topic | std_msgs/Bool, true while a person holds the switch |
| ~/run | action hpt_msgs/RunPolicy |

docs/safety.md says what it guarantees.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.parameter import Parameter

from hpt_ros.control import ControlConfig, State
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.embodiment import Stream
from hpt_ros.errors import HptError
from hpt_ros.nodes import parameters, settings
from hpt_ros.nodes.connections import Connections
from hpt_ros.nodes.decisions import DecisionLog
from hpt_ros.nodes.executable import run
from hpt_ros.nodes.failing import answer_always
from hpt_ros.nodes.lifecycle import told
from hpt_ros.nodes.making import make_pilot, obtain
from hpt_ros.nodes.operators import offer_to_operators
from hpt_ros.nodes.pilot import Pilot, Step
from hpt_ros.nodes.policies import LoadedPolicy
from hpt_ros.nodes.policy_config import PolicyNodeConfig
from hpt_ros.nodes.prediction import Prediction
from hpt_ros.nodes.reports import Reports
from hpt_ros.nodes.run_action import RunAction
from hpt_ros.nodes.streams import StreamMonitor
from hpt_ros.nodes.telling import Teller


class PolicyNode(LifecycleNode):
    """See the module. Make it in any process, with its own executor (`Composition.add`), and call `close` at the end.

    Attributes:
        refusal: why the last transition failed, one sentence; empty if it did not.
    """

    def __init__(
        self,
        name: str = "policy_node",
        *,
        load: Callable[[], LoadedPolicy] | None = None,
        **node_arguments: Any,
    ) -> None:
        """Declare parameters; nothing is loaded before the configure transition.

        Args:
            name: node name.
            load: makes the policy in place of the parameters `policy`, `checkpoint` and `embodiment`.
            node_arguments: of rclpy's Node, e.g. context, parameter_overrides.
        """
        super().__init__(name, **node_arguments)
        self.refusal = ""
        self._load = load
        self._lock = threading.RLock()
        self._pilot: Pilot | None = None
        self._latched = ""  # outlives a cleanup
        self._closed = self._failing = False
        self._teller = Teller(self)
        parameters.declare(self, PolicyNodeConfig)
        parameters.declare(self, ControlConfig)
        self._config = parameters.read(self, PolicyNodeConfig)
        parameters.read(self, ControlConfig)
        self.add_on_set_parameters_callback(self._on_parameters)

        self._connections: Connections | None = None
        self._prediction: Prediction | None = None
        self._monitor: StreamMonitor | None = None
        self._control_timer: Any = None
        self._log: DecisionLog | None = None
        offer_to_operators(self)
        self._run = RunAction(self, self._config.task_result_service)
        self._reports = Reports(self, self._config.status_rate_hz)
        answer_always(self)

    # --- for whoever composes the node -----------------------------------------------------------------------------

    def metrics(self) -> dict[str, NDArray[np.float64]]:
        """Timings in seconds since configuration, by name; see `hpt_ros.nodes.metrics.Metrics`."""
        with self._lock:
            return {} if self._pilot is None else self._pilot.metrics.arrays()

    def clear_metrics(self) -> None:
        """Forget the timings so far."""
        with self._lock:
            if self._pilot is not None:
                self._pilot.metrics.clear()

    def counters(self) -> dict[str, int]:
        """Counters since activation, by name."""
        with self._lock:
            return {} if self._pilot is None else self._pilot.all_counters()

    @property
    def state(self) -> State:
        """The controller's state."""
        with self._lock:
            return State.UNCONFIGURED if self._pilot is None else self._pilot.controller.state

    @property
    def pilot(self) -> Pilot | None:
        """What flies while configured; lock with `lock` when the node spins on another thread."""
        return self._pilot

    @property
    def monitor(self) -> StreamMonitor | None:
        """What watches the streams' rates while configured."""
        return self._monitor

    @property
    def lock(self) -> threading.RLock:
        """Guards the pilot."""
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
            self._stand_down()
            self._release()

    # --- lifecycle -------------------------------------------------------------------------------------------------

    @told
    def on_configure(self, state: Any) -> Any:
        """Load the policy, make subscriptions and publishers. A mistake is logged as one sentence and refuses."""
        config = self._config = parameters.read(self, PolicyNodeConfig)
        loaded = self._load() if self._load is not None else obtain(self, config)
        try:
            pilot = make_pilot(loaded, config, parameters.read(self, ControlConfig), lambda: self.now_ns)
        except HptError:
            loaded.close()
            raise
        with self._lock:
            pilot.controller.latched = self._latched
            try:
                self._connections = Connections(
                    self,
                    pilot.embodiment,
                    config.outputs,
                    pilot.controller.config.deadman.topic,
                    on_message=self._on_message,
                    on_deadman=self._on_deadman,
                )
            except HptError:
                pilot.close()
                raise
            try:
                self._prediction = Prediction(self, pilot, config)
            except HptError:
                self._release()
                pilot.close()
                raise
            self._monitor = StreamMonitor(pilot.embodiment)
            self._pilot = pilot
        source = loaded.checkpoint or f"the {config.policy} policy"
        self.get_logger().info(
            f"configured for {loaded.embodiment.name} with {source}{loaded.computed_by}; "
            f"commands go to {self._connections.topics}"
        )
        return super().on_configure(state)

    @told
    def on_activate(self, state: Any) -> Any:
        """Start control with nothing remembered."""
        with self._lock:
            pilot = self._piloted()
            if folder := self._config.log_decisions:  # first: it may refuse
                self._log = DecisionLog(Path(folder), self.get_fully_qualified_name(), pilot)
            result = super().on_activate(state)
            pilot.activate(enabled=self._config.start_on_activate)
            self._watched().reset()
            self._teller.reset()
            self._control_timer = self.create_timer(pilot.controller.period_ns / NS_PER_S, self._control)
        if pilot.controller.latched:
            self.get_logger().warning(
                f"activated, but latched: {pilot.controller.latched}; call ~/clear_fault"
            )
        return result

    @told
    def on_deactivate(self, state: Any) -> Any:
        """Brake within the limits, stop and forget everything."""
        with self._lock:
            self._run.end_all()
            self._stand_down()
        return super().on_deactivate(state)

    @told
    def on_cleanup(self, state: Any) -> Any:
        """Let go of the policy and of all that configure made."""
        with self._lock:
            self._release()
        return super().on_cleanup(state)

    @told
    def on_shutdown(self, state: Any) -> Any:
        """As deactivate and cleanup."""
        with self._lock:
            self._run.end_all()
            self._stand_down()
            self._release()
        return super().on_shutdown(state)

    @told
    def on_error(self, state: Any) -> Any:
        """A transition failed by a fault of ours: let go of everything, back to unconfigured."""
        with self._lock:
            self._stand_down()
            self._release()
        return TransitionCallbackReturn.SUCCESS

    def _piloted(self) -> Pilot:
        if self._pilot is None:
            raise RuntimeError("the node is not configured")
        return self._pilot

    def _stand_down(self) -> None:
        """Brake on steady time, since node time may stand still; then forget everything."""
        if self._control_timer is not None:
            self.destroy_timer(self._control_timer)
            self._control_timer = None
        if self._pilot is None or not self._pilot.controller.state.active:
            return
        controller = self._pilot.controller
        controller.disable()
        now_ns = max(self.now_ns, controller.session.last_now_ns or 0)
        while not controller.filter.at_rest and self.context.ok():
            command = controller.step(now_ns)
            if command is not None:  # None if it is less than a period since the timer's last command
                self._connected().send(command, now_ns)
            if self._log is not None:
                self._log.step(Step(command), now_ns)
            time.sleep(controller.period_ns / NS_PER_S)
            now_ns = max(self.now_ns, now_ns + controller.period_ns)
        self._pilot.deactivate()
        log, self._log = self._log, None
        if log is not None:
            log.close()
            if log.failed:
                self.get_logger().error(f"the log of decisions ended early: {log.failed}")

    def _release(self) -> None:
        if self._connections is not None:
            self._connections.close()
            self._connections = None
        if self._prediction is not None:
            self._prediction.close()
            self._prediction = None
        if self._pilot is not None:
            self._latched = self._pilot.controller.latched
            if not self._pilot.close():
                self.get_logger().error("the policy did not come back; its thread ends with the process")
        self._pilot = None

    # --- control ---------------------------------------------------------------------------------------------------

    def _control(self) -> None:
        with self._lock:
            pilot, now_ns = self._pilot, self.now_ns
            if pilot is None or now_ns == 0:  # 0: simulated time has not begun
                return
            before = pilot.controller.state
            step = pilot.step(now_ns)
            if step.command is not None:
                self._connected().send(step.command, now_ns)
            if self._log is not None:
                self._log.step(step, now_ns)
            if step.result is not None and not step.problem:
                self._connected().send_chunk(step.result, now_ns)
                if self._prediction is not None:
                    self._prediction.draw(now_ns)
            for who, problem in (
                ("the node", step.internal), ("the policy", step.problem), *step.complaints
            ):  # fmt: skip
                if problem:
                    self._watched().unusable(who)
                    self._teller.complain(who, problem)
            for sentence in step.lost:
                self.get_logger().warning(sentence)
            self._teller.state(before, pilot)
            self._run.check(pilot, now_ns)

    def _connected(self) -> Connections:
        if self._connections is None:
            raise RuntimeError("the node is not configured")
        return self._connections

    def _watched(self) -> StreamMonitor:
        if self._monitor is None:
            raise RuntimeError("the node is not configured")
        return self._monitor

    def _on_message(self, stream: Stream, message: Any) -> None:
        began_s = time.monotonic()
        with self._lock:
            pilot = self._pilot
            now_ns = self.now_ns
            if pilot is None or not pilot.controller.state.active or now_ns == 0:
                return
            if warning := self._watched().saw(stream, message, now_ns):
                self._teller.warn(stream.name, warning)
            problem = pilot.message(stream, message, now_ns)
            pilot.metrics.add("message_s", time.monotonic() - began_s)
            if problem:
                self._watched().unusable(stream.name)
                self._teller.complain(stream.name, problem)

    def _on_deadman(self, message: Any) -> None:
        with self._lock:
            if self._pilot is not None:
                self._pilot.controller.guards.deadman.heard(message.data, self.now_ns)

    # --- operators -------------------------------------------------------------------------------------------------

    def set_task(self, task: str) -> str:
        """Set the task's text; returns why not, or nothing."""
        with self._lock:
            if self._pilot is None:
                return "the node is not configured; configure it first, or set the parameter task"
            return self._pilot.set_task(task)

    def clear_fault(self) -> tuple[bool, str]:
        """Clear what is latched; returns whether, and what or why not."""
        with self._lock:
            self._failing = False
            if self._pilot is None:
                self._latched = ""
                return True, "the node is not configured; nothing is latched now"
            latched = self._pilot.controller.latched
            refused = self._pilot.controller.clear_fault()
        return not refused, refused or f"cleared: {latched}"

    def stop(self, reason: str) -> str:
        """Stop the robot and latch; returns what was done."""
        with self._lock:
            if self._pilot is None:
                self._latched = self._latched or reason
                return "latched; the node is not configured"
            before = self._pilot.controller.state
            if not self._pilot.controller.stop(reason):
                return f"latched already: {self._pilot.controller.latched}"
            self._teller.state(before, self._pilot)
        return "the robot brakes and stays until ~/clear_fault is called"

    def on_internal_error(self, message: str) -> bool:
        """Brake and latch after an exception that left a callback; returns whether the node may go on.

        Once: if the control loop itself fails, or things fail again and again, whoever spins closes the node, and
        `close` brakes by a loop of its own.
        """
        with self._lock:
            again, self._failing = self._failing, True
            self.stop(message)
        return not again

    def retune(self, config: PolicyNodeConfig, control: ControlConfig) -> None:
        """Take other parameters of control, while configured and not active; the policy stays loaded.

        Raises:
            HptError: the robot cannot be driven so.
        """
        old = self._piloted()
        pilot = make_pilot(old.loaded, config, control, lambda: self.now_ns)
        pilot.controller.latched, pilot.task = old.controller.latched, old.task
        old.end()
        self._pilot, self._config = pilot, config
        if self._prediction is not None:
            self._prediction.pilot = pilot

    def _on_parameters(self, changes: Sequence[Parameter[Any]]) -> Any:
        refused = settings.change(self, changes)
        return SetParametersResult(successful=not refused, reason=refused)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; a moving robot is braked first."""
    return run("policy_node", PolicyNode, args)


if __name__ == "__main__":
    sys.exit(main())
