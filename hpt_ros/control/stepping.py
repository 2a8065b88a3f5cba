# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a controller does once per period: look, go on or hold, make control points, and the command."""

from __future__ import annotations

import math

from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.control.chunk_intake import ChunkIntake
from hpt_ros.control.config import ControlConfig
from hpt_ros.control.controller_state import Command, ControllerState
from hpt_ros.control.holding import Missing
from hpt_ros.control.machine import Fault, Machine
from hpt_ros.control.monitors import Monitors
from hpt_ros.control.motion import Motion
from hpt_ros.control.refusals import Why
from hpt_ros.control.state_machine import Event, State
from hpt_ros.errors import Refusal


class Stepper:
    """Steps the parts of a controller that is active."""

    def __init__(
        self, machine: Machine, motion: Motion, monitors: Monitors, intake: ChunkIntake, config: ControlConfig
    ) -> None:
        """Step these parts of one controller."""
        self._machine, self._motion, self._monitors, self._intake = machine, motion, monitors, intake
        self._longest_hold_s = config.safety.hold_timeout_s

    @property
    def _activation(self) -> ControllerState:
        return self._machine.activation

    def step(self, now_ns: int) -> Command | None:
        """Make the command of this period, or None if nothing is to be sent. Times must not decrease."""
        machine, motion, plan = self._machine, self._motion, self._motion.plan
        if plan.known:
            # While the robot's controller comes to where motion begins, nothing moves that could brake.
            ahead_s = (plan.fixed_until_ns - now_ns) / NS_PER_S
            self._activation.margin_s = math.nan if motion.arrives(now_ns) else ahead_s
            self._activation.counters["command_gaps"] += plan.catch_up(now_ns) > 0
        plan.stretch(motion.label_pace)  # what was sent before it is as it was
        self._monitors.watch(machine, motion.pace, now_ns)
        if machine.state in (State.WAITING, State.HOLDING):
            self._try_to_run(now_ns)
        while plan.known and plan.due(now_ns):
            motion.advance()
            if not (machine.state is State.RUNNING and self._run()):
                motion.filter.brake()
            plan.extend()
        if machine.state is State.HOLDING:
            self._check_hold(now_ns)
        return self._command(now_ns)

    def _check_hold(self, now_ns: int) -> None:
        """Latch when one cause has held the robot for too long; the reason is what is missing now."""
        missing, longest_s = self._activation.missing, self._longest_hold_s
        if (
            missing is not None
            and self._activation.hold_times.add(missing.cause, now_ns) > longest_s * NS_PER_S
        ):
            problem = f"for more than {longest_s:g} s: {missing.held}"
            too_long = Refusal(Why.HELD, "held", missing.held, problem=problem)
            self._machine.handle(Event.HOLD_TIMEOUT, too_long, Fault.HELD)

    def _try_to_run(self, now_ns: int) -> None:
        """Go to RUNNING if everything is there; otherwise note what is missing."""
        monitors, activation = self._monitors, self._activation
        braking = not self._motion.plan.at_rest and self._motion.plan.known
        activation.missing = activation.find_missing(
            self._motion.target_ns(now_ns),
            monitors.link.unheard,
            monitors.deadman.check_held(now_ns) or self._motion.pace.stopped,
            braking=braking and self._machine.state is State.WAITING,
        )
        chunk, measured = activation.pending, activation.measured
        if activation.missing is not None or chunk is None or measured is None:
            return
        held = self._machine.state is State.HOLDING
        started = self._motion.start(chunk, measured, now_ns, monitors.tracking, held=held)
        if isinstance(started, Missing):
            activation.missing = started
            if held and not braking:
                # What held it is over. It may go on by itself when the policy comes near, or a person moves the robot.
                self._machine.handle(Event.AWAY, started.held)
                activation.pending = chunk
            return
        self._machine.handle(Event.READY)
        activation.counters["late_actions_dropped"] += started
        activation.pending, activation.unused, activation.taken = None, chunk, chunk

    def _run(self) -> bool:
        """Let the policy make the next command; False if the robot is to brake instead."""
        output, activation = self._motion.follow(), self._activation
        if output is None:
            self._intake.note_exhausted()
            return False
        if isinstance(output, Refusal):
            self._intake.note_refusal(output)
            return False
        activation.count_limits(output)
        activation.counters["workspace_stops"] += (
            self._motion.filter.blocked is not None and activation.blocked is None
        )
        activation.blocked = self._motion.filter.blocked
        activation.used, activation.unused = activation.unused or activation.used, None
        return True

    def _command(self, now_ns: int) -> Command | None:
        """What is sent now. HOLDING repeats the pose; WAITING and FAULT send nothing once at rest.

        So that a person can move the robot by other means after a fault, and a controller with a timeout does not let
        go while the policy is expected back.
        """
        activation = self._activation
        if not self._motion.plan.known or (
            self._motion.stood and self._machine.state not in (State.RUNNING, State.HOLDING)
        ):
            activation.sent_ns = None
            self._monitors.tracking.reset()
            return None
        if activation.sent_ns is not None and now_ns - activation.sent_ns < self._motion.period_ns // 2:
            return None  # the timer came twice
        time_ns, curve = now_ns + self._motion.ahead_ns, self._motion.plan.curve()
        here = curve.at(time_ns)
        self._motion.stood = self._motion.plan.at_rest and self._motion.plan.rest_ns <= time_ns
        command = Command(
            time_ns, here.position, here.velocity, curve, now_ns, activation.used, self._motion.label_pace
        )
        activation.used, activation.sent_ns = None, now_ns
        activation.counters["commands_sent"] += 1
        self._monitors.tracking.note_command(time_ns, here.position)
        return command
