# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""From chunks to what the robot is commanded: queue, robot's own speed, limits and plan as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import NS_PER_S, Chunk, ChunkError, Vector, shape_refusal
from hpt_ros.control.config import ControlConfig
from hpt_ros.control.holding import Cause, Missing
from hpt_ros.control.limiter import CommandLimiter
from hpt_ros.control.orientation_limits import align
from hpt_ros.control.pace import STOPPED, Pace
from hpt_ros.control.plan import MotionPlan
from hpt_ros.control.queue import ChunkQueue, step_mask
from hpt_ros.control.refusals import Why
from hpt_ros.control.safety import LimitedCommand, Limits
from hpt_ros.control.start_checks import MotionStart, check_continuity, check_first_target
from hpt_ros.control.tracking import Tracking
from hpt_ros.control.workspace import Kinematics
from hpt_ros.errors import Refusal

# Least scaling by which times from now are shortened, ours: below it points would be far closer than a controller's
# cycle, and the curve fixed for a large part of a chunk.
LEAST_LABEL = 0.05
ARRIVING = Missing(
    Cause.START,
    Refusal(Why.ARRIVING, "the robot's controller", problem="to come to where motion begins"),
    Refusal(Why.ARRIVING, "the robot's controller", problem="comes to where motion begins"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """A chunk that may be executed: on control time, and on plan time, which passes at the robot's own speed."""

    chunk: Chunk
    planned: Chunk


class Motion:
    """What the robot is commanded, one control point after the other; remembers it over pauses and activations.

    Attributes:
        queue: of chunks, on plan time.
        pace: the robot's own speed.
        filter: makes commands legal.
        plan: what was commanded.
        limits: scaled.
        step: (dim,) true for dimensions that step, such as grippers.
        ahead_ns: how much later than it is sent a command is due.
        stood: whether the last command, and all that was commanded with it, was rest.
    """

    def __init__(
        self,
        config: ControlConfig,
        limits: Limits,
        names: Sequence[str],
        *,
        rate_hz: float,
        latency_s: float = 0.0,
        kinematics: Kinematics | None = None,
        grippers: Sequence[str] = (),
        ahead_s: Vector | None = None,
        turns: Sequence[int] = (),
        wraps: NDArray[np.bool_] | None = None,
    ) -> None:
        """Start with nothing commanded; arguments as for `Controller`."""
        self.step = step = step_mask(config.queue, names, grippers)
        step[list(limits.rates)] = True
        self._config, self._names, self._turns, self._wraps = config, tuple(names), tuple(turns), wraps
        self.limits = limits.scale(config.safety.velocity_scale, config.safety.acceleration_scale)
        # How far away a target may be is about the policy, which was trained at full speed: not scaled.
        self._reach_limits = limits
        self.period_ns = round(NS_PER_S / rate_hz)
        self.ahead_ns = self.period_ns + round(latency_s * NS_PER_S)
        ahead_ns = np.round((np.zeros(limits.dim) if ahead_s is None else ahead_s) * NS_PER_S).astype(
            np.int64
        )
        self.queue = ChunkQueue(config.queue, step, ahead_ns, limits.rates)
        self.pace = Pace(config.speed_scaling)
        self.filter = CommandLimiter(
            self.limits, self.period_ns / NS_PER_S, step,
            turns=turns, workspace=config.workspace, kinematics=kinematics,
        )  # fmt: skip
        lead_ns = self.period_ns + round(max(latency_s, config.lead_margin_s) * NS_PER_S)
        self.plan = MotionPlan(
            self.filter, self.period_ns, lead_ns, self.limits.taps(self.period_ns / NS_PER_S)
        )
        self.stood = True
        self._arriving = (
            False  # the plan began with a time for the robot's controller to come to its first pose
        )
        self.motion_start = MotionStart(
            names, limits, config.safety.pose_tolerance, step, config.tracking.lag_s
        )

    # --- chunks ----------------------------------------------------------------------------------------------------

    def align(self, values: Vector, measured: Vector | None) -> Vector:
        """Values (H, dim) with the signs and turns of what the robot was commanded last, or else of where it is."""
        near = self.filter.position if self.filter.position is not None else measured
        return align(values, self._turns, near, self._wraps)

    def check(
        self, observation_ns: int, dt_s: float, values: Vector, number: int, now_ns: int, *,
        measured: Vector | None, moving: bool,
    ) -> Checked | Refusal:  # fmt: skip
        """Look at a chunk as `Controller.take_chunk` gets it; `moving` compares it with the commands of now too."""
        if (wrong_size := shape_refusal(values, len(self._names))) is not None:
            return wrong_size
        try:
            chunk = Chunk(observation_ns, dt_s, self.align(values, measured), number)
        except ChunkError as error:
            return replace(error.refusal, code=Why.NOT_FINITE)
        planned = self.to_plan_time(chunk)
        # Before motion its start is looked at by itself.
        pose = self.filter.position if moving else None
        time_ns, reach_s = self.target_ns(now_ns), self._config.safety.jump_reach_s
        jumps = check_continuity(
            self._names, planned, pose, time_ns, self._reach_limits, reach_s, self.queue, self._turns
        )
        return Checked(chunk, planned) if jumps is None else jumps

    def to_plan_time(self, chunk: Chunk) -> Chunk:
        """The chunk on plan time."""
        observation_ns = self.pace.plan_ns(chunk.observation_ns)
        return (
            chunk if observation_ns == chunk.observation_ns else replace(chunk, observation_ns=observation_ns)
        )

    def target_ns(self, now_ns: int, later_ns: int = 0) -> int:
        """For which plan time a target is asked for next, or that much later."""
        next_ns = max(self.plan.next_ns, self.plan.first_ns(now_ns) - 2 * self.period_ns)
        begins = not self.plan.known or self.arrives(now_ns)
        time_ns = (self.plan.first_ns(now_ns) if begins else next_ns) + self.plan.delay_ns
        return self.pace.plan_ns(time_ns + later_ns)

    # --- motion ----------------------------------------------------------------------------------------------------

    def arrives(self, now_ns: int) -> bool:
        """Whether the robot's controller is still given time to come to where motion begins.

        A chunk that was taken now would act only after that time, when a newer one is there.
        """
        ahead_ns = self.plan.fixed_until_ns - now_ns
        return self._arriving and ahead_ns > self.plan.lead_ns + self.period_ns

    def start(
        self, chunk: Chunk, measured: Vector, now_ns: int, tracking: Tracking, *, held: bool
    ) -> Missing | int:
        """Begin to follow a chunk.

        Args:
            chunk: on control time.
            measured: (dim,).
            now_ns: now.
            tracking: knows how far the robot may be from what it was commanded.
            held: it goes on from the commands, which may still brake.

        Returns:
            Why not yet; or how many of the chunk's actions are dropped as late.
        """
        wait_ns, pose = None, self.filter.position if held else None
        if pose is None:
            origin = self.motion_start.origin(now_ns, measured, self.plan, tracking)
            if isinstance(origin, Refusal):
                return Missing(Cause.START, origin, origin)
            pose, wait_ns = origin.pose, origin.wait_ns
        planned = self.to_plan_time(chunk)
        target = self.queue.chunk_at(planned, self.pace.plan_ns(now_ns + self.ahead_ns)).position
        reach_s = self._config.safety.start_reach_s
        far = check_first_target(
            self._names, target, pose, self._reach_limits, reach_s, self._turns, self.queue.step
        )
        if far is not None:
            return Missing(Cause.START, far, far)
        if wait_ns is not None:
            self.plan.begin(now_ns, pose, wait_ns)
            self._arriving, self.stood = True, False
        if self.arrives(now_ns):
            return ARRIVING
        self._arriving = False
        # At the time of the last control point the robot is there.
        time_ns = self.pace.plan_ns(self.plan.last_ns + self.plan.delay_ns)
        return self.queue.start(planned, time_ns, pose, self.filter.velocity / max(self.pace.rate, STOPPED))

    def advance(self) -> None:
        """Let plan time pass up to the next control point."""
        self.pace.advance(self.plan.next_ns + self.plan.delay_ns, self._fastest_change)
        self.queue.pace = self.pace.rate

    def follow(self) -> LimitedCommand | Refusal | None:
        """Make the next command from the queue; None if its chunk is used up."""
        reference = self.queue.at(self.pace.plan_ns(self.plan.next_ns + self.plan.delay_ns))
        if reference is None:
            return None
        output = self.filter.apply(reference.position, reference.velocity * self.pace.rate)
        return self.filter.refusal(reference.position) if output is None else output

    def succeed(self, other: Motion, tracking: Tracking) -> None:
        """Go on from what the robot was commanded last by another of it, and say so to `tracking`."""
        if other.plan.position is not None:
            self.plan.begin(other.plan.rest_ns, other.plan.position)
            tracking.note_command(other.plan.rest_ns, other.plan.position)
            tracking.reset()
        self.pace.succeed(other.pace)

    @property
    def label_pace(self) -> float:
        """By how much times from now are shortened, for a controller that goes along trajectories as much slower."""
        scaling = self._config.speed_scaling
        return max(self.pace.wanted, LEAST_LABEL) if scaling.topic and scaling.trajectories else 1.0

    @property
    def _fastest_change(self) -> float:
        """Most change of the pace per second with which the present motion keeps its acceleration limits."""
        # As its inverse, the most of velocity over acceleration: a velocity may be as small as a number can be.
        longest_s = float((np.abs(self.filter.velocity) / self.limits.acceleration).max())
        return max(self.pace.rate, STOPPED) / max(longest_s, np.finfo(float).tiny)
