# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Temporal ensembling: an average of all chunks that say something about a time, instead of the newest alone.

Zhao et al., arXiv 2304.13705 (ACT), weigh chunk i by exp(-decay * i), i counted from the oldest. Here each chunk's
weight also rises from 0 when it comes and falls to 0 before it ends, over the fade time, so that position and velocity
stay continuous.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from hpt_ros.control.chunk import NS_PER_S, Chunk, Reference, Vector

# What is left of a weight at a chunk's very end: the average then still exists when all chunks end at once.
LEAST_WEIGHT = 1e-6


def smoothstep(time_ns: int, start_ns: int, span_ns: int) -> tuple[float, float]:
    """3 s^2 - 2 s^3 for s from 0 at `start_ns` to 1 after `span_ns`, and its rate in 1/s.

    A straight ramp would make the velocity of what it blends jump at both ends.
    """
    if time_ns < start_ns:
        return 0.0, 0.0
    if time_ns >= start_ns + span_ns:
        return 1.0, 0.0
    s = (time_ns - start_ns) / span_ns
    return s * s * (3.0 - 2.0 * s), 6.0 * s * (1.0 - s) * NS_PER_S / span_ns


def average(
    chunks: Sequence[tuple[Chunk, int]],
    time_ns: int,
    at: Callable[[Chunk, int], Reference],
    *,
    fade_ns: int,
    decay: float,
) -> Reference:
    """The average at a time and its velocity.

    Args:
        chunks: (chunk, when it came), oldest first; at least one that has not ended. The oldest counts from the start.
        time_ns: the time.
        at: a chunk's curve at a time.
        fade_ns: how long a chunk's weight takes to rise and to fall.
        decay: by how much less the next younger chunk weighs: a factor exp(-decay).
    """
    total, total_rate = 0.0, 0.0
    position: Vector = np.zeros(chunks[0][0].dim)
    velocity: Vector = np.zeros_like(position)
    for index, (chunk, came_ns) in enumerate(chunks):
        rise, rise_rate = smoothstep(time_ns, came_ns, fade_ns) if index else (1.0, 0.0)
        fallen, fall_rate = smoothstep(time_ns, chunk.end_ns - fade_ns, fade_ns)
        stays, stays_rate = (
            LEAST_WEIGHT + (1.0 - LEAST_WEIGHT) * (1.0 - fallen),
            -(1.0 - LEAST_WEIGHT) * fall_rate,
        )
        scale = math.exp(-decay * index)
        weight = scale * rise * stays
        rate = scale * (rise_rate * stays + rise * stays_rate)
        here = at(chunk, time_ns)
        total, total_rate = total + weight, total_rate + rate
        position += weight * here.position
        velocity += weight * here.velocity + rate * here.position
    position /= total
    return Reference(position, (velocity - total_rate * position) / total)
