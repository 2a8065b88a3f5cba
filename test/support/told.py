# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a JointTrajectory of the policy node tells a robot, as one point a message: its curve soon after it was sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hpt_ros.control.plan import PAST_S
from hpt_ros.sim.trajectory import NS_PER_S, JointTrajectory, interpolate


@dataclass
class Sent:
    """One point of one message.

    Attributes:
        stamp_ns: of its header: the time of its first point, up to `PAST_S` and a period before it was sent.
        due_ns: a grid time between one and two periods after it was sent.
        position, velocity: at that time.
    """

    stamp_ns: int
    due_ns: int
    position: np.ndarray
    velocity: np.ndarray


def told(message: Any, period_s: float) -> Sent:
    """The point of a message."""
    trajectory = JointTrajectory.of(message)
    due_ns = trajectory.stamp_ns + round((PAST_S + 2.0 * period_s) * NS_PER_S)
    times = [trajectory.stamp_ns + point.time_from_start_ns for point in trajectory.points]
    last = int(np.searchsorted(times, due_ns, side="right")) - 1
    before = trajectory.points[max(last, 0)]
    if not 0 <= last < len(times) - 1:
        state = before.state
    else:
        after = trajectory.points[last + 1]
        span_s = (times[last + 1] - times[last]) / NS_PER_S
        state = interpolate(before.state, after.state, (due_ns - times[last]) / NS_PER_S, span_s)
    velocity = np.zeros_like(state.positions) if state.velocities is None else state.velocities
    return Sent(trajectory.stamp_ns, due_ns, state.positions, velocity)


def peaks(sent: list[Sent], period_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Largest velocity and acceleration (dim,) between the points of messages, over the times that they are due.

    Messages that tell the same moment count once; where time was set, a period lies between.
    """
    kept = [
        item
        for item, before in zip(sent, [None, *sent[:-1]], strict=True)
        if before is None or item.due_ns != before.due_ns
    ]
    path = np.array([item.position for item in kept])
    spans = np.diff([item.due_ns for item in kept]) / NS_PER_S
    spans = np.where((spans > 0.0) & (spans < 1.0), spans, period_s)[:, None]
    velocity = np.diff(path, axis=0) / spans
    acceleration = np.diff(velocity, axis=0) / ((spans[1:] + spans[:-1]) / 2.0)
    return np.abs(velocity).max(axis=0, initial=0.0), np.abs(acceleration).max(axis=0, initial=0.0)
