# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The controller: states, watchdog, chunk queue and safety filter as one pure state machine.

The caller (a ROS node, a test) passes times, messages' stamps and chunks in, calls `step` once per command period and
sends what it returns. Nothing here reads a clock, sleeps or talks to anybody.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import NS_PER_S, Chunk, Vector
from hpt_ros.control.chunk_intake import ChunkIntake
from hpt_ros.control.config import ControlConfig
from hpt_ros.control.controller_state import Command, ControllerState, StreamRate
from hpt_ros.control.link import CommandTopic
from hpt_ros.control.machine import Fault, Machine
from hpt_ros.control.monitors import Monitors
from hpt_ros.control.motion import Motion
from hpt_ros.control.refusals import Why, append_reason
from hpt_ros.control.safety import Limits
from hpt_ros.control.snapshot import Snapshot, take_snapshot
from hpt_ros.control.state_machine import Event, State
from hpt_ros.control.stepping import Stepper
from hpt_ros.control.workspace import Kinematics
from hpt_ros.errors import Refusal

STOPPED = Refusal(Why.STOPPED, "an operator", problem="stopped the robot")


class Controller:
    """One robot's controller, from INACTIVE on.

    What the robot is commanded is one curve over its life (`hpt_ros.control.plan`), within the limits at every moment,
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
                the robot was commanded, and commands count turns; None: there are none.

        Raises:
            HptError: `step_names` or `links` names what there is not, or a workspace without kinematics.
        """
        self.config = config
        self._motion = motion = Motion(
            config, limits, names, rate_hz=rate_hz, latency_s=latency_s, kinematics=kinematics, grippers=grippers,
            ahead_s=ahead_s, turns=turns, wraps=wraps,
        )  # fmt: skip
        self.period_ns = motion.period_ns
        self.queue, self.filter, self.plan = motion.queue, motion.filter, motion.plan
        self.monitors = Monitors(
            config, names, streams, limits.velocity, motion.step, turns=turns, ahead_ns=self.queue.longest_ns
        )
        self._machine = Machine(motion.queue)
        self._intake = ChunkIntake(
            self._machine, motion, config.safety.max_refused, config.safety.max_exhausted
        )
        self._stepper = Stepper(self._machine, motion, self.monitors, self._intake, config)

    @property
    def state(self) -> State:
        """Present state."""
        return self._machine.state

    @property
    def activation(self) -> ControllerState:
        """What is remembered of this activation."""
        return self._machine.activation

    @property
    def latched(self) -> Refusal | None:
        """Why the robot must not move until an operator clears it; outlives activations. None: it may."""
        return self._machine.latched

    @property
    def fault(self) -> Fault | None:
        """The kind of what is latched; None while nothing is."""
        return self._machine.fault

    # --- events ----------------------------------------------------------------------------------------------------

    def activate(self, *, enabled: bool = True) -> None:
        """Go to WAITING with nothing remembered but what the robot was commanded last: no chunk, no message seen
        before.

        What is latched stays so: then to FAULT.

        Args:
            enabled: False waits for `enable` before it asks for chunks.
        """
        self._forget()
        self.activation.enabled = enabled
        event = Event.ACTIVATE if self.latched is None else Event.ACTIVATE_LATCHED
        self._machine.handle(event, self.latched, self.fault)

    def deactivate(self) -> None:
        """Stop sending and forget everything but the counters and what the robot was commanded last, at once.

        A robot that was commanded points in time comes to rest as it was commanded. Call `disable`, then `step` until
        `at_rest`, for one that was not.
        """
        self._machine.handle(Event.DEACTIVATE)
        self.plan.finish()
        if self.plan.position is not None:
            # It goes there without being commanded again, and is looked for there when motion begins again.
            self.monitors.tracking.note_command(self.plan.rest_ns, self.plan.position)
        self._motion.stood = True
        counters = self.activation.counters
        self._forget()
        self.activation.counters = counters

    def enable(self) -> None:
        """Permit motion (a task began)."""
        self.activation.enabled = True

    def disable(self) -> None:
        """Brake to rest and wait for `enable` (the task ended)."""
        self.activation.enabled = False
        self.activation.pending = None
        self._machine.handle(Event.PAUSE)

    def note_clock_jump(self, reason: Refusal) -> None:
        """Brake, hold and forget every observation: ROS time, which names them, was set.

        Control time, on which commands and ages are, goes on. Motion resumes with fresh streams and a new chunk.

        Args:
            reason: what happened.
        """
        self.activation.counters["clock_jumps"] += 1
        self.activation.pending = None
        self.monitors.note_clock_jump()
        self._motion.motion_start.stillness.reset()
        self._machine.hold(Event.CLOCK_JUMP, reason)

    def note_message(self, stream: str, stamp_ns: int, arrival_ns: int) -> None:
        """Note a usable message of a stream."""
        self.monitors.watchdog.note_message(stream, stamp_ns, arrival_ns)

    def note_invalid_message(self) -> None:
        """Note a message that could not be used; its stream gets no fresher."""
        self.activation.counters["invalid_messages"] += 1

    def check_plausible(self, stream: str, part: Hashable, position: Vector, stamp_ns: int) -> Refusal | None:
        """Return why a message of a stream cannot measure this robot; None if it can.

        Args:
            stream: its name.
            part: what it measures of the stream, where one message does not have all.
            position: (dim,), pose of the robot with what it says.
            stamp_ns: of the message.
        """
        pose = self._align(position)
        return self.monitors.plausible.check(stream, part, stamp_ns, pose)

    def note_pose(self, position: Vector, stamp_ns: int) -> None:
        """Note the measured pose of the commanded dimensions, (dim,)."""
        self.activation.measured = self._align(position)
        self.monitors.tracking.note_pose(stamp_ns, self.activation.measured)
        self._motion.motion_start.stillness.note_pose(stamp_ns, self.activation.measured)

    def note_frame(self, stream: str, data: NDArray[np.uint8]) -> None:
        """Note a camera's image as it came, bytes (n,): one that repeats while the robot moves is frozen."""
        self.monitors.frozen.note_image(stream, data, self.activation.measured)

    def note_deadman(self, held: bool, now_ns: int) -> None:
        """Note a message of the enabling switch."""
        self.monitors.deadman.note_signal(held, now_ns)

    def note_speed_scaling(self, value: float) -> None:
        """Note the robot's own speed scaling, in the configuration's unit."""
        self._motion.pace.note_scaling(value)

    def note_graph(
        self,
        topics: Sequence[CommandTopic],
        absent: Sequence[str] = (),
        rivals: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Note what the graph shows now.

        Args:
            topics: that commands go to.
            absent: full names of actions that commands go to and that have no server.
            rivals: action to nodes that send it goals too, as text.
        """
        self.monitors.link.note_topics(topics)
        self.monitors.link.note_absent_servers(absent)
        self.monitors.link.note_rivals(rivals or {})

    def note_incomplete(self, why: Refusal | None) -> None:
        """Note why no observation is complete; None if one is."""
        self.activation.inference.unasked = why

    def note_inference_running(self, busy_s: float) -> None:
        """Note for how long the present inference has been under way; 0 if there is none."""
        hung = self.activation.inference.note_running(busy_s, self.config.safety.inference_timeout_s)
        self.activation.counters["inferences_hung"] += hung

    def take_chunk(
        self, observation_ns: int, dt_s: float, values: Vector, now_ns: int, number: int = 0
    ) -> Refusal | None:
        """Take a chunk from the policy.

        Args:
            observation_ns: tick of its observation; time of its first action.
            dt_s: seconds between actions.
            values: (H, dim).
            now_ns: now.
            number: the caller's count.

        Returns:
            Why it was refused; None if it was taken.
        """
        return self._intake.take(observation_ns, dt_s, values, now_ns, number)

    def refuse_chunk(self, reason: Refusal) -> Refusal:
        """Note a chunk of a wrong size, which is for a different robot; returns why it is not executed."""
        return self._intake.refuse(reason)

    def note_inference_error(self, reason: Refusal) -> None:
        """Note that the policy failed, with the code `Why.INFERENCE`."""
        if self.state.active:
            self._intake.note_refusal(reason)

    def fail(self, reason: Refusal, fault: Fault = Fault.INPUT) -> None:
        """Brake and latch: what the robot's world sends is not what the policy was made for."""
        self._machine.handle(Event.ERROR, reason, fault)

    def explain(self, more: Refusal) -> None:
        """Add to the reason of what is latched what else is known of it."""
        if self.latched is not None:
            self._machine.latched = self.activation.reason = append_reason(self.latched, more)

    def stop(self, reason: Refusal = STOPPED, fault: Fault = Fault.STOPPED) -> bool:
        """Brake and latch; pressed while INACTIVE it latches too. Returns False if something was latched already."""
        if self.latched is not None:
            return False
        self.activation.counters["operator_stops"] += 1
        self._machine.latched, self._machine.fault = reason, fault
        self._machine.handle(Event.STOP, reason, fault)
        return True

    def latch(self, reason: Refusal | None, fault: Fault | None) -> None:
        """Go on from what was latched by another controller of this robot, before activation; None: nothing was."""
        self._machine.latched, self._machine.fault = reason, fault

    def clear_fault(self) -> Refusal | None:
        """Go back from FAULT to WAITING; returns why that is refused, None if done."""
        if self.latched is None:
            problem = f"is no fault to clear in state {self.state.name}"
            return Refusal(Why.NOTHING_LATCHED, "there", self.state, problem=problem)
        if not self.filter.at_rest:
            remedy = "clear the fault when it is at rest"
            return Refusal(Why.BRAKING, "the robot", problem="is still braking", remedy=remedy)
        self.activation.inference.note_good()
        self.activation.inference.used_up = 0
        self.monitors.note_cleared()
        self._machine.latched, self._machine.fault = None, None
        self._machine.handle(Event.CLEAR)
        return None

    # --- once per period -------------------------------------------------------------------------------------------

    def step(self, now_ns: int) -> Command | None:
        """Make the command of this period, or None if nothing is to be sent."""
        if not self.state.active:
            return None
        if self.activation.last_now_ns is not None and now_ns < self.activation.last_now_ns:
            back_ns = now_ns - self.activation.last_now_ns - self.period_ns
            self.plan.shift(back_ns)
            self._motion.pace.shift(back_ns)
            self.activation.sent_ns = None
            self.monitors.deadman.reset()
            self.note_clock_jump(Refusal(Why.WENT_BACK, "control time", problem="went back"))
        self.activation.last_now_ns = now_ns
        return self._stepper.step(now_ns)

    @property
    def at_rest(self) -> bool:
        """Whether the robot was commanded to rest, with its last command and everything that went with it."""
        return self._motion.stood

    def succeed(self, other: Controller, held: Sequence[str] = ()) -> None:
        """Go on from what the robot was commanded last by another controller of it, which is not active any more.

        Args:
            other: the one before.
            held: streams that are published only while they move: that they were seen counts on.
        """
        self._motion.succeed(other._motion, self.monitors.tracking)
        self.monitors.watchdog.succeed(other.monitors.watchdog, held)

    def wants_chunk(self, now_ns: int) -> bool:
        """Whether the policy should be asked for a chunk."""
        if not self.activation.enabled or self.state in (State.FAULT, State.INACTIVE, State.UNCONFIGURED):
            return False
        return self.state is not State.RUNNING or self.queue.wants_chunk(
            self._motion.target_ns(now_ns) + self.queue.longest_ns, self._intake.latency.high_s
        )

    # --- for others ------------------------------------------------------------------------------------------------

    def stream_ages_s(self, now_ns: int) -> Mapping[str, float]:
        """Age of every stream's newest usable message in seconds, NaN if never seen."""
        return {name: self.monitors.watchdog.age_s(name, now_ns) for name in self.stream_timeouts_s}

    @property
    def stream_timeouts_s(self) -> Mapping[str, float]:
        """Age at which each stream stops the robot."""
        return self.monitors.watchdog.timeouts_s

    @property
    def counters(self) -> Mapping[str, int]:
        """Since activation, by name."""
        return MappingProxyType(self.activation.counters)

    @property
    def margin_s(self) -> float:
        """For how long the robot had known its motion when the last period began; NaN: of none."""
        return self.activation.margin_s

    @property
    def reason(self) -> Refusal | None:
        """Why it is in HOLDING or FAULT, or left HOLDING for WAITING; None otherwise."""
        return self.activation.reason

    @property
    def held(self) -> Refusal | None:
        """Why HOLDING began, with what is known of the policy by now."""
        return self.activation.explain_hold()

    @property
    def newest_chunk(self) -> Chunk | None:
        """The newest chunk in use, or the one that waits for the start."""
        return self.activation.taken or self.activation.pending

    @property
    def latency_high_s(self) -> float:
        """95th percentile of the time from an observation to its chunk; NaN: none yet."""
        return self._intake.latency.high_s

    @property
    def lead_s(self) -> float:
        """For how long ahead commands are fixed when nothing is late."""
        return (self.plan.lead_ns - self.period_ns) / NS_PER_S

    def snapshot(self, now_ns: int) -> Snapshot:
        """All of it that others may know, at a control time."""
        return take_snapshot(self._machine, self._motion, self.monitors, self._intake.latency, now_ns)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _align(self, position: Vector) -> Vector:
        rows = self._motion.align(np.array(position, dtype=np.float64)[None], self.activation.measured)
        return np.asarray(rows[0], dtype=np.float64)

    def _forget(self) -> None:
        self.queue.clear()
        self.monitors.reset()
        self._motion.motion_start.stillness.reset()
        self._machine.activation = ControllerState()
