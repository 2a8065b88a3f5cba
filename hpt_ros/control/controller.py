# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The controller: states, watchdog, chunk queue and safety filter as one pure state machine.

The caller (a ROS node, a test) passes times, messages' stamps and chunks in, calls `step` once per command period and
sends what it returns. Nothing here reads a clock, sleeps or talks to anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import NS_PER_S, Chunk, ChunkError, Vector, shape_refusal
from hpt_ros.control.config import ControlConfig
from hpt_ros.control.gate import Gate
from hpt_ros.control.guards import Guards
from hpt_ros.control.holding import Cause, Missing
from hpt_ros.control.latency import LatencyWindow
from hpt_ros.control.pace import STOPPED
from hpt_ros.control.plan import MotionPlan
from hpt_ros.control.queue import ChunkQueue, step_mask
from hpt_ros.control.safety import Limits
from hpt_ros.control.session import USED_UP, Command, Session, StreamRate
from hpt_ros.control.start import Beginning, jump, too_far
from hpt_ros.control.state_machine import Event, State, next_state
from hpt_ros.control.turning import aligned
from hpt_ros.control.workspace import Kinematics

# Least scaling that a robot's lag is stretched by, ours: at a tenth of the speed it may lag ten times as long.
SLOWEST = 0.1
# Least scaling by which times from now are shortened, ours: below it points would be far closer than a controller's
# cycle, and the curve fixed for a large part of a chunk.
LEAST_LABEL = 0.05


class Controller:
    """One robot's controller, from INACTIVE on.

    What the robot is told is one curve over its life (`hpt_ros.control.plan`), within the limits at every moment,
    however late the caller's timer is and whatever activations, stops and pauses lie between.
    """

    def __init__(
        self,
        config: ControlConfig,
        limits: Limits,
        names: Sequence[str],
        streams: Sequence[StreamRate],
        *,
        rate_hz: float,
        latency_s: float = 0.0,
        kinematics: Kinematics | None = None,
        grippers: Sequence[str] = (),
        ahead_s: Vector | None = None,
        turns: Sequence[int] = (),
        wraps: NDArray[np.bool_] | None = None,
    ) -> None:
        """Make an inactive controller.

        Args:
            config: see `ControlConfig`.
            limits: of the commands, unscaled.
            names: of the commanded dimensions.
            streams: that must be fresh.
            rate_hz: of commands.
            latency_s: how far ahead of its time a command is sent.
            kinematics: of the robot (of its dimensions that are no quaternion); needed for a workspace.
            grippers: dimensions that step, beside the configuration's.
            ahead_s: (dim,) how much further ahead than that each dimension is sent; None: nothing is.
            turns: where quaternions x, y, z, w begin among the dimensions; the limits of their elements are the
                rotation's, rad/s and rad/s^2.
            wraps: (dim,) true for angles of continuous joints: what is given of them counts within half a turn of what
                the robot was told, and commands count turns; None: there are none.

        Raises:
            HptError: `step_names` or `links` names what there is not, or a workspace without kinematics.
        """
        step = step_mask(config.queue, names, grippers)
        step[list(limits.rates)] = True
        self.config, self.names, self._turns, self._wraps = config, tuple(names), tuple(turns), wraps
        self.limits = limits.scaled(config.safety.velocity_scale, config.safety.acceleration_scale)
        # How far away a target may be is about the policy, which was trained at full speed: not scaled.
        self._reach_limits = limits
        self.period_ns = round(NS_PER_S / rate_hz)
        self._ahead_ns = self.period_ns + round(latency_s * NS_PER_S)
        ahead_ns = np.round((np.zeros(limits.dim) if ahead_s is None else ahead_s) * NS_PER_S).astype(
            np.int64
        )
        self.queue = ChunkQueue(config.queue, step, ahead_ns, limits.rates)
        self.filter = Gate(
            self.limits, self.period_ns / NS_PER_S, step,
            turns=turns, workspace=config.workspace, kinematics=kinematics,
        )  # fmt: skip
        lead_ns = self.period_ns + round(max(latency_s, config.lead_margin_s) * NS_PER_S)
        self.plan = MotionPlan(
            self.filter, self.period_ns, lead_ns, self.limits.taps(self.period_ns / NS_PER_S)
        )
        self._beginning = Beginning(names, limits, config.safety.pose_tolerance, step, config.tracking.lag_s)
        self._stood = True  # the last command, and all that was told with it
        self.guards = Guards(config, names, streams, step, turns=turns, ahead_ns=self.queue.longest_ns)
        self.latency = LatencyWindow()
        self.state = State.INACTIVE
        self.session = Session()
        # Why the robot must not move until an operator clears it; outlives activations. Empty: it may.
        self.latched = ""

    # --- events ----------------------------------------------------------------------------------------------------

    def activate(self, *, enabled: bool = True) -> None:
        """Go to WAITING with nothing remembered but what the robot was told last: no chunk, no message seen before.

        What is latched stays so: then to FAULT.

        Args:
            enabled: False waits for `enable` before it asks for chunks.
        """
        self._forget()
        self.session.enabled = enabled
        self._event(Event.ACTIVATE_LATCHED if self.latched else Event.ACTIVATE, self.latched)

    def deactivate(self) -> None:
        """Stop sending and forget everything but the counters and what the robot was told last, at once.

        A robot that was told points in time comes to rest as it was told. Call `disable`, then `step` until `at_rest`,
        for one that was not.
        """
        self._event(Event.DEACTIVATE, "")
        self.plan.finish()
        if self.plan.position is not None:
            # It goes there without being told again, and is looked for there when motion begins again.
            self.guards.tracking.commanded(self.plan.rest_ns, self.plan.position)
        self._stood = True
        counters = self.session.counters
        self._forget()
        self.session.counters = counters

    def enable(self) -> None:
        """Permit motion (a task began)."""
        self.session.enabled = True

    def disable(self) -> None:
        """Brake to rest and wait for `enable` (the task ended)."""
        self.session.enabled = False
        self.session.pending = None
        self._event(Event.PAUSE, "")

    def clock_jumped(self, reason: str) -> None:
        """Brake, hold and forget every observation: ROS time, which names them, was set.

        Control time, on which commands and ages are, goes on. Motion resumes with fresh streams and a new chunk.

        Args:
            reason: what happened, a sentence's worth.
        """
        self.session.counters["clock_jumps"] += 1
        self.session.pending = None
        self.guards.clock_jumped()
        self._beginning.stillness.reset()
        self._hold(Event.CLOCK_JUMP, reason)

    def message(self, stream: str, stamp_ns: int, arrival_ns: int) -> None:
        """Note a usable message of a stream."""
        self.guards.watchdog.saw(stream, stamp_ns, arrival_ns)

    def invalid_message(self) -> None:
        """Note a message that could not be used; its stream gets no fresher."""
        self.session.counters["invalid_messages"] += 1

    def measured(self, position: Vector, stamp_ns: int) -> None:
        """Note the measured pose of the commanded dimensions, (dim,)."""
        self.session.measured = self._aligned(np.array(position, dtype=np.float64)[None])[0]
        self.guards.tracking.measured(stamp_ns, self.session.measured)
        self._beginning.stillness.measured(stamp_ns, self.session.measured)

    def inference_running(self, busy_s: float) -> None:
        """Note for how long the present inference has been under way; 0 if there is none."""
        hung = self.session.policy.running(busy_s, self.config.safety.inference_timeout_s)
        self.session.counters["inferences_hung"] += hung

    def chunk(self, observation_ns: int, dt_s: float, values: Vector, now_ns: int, number: int = 0) -> str:
        """Take a chunk from the policy.

        Args:
            observation_ns: tick of its observation; time of its first action.
            dt_s: seconds between actions.
            values: (H, dim).
            now_ns: now.
            number: the caller's count.

        Returns:
            Why it was refused, a sentence; empty if it was taken.
        """
        if unwanted := self._unwanted():
            return unwanted
        wrong_size = shape_refusal(values, len(self.names))
        if wrong_size:
            return self._refused("wrong_size_refused", wrong_size)
        try:
            chunk = Chunk(observation_ns, dt_s, self._aligned(values), number)
        except ChunkError as error:
            return self._refused("nonfinite_refused", str(error))
        # The queue is on plan time, which passes at the robot's own speed.
        planned = self._planned(chunk)
        time_ns = self._target_ns(now_ns)
        # From the commands of now; before motion its start is looked at by itself.
        pose = self.filter.position if self.state is State.RUNNING else None
        reach_s = self.config.safety.jump_reach_s
        jumps = jump(self.names, planned, pose, time_ns, self._reach_limits, reach_s, self.queue, self._turns)
        if jumps:
            return self._refused("jumps_refused", jumps)
        self.session.policy.good()
        self.session.counters["chunks"] += 1
        self.latency.add((now_ns - observation_ns) / NS_PER_S)
        if planned.end_ns <= time_ns:
            return self._late_chunk(chunk)
        if chunk.observation_ns > now_ns + dt_s * NS_PER_S:
            # It would be held, and look unused, until its time comes.
            self.session.counters["chunks_refused_future"] += 1
            return chunk.future_words(now_ns)
        if self.state is not State.RUNNING:
            if self.session.pending is None or observation_ns > self.session.pending.observation_ns:
                self.session.pending = chunk
            return ""
        # From the last command on, so that the next one has a part of it already.
        late = self.queue.merge(planned, self._target_ns(now_ns, -self.period_ns))
        if late is None:
            return self._late_chunk(chunk)
        self.session.counters["late_actions_dropped"] += late
        self.session.unused = self.session.taken = chunk
        self.session.policy.used_up = 0
        return ""

    def refuse_chunk(self, reason: str) -> str:
        """Note a chunk of a wrong size, which is none of this robot's; returns why it is not executed."""
        return self._unwanted() or self._refused("wrong_size_refused", reason)

    def inference_error(self, reason: str) -> None:
        """Note that the policy failed."""
        if self.state.active:
            self._refused("inference_errors", reason)

    def fail(self, reason: str) -> None:
        """Brake and latch: what the robot's world sends is not what the policy was made for."""
        self._event(Event.ERROR, reason)

    def stop(self, reason: str = "an operator stopped the robot") -> bool:
        """Brake and latch; pressed while INACTIVE it latches too. Returns False if something was latched already."""
        if self.latched:
            return False
        self.session.counters["operator_stops"] += 1
        self.latched = reason
        self._event(Event.STOP, reason)
        return True

    def clear_fault(self) -> str:
        """Back from FAULT to WAITING; returns why that is refused, empty if done."""
        if not self.latched:
            return f"there is no fault to clear in state {self.state.name}"
        if not self.filter.at_rest:
            return "the robot is still braking; clear the fault when it is at rest"
        self.session.policy.good()
        self.session.policy.used_up = 0
        self.guards.cleared()
        self.latched = ""
        self._event(Event.CLEAR, "")
        return ""

    # --- once per period -------------------------------------------------------------------------------------------

    def step(self, now_ns: int) -> Command | None:
        """Make the command of this period, or None if nothing is to be sent."""
        if not self.state.active:
            return None
        if self.session.last_now_ns is not None and now_ns < self.session.last_now_ns:
            back_ns = now_ns - self.session.last_now_ns - self.period_ns
            self.plan.shift(back_ns)
            self.guards.pace.shift(back_ns)
            self.session.sent_ns = None
            self.guards.deadman.reset()
            self.clock_jumped("control time went back")
        self.session.last_now_ns = now_ns
        if self.plan.known:
            self.session.margin_s = (self.plan.fixed_until_ns - now_ns) / NS_PER_S
            self.session.counters["command_gaps"] += self.plan.catch_up(now_ns) > 0
        self.plan.stretch(self._label_pace)  # what was sent before it is as it was
        self._guard(now_ns)
        guards = self.guards
        if self.state in (State.WAITING, State.HOLDING):
            self._try_to_run(now_ns)
        while self.plan.known and self.plan.due(now_ns):
            time_ns = self.plan.next_ns + self.plan.delay_ns
            guards.pace.advance(time_ns, self._fastest_change)
            self.queue.pace = guards.pace.rate
            if not (self.state is State.RUNNING and self._run(time_ns)):
                self.filter.brake()
            self.plan.extend()
        if self.state is State.HOLDING:
            self._check_hold(now_ns)
        return self._command(now_ns)

    @property
    def at_rest(self) -> bool:
        """Whether the robot was told to rest, with its last command and everything that went with it."""
        return self._stood

    def succeed(self, other: Controller) -> None:
        """Go on from what the robot was told last by another controller of it, which is not active any more."""
        position = other.plan.position
        if position is not None:
            self.plan.begin(other.plan.rest_ns, position)
            self.guards.tracking.commanded(other.plan.rest_ns, position)
            self.guards.tracking.reset()
        self.guards.pace.succeed(other.guards.pace)

    def wants_chunk(self, now_ns: int) -> bool:
        """Whether the policy should be asked for a chunk."""
        if not self.session.enabled or self.state in (State.FAULT, State.INACTIVE, State.UNCONFIGURED):
            return False
        return self.state is not State.RUNNING or self.queue.wants_chunk(
            self._target_ns(now_ns) + self.queue.longest_ns, self.latency.high_s
        )

    def queue_length(self, now_ns: int) -> int:
        """Actions still to come."""
        return self.queue.remaining(self._target_ns(now_ns))

    def stream_ages_s(self, now_ns: int) -> Mapping[str, float]:
        """Age of every stream's newest usable message in seconds, NaN if never seen."""
        return {name: self.guards.watchdog.age_s(name, now_ns) for name in self.guards.watchdog.timeouts_s}

    # --- inside ----------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self.queue.clear()
        self.guards.reset()
        self._beginning.stillness.reset()
        self.session = Session()

    def _aligned(self, values: Vector) -> Vector:
        """Values (H, dim) with the signs and turns of what the robot was told last, or else of where it is."""
        near = self.filter.position if self.filter.position is not None else self.session.measured
        return aligned(values, self._turns, near, self._wraps)

    def _target_ns(self, now_ns: int, later_ns: int = 0) -> int:
        """For which plan time a target is asked for next, or that much later."""
        next_ns = max(self.plan.next_ns, self.plan.first_ns(now_ns) - 2 * self.period_ns)
        time_ns = (next_ns if self.plan.known else self.plan.first_ns(now_ns)) + self.plan.delay_ns
        return self.guards.pace.plan_ns(time_ns + later_ns)

    def _planned(self, chunk: Chunk) -> Chunk:
        """The chunk on plan time."""
        observation_ns = self.guards.pace.plan_ns(chunk.observation_ns)
        return (
            chunk if observation_ns == chunk.observation_ns else replace(chunk, observation_ns=observation_ns)
        )

    @property
    def _label_pace(self) -> float:
        """By how much times from now are shortened, for a controller that goes along trajectories as much slower."""
        scaling = self.config.speed_scaling
        return max(self.guards.pace.wanted, LEAST_LABEL) if scaling.topic and scaling.trajectories else 1.0

    @property
    def _fastest_change(self) -> float:
        """Most change of the pace per second with which the present motion keeps its acceleration limits."""
        # As its inverse, the most of velocity over acceleration: a velocity may be as small as a number can be.
        longest_s = float((np.abs(self.filter.velocity) / self.limits.acceleration).max())
        return max(self.guards.pace.rate, STOPPED) / max(longest_s, np.finfo(float).tiny)

    def _event(self, event: Event, reason: str) -> None:
        before, self.state = self.state, next_state(self.state, event)
        if self.state is before:
            return
        self.session.reason = reason
        if self.state is State.FAULT:
            self.latched = reason
            self.session.counters["faults"] += 1
        if self.state is not State.RUNNING:
            self.queue.clear()
            self.session.pending = self.session.unused = self.session.taken = None

    def _unwanted(self) -> str:
        if self.state.active and self.state is not State.FAULT and self.session.enabled:
            return ""
        return f"a chunk came in state {self.state.name} and is not executed"

    def _refused(self, counter: str, reason: str) -> str:
        self.session.counters[counter] += 1
        policy = self.session.policy
        policy.failed(reason)
        if policy.in_a_row >= self.config.safety.max_refused:
            self._event(Event.ERROR, f"{policy.in_a_row} failures of the policy in a row, the last: {reason}")
        return reason

    def _late_chunk(self, chunk: Chunk) -> str:
        self.session.counters["chunks_refused_late"] += 1
        self.session.counters["late_actions_dropped"] += chunk.horizon
        return chunk.late_words()

    def _guard(self, now_ns: int) -> None:
        """Look at what must stop motion, apart from the policy itself."""
        counters, guards = self.session.counters, self.guards
        frozen = guards.frozen.frozen()
        self.session.stale = {**guards.watchdog.stale(now_ns), **frozen}
        guards.tracking.slowness = 1.0 / max(guards.pace.wanted, SLOWEST)
        if guards.pace.stopped:
            guards.tracking.reset()  # it cannot follow, not even while it is told to brake
            if self.state in (State.RUNNING, State.HOLDING):
                counters["scaling_stops"] += 1
                self._event(Event.PAUSE, "")
        if self.state in (State.RUNNING, State.HOLDING) and guards.deadman.released(now_ns):
            counters["deadman_stops"] += 1
            self._event(Event.PAUSE, "")
        if self.state is not State.FAULT and guards.link.contested:
            counters["contested_stops"] += 1
            self._event(Event.ERROR, guards.link.contested)
        if self.state is not State.FAULT and guards.tracking.problem:
            counters["tracking_stops"] += 1
            self._event(Event.ERROR, guards.tracking.problem)
        if self.state is State.RUNNING and guards.link.unheard:
            counters["unheard_stops"] += 1
            self._hold(Event.STALE, f"commands reach nobody, they want {guards.link.unheard}")
        if self.state is State.RUNNING and self.session.stale:
            counters["stale_stops"] += 1
            counters["frozen_stops"] += bool(frozen)
            self._hold(Event.STALE, "; ".join(self.session.stale.values()))

    def _hold(self, event: Event, reason: str) -> None:
        self._event(event, reason)
        self.session.hold_times.begin()

    def _exhausted(self) -> None:
        """Hold for want of a chunk; a policy that is too slow is a fault."""
        policy, chunk = self.session.policy, self.session.taken
        self.session.counters["exhausted_stops"] += 1
        cover_s = 0.0 if chunk is None else chunk.cover_s
        if slow := policy.exhausted(self.config.safety.max_exhausted, self.latency.high_s, cover_s):
            self._event(Event.ERROR, slow)
        else:
            self._hold(Event.EXHAUSTED, USED_UP + policy.excuse)

    def _check_hold(self, now_ns: int) -> None:
        """Latch when one cause has held the robot for too long; the reason is what is missing now."""
        missing, longest_s = self.session.missing, self.config.safety.hold_timeout_s
        if missing is not None and self.session.hold_times.add(missing.cause, now_ns) > longest_s * NS_PER_S:
            self._event(Event.HOLD_TIMEOUT, f"held for more than {longest_s:g} s: {missing.held}")

    def _try_to_run(self, now_ns: int) -> None:
        """Go to RUNNING if everything is there; otherwise note what is missing."""
        guards, session = self.guards, self.session
        braking = not self.plan.at_rest and self.plan.known
        session.missing = session.find_missing(
            self._target_ns(now_ns),
            guards.link.unheard,
            guards.deadman.released(now_ns) or guards.pace.stopped,
            braking=braking and self.state is State.WAITING,
        )
        chunk, measured = session.pending, session.measured
        if session.missing is not None or chunk is None or measured is None:
            return
        refused = self._start(chunk, measured, now_ns)
        if not refused:
            return
        session.missing = Missing(Cause.START, refused, refused)
        if self.state is State.HOLDING and not braking:
            # What held it is over. It may go on by itself when the policy comes near, or a person moves the robot.
            self._event(Event.AWAY, refused)
            session.pending = chunk

    def _start(self, chunk: Chunk, measured: Vector, now_ns: int) -> str:
        """Go to RUNNING; returns why not yet."""
        wait_ns = None
        pose = self.filter.position if self.state is State.HOLDING else None
        if pose is None:
            origin = self._beginning.origin(now_ns, measured, self.plan, self.guards.tracking)
            if isinstance(origin, str):
                return origin
            pose, wait_ns = origin.pose, origin.wait_ns
        pace = self.guards.pace
        planned = self._planned(chunk)
        target = self.queue.chunk_at(planned, pace.plan_ns(now_ns + self._ahead_ns)).position
        reach_s = self.config.safety.start_reach_s
        if far := too_far(
            self.names, target, pose, self._reach_limits, reach_s, self._turns, self.queue.step
        ):
            return far
        if wait_ns is not None:
            self.plan.begin(now_ns, pose, wait_ns)
        self._event(Event.READY, "")
        # At the time of the last control point the robot is there.
        time_ns = pace.plan_ns(self.plan.last_ns + self.plan.delay_ns)
        late = self.queue.start(planned, time_ns, pose, self.filter.velocity / max(pace.rate, STOPPED))
        self.session.counters["late_actions_dropped"] += late
        self.session.pending, self.session.unused, self.session.taken = None, chunk, chunk
        return ""

    def _run(self, time_ns: int) -> bool:
        """Let the gate make the command for a time; False if it is to brake instead."""
        pace = self.guards.pace
        reference = self.queue.at(pace.plan_ns(time_ns))
        if reference is None:
            self._exhausted()
            return False
        output = self.filter.apply(reference.position, reference.velocity * pace.rate)
        if output is None:
            self._refused(
                "nonfinite_refused", f"a target was refused: {self.filter.refusal(reference.position)}"
            )
            return False
        self.session.limited(output)
        self.session.counters["workspace_stops"] += bool(self.filter.blocked) and not self.session.blocked
        self.session.blocked = self.filter.blocked
        self.session.used, self.session.unused = self.session.unused or self.session.used, None
        return True

    def _command(self, now_ns: int) -> Command | None:
        """What is sent now. HOLDING repeats the pose; WAITING and FAULT send nothing once at rest.

        So that a person can move the robot by other means after a fault, and a controller with a timeout does not let
        go while the policy is expected back.
        """
        session = self.session
        if not self.plan.known or (self._stood and self.state not in (State.RUNNING, State.HOLDING)):
            session.sent_ns = None
            self.guards.tracking.reset()
            return None
        if session.sent_ns is not None and now_ns - session.sent_ns < self.period_ns // 2:
            return None  # the timer came twice
        time_ns, curve = now_ns + self._ahead_ns, self.plan.curve()
        here = curve.at(time_ns)
        self._stood = self.plan.at_rest and self.plan.rest_ns <= time_ns
        command = Command(
            time_ns, here.position, here.velocity, curve, now_ns, session.used, self._label_pace
        )
        session.used, session.sent_ns = None, now_ns
        session.counters["commands_sent"] += 1
        self.guards.tracking.commanded(time_ns, here.position)
        return command
