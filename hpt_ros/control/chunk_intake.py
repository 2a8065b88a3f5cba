# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What becomes of the policy's answers: taken, retained for the start, or refused and counted."""

from __future__ import annotations

from hpt_ros.control.chunk import NS_PER_S, Chunk, Vector
from hpt_ros.control.controller_state import USED_UP
from hpt_ros.control.latency import LatencyWindow
from hpt_ros.control.machine import Fault, Machine
from hpt_ros.control.motion import Motion
from hpt_ros.control.refusals import Why, append_reason
from hpt_ros.control.state_machine import Event, State
from hpt_ros.errors import Refusal

# Failures of the policy, and their counters.
FAILURES = {
    Why.WRONG_SIZE: "wrong_size_refused",
    Why.NOT_FINITE: "nonfinite_refused",
    Why.NO_ORIENTATION: "nonfinite_refused",
    Why.JUMP: "jumps_refused",
    Why.INFERENCE: "inference_errors",
}


class ChunkIntake:
    """Takes chunks and failures for a controller.

    Attributes:
        latency: of chunks, from their observation on.
    """

    def __init__(self, machine: Machine, motion: Motion, max_refused: int, max_exhausted: int) -> None:
        """Start with none.

        Args:
            machine: of the controller.
            motion: of the robot.
            max_refused: failures in a row that are a fault.
            max_exhausted: used-up chunks in a row that are one.
        """
        self._machine, self._motion = machine, motion
        self._max_refused, self._max_exhausted = max_refused, max_exhausted
        self.latency = LatencyWindow()

    def take(
        self, observation_ns: int, dt_s: float, values: Vector, now_ns: int, number: int = 0
    ) -> Refusal | None:
        """As `Controller.take_chunk`."""
        if (unwanted := self._refusal_of_unwanted()) is not None:
            return unwanted
        machine, activation = self._machine, self._machine.activation
        found = self._motion.check(
            observation_ns, dt_s, values, number, now_ns,
            measured=activation.measured, moving=machine.state is State.RUNNING,
        )  # fmt: skip
        if isinstance(found, Refusal):
            return self.note_refusal(found)
        chunk = found.chunk
        activation.inference.note_good()
        activation.counters["chunks"] += 1
        self.latency.add((now_ns - observation_ns) / NS_PER_S)
        if found.planned.end_ns <= self._motion.target_ns(now_ns):
            return self._late(chunk)
        if chunk.observation_ns > now_ns + dt_s * NS_PER_S:
            # It would be held, and look unused, until its time comes.
            activation.counters["chunks_refused_future"] += 1
            return chunk.future_refusal(now_ns)
        if machine.state is not State.RUNNING:
            if activation.pending is None or observation_ns > activation.pending.observation_ns:
                activation.pending = chunk
            return None
        # From the last command on, so that the next one has a part of it already.
        late = self._motion.queue.merge(
            found.planned, self._motion.target_ns(now_ns, -self._motion.period_ns)
        )
        if late is None:
            return self._late(chunk)
        activation.counters["late_actions_dropped"] += late
        activation.unused = activation.taken = chunk
        activation.inference.used_up = 0
        return None

    def refuse(self, refused: Refusal) -> Refusal:
        """As `Controller.refuse_chunk`."""
        unwanted = self._refusal_of_unwanted()
        return self.note_refusal(refused) if unwanted is None else unwanted

    def note_refusal(self, refused: Refusal) -> Refusal:
        """Note a failure of the policy, of a code in `FAILURES`, and return it; too many in a row are a fault."""
        activation = self._machine.activation
        activation.counters[FAILURES[Why(refused.code)]] += 1
        policy = activation.inference
        policy.note_failure(refused)
        if policy.in_a_row >= self._max_refused:
            problem = f"failures of the policy in a row, the last: {refused}"
            too_many = Refusal(Why.IN_A_ROW, str(policy.in_a_row), refused, problem=problem)
            self._machine.handle(Event.ERROR, too_many, Fault.POLICY)
        return refused

    def note_exhausted(self) -> None:
        """Hold for want of a chunk; a policy that is too slow is a fault."""
        activation = self._machine.activation
        activation.counters["exhausted_stops"] += 1
        cover_s = 0.0 if activation.taken is None else activation.taken.cover_s
        slow = activation.inference.note_exhausted(self._max_exhausted, self.latency.high_s, cover_s)
        if slow is not None:
            self._machine.handle(Event.ERROR, slow, Fault.SLOW)
        else:
            self._machine.hold(Event.EXHAUSTED, append_reason(USED_UP, activation.inference.reason_no_chunk))

    def _refusal_of_unwanted(self) -> Refusal | None:
        machine = self._machine
        if machine.state.active and machine.state is not State.FAULT and machine.activation.enabled:
            return None
        problem = f"came in state {machine.state.name} and is not executed"
        return Refusal(Why.NOT_WANTED, "a chunk", machine.state, problem=problem)

    def _late(self, chunk: Chunk) -> Refusal:
        counters = self._machine.activation.counters
        counters["chunks_refused_late"] += 1
        counters["late_actions_dropped"] += chunk.horizon
        return chunk.late_refusal()
