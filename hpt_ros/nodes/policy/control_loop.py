# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What happens in an active policy node, period by period: clocks, commands, their log, and the braking at the end."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from hpt_ros.control import Fault, State
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.control.clock import Instant
from hpt_ros.errors import Code, Refusal
from hpt_ros.nodes.common.clocks import NodeClock, create_paced_timer, steady_timer
from hpt_ros.nodes.policy.decision_log import DecisionLog
from hpt_ros.nodes.policy.kinds import Kind
from hpt_ros.nodes.policy.waiting import beyond_age, cycle
from hpt_ros.runtime.policy_runtime import PolicyRuntime, Step

if TYPE_CHECKING:
    from hpt_ros.nodes.policy.policy_node import PolicyNode

# Simulated time that stands still for longer is a pause, not a slow simulation, ours: twice the longest interval of
# /clock that we know (Gazebo at a hundredth of real time and its default 10 ms of simulated time a message).
PAUSED_S = 2.0
# ... but a robot that brakes is not left without commands for that long. Those of a simulation that is only slow must
# not come faster than its time, so this is longer than the interval of /clock at a twentieth of real time.
BRAKE_STILL_S = 0.25
# Simulated time that jumps again within this time is not one simulation's that was reset, ours.
AGAIN_S = 2.0


class ControlLoop:
    """Steps the runtime once a command period while the node is active. Its methods need the node's lock.

    Without simulated time the timer is steady: setting the system clock neither stops nor hurries it. With it, the
    timer follows simulated time, and a steady one looks whether that goes on.
    """

    def __init__(self, node: PolicyNode) -> None:
        """Make a loop that does not run."""
        self._node = node
        self._clock = NodeClock(node)
        self._timers: list[Any] = []
        self._simulated = False
        self._paused = False
        self._jumped_s = -math.inf  # steady time of the last jump
        self._log: DecisionLog | None = None

    # --- time ------------------------------------------------------------------------------------------------------

    def now(self) -> Instant:
        """This moment; a jump of ROS time since the last call is dealt with first."""
        instant = self._clock.now()
        node, runtime = self._node, self._node.runtime
        if runtime is None:
            return instant
        runtime.ahead_ns = instant.ahead_ns
        if instant.jump is not None and runtime.controller.state.active:
            if runtime.controller.state is not State.RUNNING:  # else its change of state is logged
                node.state_log.warn(Kind.CLOCK, "", str(instant.jump))
            self._interrupt(runtime, instant.jump, instant)
            if (two := self._two_clocks()) is not None:
                before = runtime.controller.state
                runtime.controller.fail(two, Fault.CLOCKS)
                node.state_log.state(before, runtime)
        return instant

    def _two_clocks(self) -> Refusal | None:
        """Return why simulated time jumped again so soon; None if it did not, or one node alone publishes it."""
        now_s, before_s = time.monotonic(), self._jumped_s
        self._jumped_s = now_s
        if not self._clock.simulated or now_s - before_s > AGAIN_S:
            return None
        infos = self._node.get_publishers_info_by_topic("/clock")
        names = [f"{str(info.node_namespace).rstrip('/')}/{info.node_name}" for info in infos]
        if len(names) < 2:
            return None
        return Refusal(
            Code.DUPLICATE, "simulated time", names,
            problem=f"goes back and forth: /clock has {len(names)} publishers ({', '.join(names)})", expected="one",
            remedy="end all others",
        )  # fmt: skip

    @property
    def standstill(self) -> Refusal | None:
        """Why time does not go on; None if it does."""
        if not self._clock.simulated:
            return None
        if not self._clock.begun:
            publishers = self._node.count_publishers("/clock")
            whose = f"no message came of its {publishers} publishers" if publishers else "it has no publisher"
            return Refusal(
                Code.NOT_READY, "simulated time", publishers,
                problem=f"has not begun: nothing comes on /clock ({whose})",
                remedy="start the simulator or the bag (ros2 bag play --clock), or set use_sim_time to false",
            )  # fmt: skip
        still_s = self._clock.still_s
        if still_s > PAUSED_S:
            return Refusal(
                Code.NOT_READY, "simulated time", still_s,
                problem=f"stands still since {still_s:.0f} s: no new time comes on /clock",
                remedy="let the simulation go on",
            )  # fmt: skip
        return None

    # --- from activation to deactivation ---------------------------------------------------------------------------

    def start(self, log: DecisionLog | None) -> None:
        """Begin to step the runtime, which is active."""
        self._log = log
        self._paused = False
        self._node.connected().begin()
        self.now()
        self._make_timers()

    def stop(self) -> None:
        """Brake on steady time, since node time may stand still; then forget everything."""
        self._end_timers()
        node, runtime = self._node, self._node.runtime
        if runtime is None or not runtime.controller.state.active:
            return
        controller, period_ns = runtime.controller, runtime.controller.period_ns
        controller.disable()
        instant = self.now()
        while not controller.at_rest and node.context.ok():
            command = controller.step(instant.control_ns)
            if command is not None:  # None if it is less than a period since the timer's last command
                command = runtime.on_ros_time(command)
                node.connected().send(command, instant.ros_ns)
            if self._log is not None:
                self._log.step(Step(command), instant.ros_ns)
            time.sleep(period_ns / NS_PER_S)
            instant = self._period_after(instant, period_ns)
        while node.context.ok() and node.connected().repeat_zeros(instant.ros_ns):
            time.sleep(period_ns / NS_PER_S)
            instant = self._clock.now()
        runtime.deactivate()
        log, self._log = self._log, None
        if log is not None:
            log.close()
            if log.failed:
                node.get_logger().error(f"the log of decisions ended early: {log.failed}")

    def _period_after(self, before: Instant, period_ns: int) -> Instant:
        """Now, at least a period later on control time: simulated time may be slow, or stand still."""
        instant = self._clock.now()
        missing_ns = before.control_ns + period_ns - instant.control_ns
        if missing_ns > 0 and self._clock.simulated:
            self._clock.advance(missing_ns)
            instant = self._clock.now()
        if self._node.runtime is not None:
            self._node.runtime.ahead_ns = instant.ahead_ns
        return instant

    def _make_timers(self) -> None:
        self._end_timers()
        runtime = self._node.runtime
        assert runtime is not None
        period_s = runtime.controller.period_ns / NS_PER_S
        self._simulated = self._clock.simulated
        self._timers = [create_paced_timer(self._node, period_s, self._on_timer)]
        if self._simulated:
            self._timers.append(steady_timer(self._node, period_s, self._supervise))

    def _end_timers(self) -> None:
        while self._timers:
            self._node.destroy_timer(self._timers.pop())

    # --- once a period ---------------------------------------------------------------------------------------------

    def _on_timer(self) -> None:
        with self._node.lock:
            runtime = self._require_runtime()
            if runtime is None:
                return
            instant = self.now()
            if self._clock.begun:
                self._step(runtime, instant)

    def _supervise(self) -> None:
        """On steady time: what must happen although simulated time stands still."""
        with self._node.lock:
            runtime = self._require_runtime()
            if runtime is None:
                return
            instant = self.now()
            state, still_s = runtime.controller.state, self._clock.still_s
            if still_s <= PAUSED_S:
                self._paused = False
            elif not self._paused and self._clock.begun:
                self._paused = True
                if state is State.RUNNING:
                    problem = f"stands still since {still_s:.1f} s"
                    still = Refusal(Code.NOT_READY, "simulated time", still_s, problem=problem)
                    self._interrupt(runtime, still, instant)
            if (  # also where simulated time has not begun: use_sim_time was set while the robot moved
                still_s > BRAKE_STILL_S
                and runtime.controller.state is not State.RUNNING
                and not runtime.controller.at_rest
            ):
                self._clock.advance(runtime.controller.period_ns)
                self._step(runtime, self.now())
            if not self._clock.begun or self._paused:
                self._node.state_log.waiting(
                    runtime.controller.state, lambda: self._node.reason(instant.ros_ns)
                )

    def _require_runtime(self) -> PolicyRuntime | None:
        """The runtime to step; None if there is none, or if time became simulated or real: then other timers go on."""
        runtime = self._node.runtime
        if runtime is not None and self._clock.simulated is not self._simulated:
            self._make_timers()
            return None
        return runtime

    def _interrupt(self, runtime: PolicyRuntime, reason: Refusal, instant: Instant) -> None:
        before = runtime.controller.state
        runtime.clock_jumped(reason, instant.ros_ns)
        if self._node.monitor is not None:
            self._node.monitor.clock_jumped()
        self._node.state_log.state(before, runtime)

    def _step(self, runtime: PolicyRuntime, instant: Instant) -> None:
        node, now_ns = self._node, instant.ros_ns
        before = runtime.controller.state
        connections = node.connected()
        connections.poll(runtime.controller)
        step = runtime.step(now_ns)
        if step.command is not None:
            connections.send(step.command, now_ns)
        else:
            connections.repeat_zeros(now_ns)
        if node.watch is not None:
            node.watch(step.command, runtime.controller.state)
        if self._log is not None:
            self._log.step(step, now_ns)
        if step.result is not None and step.problem is None:
            connections.send_chunk(step.result, now_ns)
            node.draw(now_ns)
        if step.internal is not None:
            node.state_log.complain(Kind.INTERNAL, "the node", step.internal)
        if step.problem is not None:
            node.unusable(Kind.POLICY, "the policy", step.problem)
        for stream, problem in step.complaints:
            node.unusable(Kind.UNUSABLE, stream, problem)
        for stream, problem in step.lost:
            node.state_log.warn(Kind.LOST, stream, str(problem))
        if before is State.HOLDING and runtime.controller.state is State.FAULT:
            more = beyond_age(node.stale_streams(now_ns).values())
            if more is not None:
                runtime.controller.explain(more)
        node.state_log.state(before, runtime)
        node.state_log.waiting(runtime.controller.state, lambda: node.reason(now_ns))
        if before is not runtime.controller.state is State.HOLDING and (slow := cycle(runtime)) is not None:
            node.state_log.warn(Kind.LATENCY, "the policy", str(slow))
        node.check_run(runtime, instant.control_ns)
