# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The state of a controller, what it remembers of this activation, and what is latched beyond it."""

from __future__ import annotations

from enum import Enum

from hpt_ros.control.controller_state import ControllerState
from hpt_ros.control.queue import ChunkQueue
from hpt_ros.control.state_machine import Event, State, next_state
from hpt_ros.errors import Refusal


class Fault(str, Enum):
    """Kinds of what is latched."""

    HELD = "held_too_long"
    POLICY = "policy_failed"  # too many refused chunks or failed inferences in a row
    SLOW = "policy_slow"  # its chunks are used up again and again
    TRACKING = "tracking"  # the robot does not follow
    CONTESTED = "command_contested"  # somebody else commands it too
    INPUT = "input_changed"  # what the robot's world sends is not what the policy was made for
    CLOCKS = "two_clocks"
    STOPPED = "operator_stop"
    INTERNAL = "internal_error"


class Machine:
    """Goes from state to state; whatever is not RUNNING has no chunk in use.

    Attributes:
        state: present one.
        activation: of this activation.
        latched: why the robot must not move until an operator clears it; outlives activations. None: it may.
        fault: its kind; None while nothing is latched.
    """

    def __init__(self, queue: ChunkQueue) -> None:
        """Start INACTIVE; `queue` is cleared with each end of RUNNING."""
        self._queue = queue
        self.state = State.INACTIVE
        self.activation = ControllerState()
        self.latched: Refusal | None = None
        self.fault: Fault | None = None

    def handle(self, event: Event, reason: Refusal | None = None, fault: Fault | None = None) -> None:
        """Take what happened; in a state that it does not change it says nothing.

        Args:
            event: what happened.
            reason: why; an event that leads to HOLDING or FAULT has one.
            fault: its kind, where it leads to FAULT.
        """
        before, self.state = self.state, next_state(self.state, event)
        if self.state is before:
            return
        self.activation.reason = reason
        if self.state is State.FAULT:
            self.latched, self.fault = reason, fault
            self.activation.counters["faults"] += 1
        if self.state is not State.RUNNING:
            self._queue.clear()
            self.activation.pending = self.activation.unused = self.activation.taken = None

    def hold(self, event: Event, reason: Refusal) -> None:
        """Take an event that leads to HOLDING, where the time of each cause counts from now."""
        if self.state is not State.HOLDING:
            self.activation.hold_times.begin()
        self.handle(event, reason)
