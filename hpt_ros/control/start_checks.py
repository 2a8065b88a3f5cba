# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Conditions on a chunk and on the pose under which motion may start or go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import NS_PER_S, Chunk, Vector
from hpt_ros.control.orientation_limits import distances
from hpt_ros.control.plan import TRANSPORT_S, MotionPlan
from hpt_ros.control.queue import ChunkQueue
from hpt_ros.control.refusals import Why
from hpt_ros.control.safety import Limits
from hpt_ros.control.stillness import MOVING, Stillness
from hpt_ros.control.tracking import Tracking
from hpt_ros.errors import Refusal

# A robot's controller that holds it elsewhere is given at most this long to come to where motion begins, ours.
LONGEST_WAIT_S = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Where motion begins.

    Attributes:
        pose: (dim,).
        wait_ns: how long the robot's controller is given to come there; None: it is where it was commanded to be.
    """

    pose: Vector
    wait_ns: int | None


class MotionStart:
    """Says where motion begins after a silence: from the last command while the robot is there, as far as it ever is.

    A robot lags behind its commands, and gravity keeps it a little below them, so the measured pose is another than the
    last command even where nothing happened. Only a robot that is far from it, or was never commanded anything, begins
    where it is measured, and only once it rests there. Grippers keep what they were commanded always: one that holds an
    object never arrives.
    """

    def __init__(
        self,
        names: Sequence[str],
        limits: Limits,
        tolerance: float,
        step: NDArray[np.bool_],
        silence_s: float,
    ) -> None:
        """Start with nothing known.

        Args:
            names: of the dimensions.
            limits: of the commands, unscaled.
            tolerance: how far outside its position limits, or where it is commanded to be first, the robot may be.
            step: (dim,) true for grippers.
            silence_s: after more than this its controller may have been commanded otherwise meanwhile.
        """
        self._names, self._limits, self._tolerance, self._step = tuple(names), limits, tolerance, step
        self._silence_ns = round(silence_s * NS_PER_S)
        self.stillness = Stillness(names, MOVING * limits.velocity, step)

    def origin(self, now_ns: int, measured: Vector, plan: MotionPlan, tracking: Tracking) -> Origin | Refusal:
        """Return where motion begins now, or why it must not yet.

        Args:
            now_ns: now.
            measured: (dim,), newest measured pose.
            plan: what was commanded.
            tracking: knows how far the robot may be from that.
        """
        last = plan.position
        if last is not None and tracking.near(now_ns, measured):
            if now_ns - plan.rest_ns <= self._silence_ns:
                return Origin(last, None)
            # Its controller may hold it where it is, having been restarted, or where it was commanded to be.
            return Origin(last, self._wait_ns(np.where(self._step, 0.0, np.abs(last - measured))))
        if last is not None and plan.rest_ns + round(TRANSPORT_S * NS_PER_S) > now_ns:
            return Refusal(Why.BRAKING, "the robot", problem="to come to rest")
        if (moving := self.stillness.moving(now_ns)) is not None:
            return moving
        pose = self.stillness.pose
        outside = check_start_pose(self._names, pose, self._limits, self._tolerance, self._step)
        if outside is not None:
            return outside
        away = np.full(pose.size, self._tolerance)
        if last is not None:
            pose = np.where(self._step, last, pose)
            away = np.maximum(away, np.abs(last - pose))
        return Origin(np.clip(pose, self._limits.lower, self._limits.upper), self._wait_ns(away))

    def _wait_ns(self, away: Vector) -> int:
        """Time of a cubic from rest to rest over a distance (dim,) within the limits: 3 d / (2 v) and sqrt(6 d / a)."""
        limits = self._limits
        wait_s = np.maximum(1.5 * away / limits.velocity, np.sqrt(6.0 * away / limits.acceleration))
        return round(min(float(np.where(self._step, 0.0, wait_s).max()), LONGEST_WAIT_S) * NS_PER_S)


def check_start_pose(
    names: Sequence[str], measured: Vector, limits: Limits, tolerance: float, step: NDArray[np.bool_]
) -> Refusal | None:
    """Return why the measured pose (dim,) is too far outside the position limits to start from; None if it is not.

    Grippers (`step`) do not count: a fully closed one reads a little more than it can be commanded.
    """
    beyond = np.where(step, -np.inf, np.maximum(limits.lower - measured, measured - limits.upper))
    worst = int(np.argmax(beyond))
    if beyond[worst] <= tolerance:
        return None
    return Refusal(
        Why.OUTSIDE, names[worst], float(measured[worst]),
        problem=f"is measured at {measured[worst]:.4f}, {beyond[worst]:.4f} outside its limits "
        f"[{limits.lower[worst]:g}, {limits.upper[worst]:g}]",
        remedy="move the robot inside or correct the limits",
    )  # fmt: skip


def check_first_target(
    names: Sequence[str],
    target: Vector,
    pose: Vector,
    limits: Limits,
    reach_s: float,
    turns: Sequence[int] = (),
    step: NDArray[np.bool_] | None = None,
) -> Refusal | None:
    """Return why the first target (dim,) is too far from the pose (dim,); None if it is not.

    Near is what each dimension's velocity limit covers in `reach_s`: it suits radians and metres alike. `turns` are
    where quaternions begin, which are as far apart as the angle between them. Dimensions in `step` (grippers) may be
    far away: to open or close is what they are commanded first, and their own limits slow them.
    """
    reach = limits.velocity * reach_s
    away = distances(np.clip(target, limits.lower, limits.upper), pose, turns)
    worst = int(np.argmax(away - reach if step is None else np.where(step, -np.inf, away - reach)))
    if (step is not None and step[worst]) or away[worst] <= reach[worst]:
        return None
    return Refusal(
        Why.FAR, f"the policy's first target for {names[worst]}", float(away[worst]),
        problem=f"is {target[worst]:.3f}, {away[worst]:.3f} from its pose {pose[worst]:.3f}",
        expected=f"at most {reach[worst]:.3f}", remedy="move the robot to where its demonstrations began",
    )  # fmt: skip


def check_continuity(
    names: Sequence[str],
    chunk: Chunk,
    pose: Vector | None,
    time_ns: int,
    limits: Limits,
    reach_s: float,
    queue: ChunkQueue,
    turns: Sequence[int] = (),
) -> Refusal | None:
    """Return why a chunk jumps; None if it does not.

    Only actions that are still to come count, from the one before `time_ns` on. Far is what each dimension's velocity
    limit covers in `reach_s`, and between actions in their distance in time on top; the limits slow anything nearer.

    Args:
        names: of the dimensions.
        chunk: to be taken over.
        pose: (dim,) of the reference at `time_ns`; None if there is none.
        time_ns: when it takes over.
        limits: of the commands.
        reach_s: 0 permits everything.
        queue: says at which time each dimension counts, and which may jump (grippers).
        turns: where quaternions begin.
    """
    if reach_s == 0.0:
        return None
    to_come = chunk.values[max(chunk.actions_before(time_ns) - 1, 0) :]
    steps, step = distances(to_come[1:], to_come[:-1], turns), queue.step
    if steps.size:
        within = limits.velocity * (chunk.dt_s + reach_s)
        excess = np.where(step, -np.inf, steps - within)
        row, worst = divmod(int(np.argmax(excess)), len(names))
        if excess[row, worst] > 0.0:
            return Refusal(
                Why.JUMP, "a chunk", float(steps[row, worst]),
                problem=f"moves {names[worst]} by {steps[row, worst]:.3f} from one action to the next",
                expected=f"at most {within[worst]:.3f}", remedy="check the policy",
            )  # fmt: skip
    if pose is not None:
        within = limits.velocity * reach_s
        away = distances(queue.chunk_at(chunk, time_ns).position, pose, turns)
        excess = np.where(step, -np.inf, away - within)
        worst = int(np.argmax(excess))
        if excess[worst] > 0.0:
            return Refusal(
                Why.JUMP, "a chunk", float(away[worst]),
                problem=f"has {names[worst]} {away[worst]:.3f} away from where it is",
                expected=f"at most {within[worst]:.3f}", remedy="check the policy and its observations",
            )  # fmt: skip
    return None
