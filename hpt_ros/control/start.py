# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Conditions on a chunk and on the pose under which motion may start or go on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import Chunk, Vector
from hpt_ros.control.queue import ChunkQueue
from hpt_ros.control.safety import Limits
from hpt_ros.control.turning import distances


def outside_limits(names: Sequence[str], measured: Vector, limits: Limits, tolerance: float) -> str:
    """Why the measured pose (dim,) is too far outside the position limits to start from; empty if it is not."""
    beyond = np.maximum(limits.lower - measured, measured - limits.upper)
    worst = int(np.argmax(beyond))
    if beyond[worst] <= tolerance:
        return ""
    return (
        f"{names[worst]} is measured at {measured[worst]:.4f}, {beyond[worst]:.4f} outside its limits "
        f"[{limits.lower[worst]:g}, {limits.upper[worst]:g}]; move the robot inside or correct the limits"
    )


def too_far(
    names: Sequence[str],
    target: Vector,
    pose: Vector,
    limits: Limits,
    reach_s: float,
    turns: Sequence[int] = (),
    step: NDArray[np.bool_] | None = None,
) -> str:
    """Why the first target (dim,) is too far from the pose (dim,); empty if it is not.

    Near is what each dimension's velocity limit covers in `reach_s`: it suits radians and metres alike. `turns` are
    where quaternions begin, which are as far apart as the angle between them. Dimensions in `step` (grippers) may be
    far away: to open or close is what they are told first, and their own limits slow them.
    """
    reach = limits.velocity * reach_s
    away = distances(np.clip(target, limits.lower, limits.upper), pose, turns)
    worst = int(np.argmax(away - reach if step is None else np.where(step, -np.inf, away - reach)))
    if step is not None and step[worst]:
        return ""
    if away[worst] <= reach[worst]:
        return ""
    return (
        f"the policy's first target for {names[worst]} is {target[worst]:.3f}, {away[worst]:.3f} from its pose "
        f"{pose[worst]:.3f}, but at most {reach[worst]:.3f} was expected; move the robot to where its "
        "demonstrations began"
    )


def jump(
    names: Sequence[str],
    chunk: Chunk,
    pose: Vector | None,
    time_ns: int,
    limits: Limits,
    reach_s: float,
    queue: ChunkQueue,
    turns: Sequence[int] = (),
) -> str:
    """Why a chunk jumps; empty if it does not.

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
        return ""
    to_come = chunk.values[max(chunk.actions_before(time_ns) - 1, 0) :]
    steps, step = distances(to_come[1:], to_come[:-1], turns), queue.step
    if steps.size:
        within = limits.velocity * (chunk.dt_s + reach_s)
        excess = np.where(step, -np.inf, steps - within)
        row, worst = divmod(int(np.argmax(excess)), len(names))
        if excess[row, worst] > 0.0:
            return (
                f"a chunk moves {names[worst]} by {steps[row, worst]:.3f} from one action to the next, but at most "
                f"{within[worst]:.3f} was expected; check the policy"
            )
    if pose is not None:
        within = limits.velocity * reach_s
        away = distances(queue.chunk_at(chunk, time_ns).position, pose, turns)
        excess = np.where(step, -np.inf, away - within)
        worst = int(np.argmax(excess))
        if excess[worst] > 0.0:
            return (
                f"a chunk has {names[worst]} {away[worst]:.3f} away from where it is, but at most {within[worst]:.3f} "
                "was expected; check the policy and its observations"
            )
    return ""
