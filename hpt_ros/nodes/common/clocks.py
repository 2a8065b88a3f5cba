# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A node's clocks: control time for what it does, ROS time for what it names."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rclpy.clock import Clock, ClockType, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node

from hpt_ros.control.clock import ControlClock, Instant, Reading

# Two clocks read further apart than this are read again: another thread or process ran in between.
TOGETHER_NS = 200_000
TRIES = 3


def steady_timer(node: Node, period_s: float, callback: Callable[[], None]) -> Any:
    """A timer that nobody's setting of a clock, and no paused simulation, can stop."""
    return node.create_timer(period_s, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))


def create_paced_timer(node: Node, period_s: float, callback: Callable[[], None]) -> Any:
    """A timer that follows simulated time where there is one, and a steady clock otherwise."""
    if uses_sim_time(node):
        return node.create_timer(period_s, callback)
    return steady_timer(node, period_s, callback)


def uses_sim_time(node: Node) -> bool:
    """Whether the node's time is simulated."""
    clock: Any = node.get_clock()
    return bool(clock.ros_time_is_active)


class NodeClock:
    """Reads a node's clocks together. Not thread-safe: the node locks."""

    def __init__(self, node: Node) -> None:
        """Begin with nothing read."""
        self._node = node
        self._clock = ControlClock()
        self._asleep_ns: int | None = None
        self._back_ns: list[
            int
        ] = []  # by how much simulated time went back, each time since the last reading
        back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False)
        self._jumps = node.get_clock().create_jump_callback(back, post_callback=self._on_back)

    def now(self) -> Instant:
        """This moment, and what happened to ROS time since the call before."""
        reading = self._read()
        for _ in range(TRIES - 1):
            if reading.error_ns <= TOGETHER_NS:
                break
            reading = self._read()
        seen = self._back_ns[:]
        del self._back_ns[: len(seen)]
        return self._clock.read(replace(reading, back_ns=max(seen, default=0)))

    def _on_back(self, jump: TimeJump) -> None:
        self._back_ns.append(-int(jump.delta.nanoseconds))

    @property
    def simulated(self) -> bool:
        """Whether the node's time is simulated."""
        return uses_sim_time(self._node)

    @property
    def begun(self) -> bool:
        """False while time is simulated and nobody has said what time it is."""
        return self._clock.begun

    @property
    def still_s(self) -> float:
        """For how long ROS time has stood still."""
        return self._clock.still_s(time.monotonic_ns())

    def advance(self, by_ns: int) -> None:
        """Let control time go on although simulated time stands still."""
        self._clock.advance(by_ns)

    def _read(self) -> Reading:
        before_ns = time.monotonic_ns()
        ros_ns = int(self._node.get_clock().now().nanoseconds)
        after_ns = time.monotonic_ns()
        return Reading(after_ns, ros_ns, self.simulated, after_ns - before_ns, self._asleep())

    def _asleep(self) -> int:
        """How long the machine has slept since it started, as far as was seen; 0 where the system does not say.

        A process that had to wait between the two clocks would take the wait for sleep: it looks again, the next time
        at the latest.
        """
        if not hasattr(time, "CLOCK_BOOTTIME"):
            return 0
        for _ in range(TRIES):
            before_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            after_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            together = after_ns - before_ns <= TOGETHER_NS
            if together or self._asleep_ns is None:
                self._asleep_ns = boot_ns - after_ns
            if together:
                break
        return self._asleep_ns or 0
