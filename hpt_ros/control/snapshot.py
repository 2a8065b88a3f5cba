# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What others may know of a controller at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpt_ros.control.chunk import Chunk
from hpt_ros.control.holding import Missing
from hpt_ros.control.latency import LatencyWindow
from hpt_ros.control.machine import Machine
from hpt_ros.control.monitors import Monitors
from hpt_ros.control.motion import Motion
from hpt_ros.control.state_machine import State
from hpt_ros.errors import Refusal


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A controller at one moment; refusals are None where there is nothing to say.

    Attributes:
        state: of the controller.
        enabled: whether a task permits motion.
        missing: what prevented it from running at the last step.
        held: why HOLDING began, with what is known of the policy by now.
        stale: stream name to why it stops the robot.
        unserved, unheard: actions without a server; all that would receive no command.
        released: why the enabling switch does not permit motion.
        stopped: why the robot's own speed does not.
        measured: whether the robot's pose is known.
        pending: whether a chunk waits for the start.
        reason_no_chunk: why no chunk comes.
        chunk: newest chunk in use.
        queue_length: actions still to come.
        counters: since activation.
        latency_high_s: 95th percentile of the time from an observation to its chunk; NaN: none yet.
        tracking_error: of the newest measurement; NaN if nothing is known.
        braking: whether the next command still moves.
    """

    state: State
    enabled: bool
    missing: Missing | None
    held: Refusal | None
    stale: Mapping[str, Refusal]
    unserved: Refusal | None
    unheard: Refusal | None
    released: Refusal | None
    stopped: Refusal | None
    measured: bool
    pending: bool
    reason_no_chunk: Refusal | None
    chunk: Chunk | None
    queue_length: int
    counters: Mapping[str, int]
    latency_high_s: float
    tracking_error: float
    braking: bool


def take_snapshot(
    machine: Machine, motion: Motion, monitors: Monitors, latency: LatencyWindow, now_ns: int
) -> Snapshot:
    """A controller, of its parts, at a control time."""
    activation = machine.activation
    return Snapshot(
        state=machine.state,
        enabled=activation.enabled,
        missing=activation.missing,
        held=activation.explain_hold(),
        stale=dict(activation.stale),
        unserved=monitors.link.unserved,
        unheard=monitors.link.unheard,
        released=monitors.deadman.check_held(now_ns),
        stopped=motion.pace.stopped,
        measured=activation.measured is not None,
        pending=activation.pending is not None,
        reason_no_chunk=activation.inference.reason_no_chunk,
        chunk=activation.taken,
        queue_length=motion.queue.remaining(motion.target_ns(now_ns)),
        counters=dict(activation.counters),
        latency_high_s=latency.high_s,
        tracking_error=monitors.tracking.error,
        braking=not motion.filter.at_rest,
    )
