# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The state of a controller, what it remembers of this activation, and what is latched beyond it."""

from __future__ import annotations

from hpt_ros.control.queue import ChunkQueue
from hpt_ros.control.session import Session
from hpt_ros.control.state_machine import Event, State, next_state


class Machine:
    """Goes from state to state; whatever is not RUNNING has no chunk in use.

    Attributes:
        state: present one.
        session: of this activation.
        latched: why the robot must not move until an operator clears it; outlives activations. Empty: it may.
    """

    def __init__(self, queue: ChunkQueue) -> None:
        """Start INACTIVE; `queue` is cleared with each end of RUNNING."""
        self._queue = queue
        self.state = State.INACTIVE
        self.session = Session()
        self.latched = ""

    def event(self, event: Event, reason: str = "") -> None:
        """Take what happened, and why, a sentence; in a state that it does not change it says nothing."""
        before, self.state = self.state, next_state(self.state, event)
        if self.state is before:
            return
        self.session.reason = reason
        if self.state is State.FAULT:
            self.latched = reason
            self.session.counters["faults"] += 1
        if self.state is not State.RUNNING:
            self._queue.clear()
            self.session.pending = self.session.unused = self.session.taken = None

    def hold(self, event: Event, reason: str) -> None:
        """Take an event that leads to HOLDING, where the time of each cause counts from now."""
        if self.state is not State.HOLDING:
            self.session.hold_times.begin()
        self.event(event, reason)
