# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How smooth a motion is, and whether a gripper is switched faster than it can follow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A third derivative of fewer ticks is of the noise alone.
LEAST_TICKS = 8
# A gripper is open above the upper and closed below the lower of these fractions of its range; in between it is what
# it was,
# so that noise about the middle is no switch.
OPEN_RATIO, CLOSED_RATIO = 0.75, 0.25
# A Robotiq 2F-85 (instruction manual, 6.1: 85 mm at 20 to 150 mm/s) needs 0.57 s for its stroke, so it follows no two
# switches within a second; nor does a person want three.
CHATTER_SWITCHES, CHATTER_S = 3, 1.0


def log_dimensionless_jerk(positions: NDArray[np.floating[Any]], dt_s: float) -> float | None:
    """Return how smooth a motion is: the nearer to 0, the smoother; None if it is too short, or there is none.

    LDLJ = -ln(T^3 / v^2 * integral of |d^2 v / dt^2|^2 dt), with T the duration and v the speed's peak. A straight
    reach of minimum jerk has -ln(204.8) = -5.3; more submovements, stops and tremor make it smaller. It falls with the
    duration of a task, so episodes are compared with one another.

    Source: Balasubramanian, Melendez-Calderon, Roby-Brami, Burdet, On the analysis of movement smoothness, J.
    NeuroEngineering and Rehabilitation 12:112, 2015, equation 4.

    Args:
        positions: (ticks, joints), each as a fraction of the joint's range.
        dt_s: a tick's duration.
    """
    if len(positions) < LEAST_TICKS:
        return None
    velocity = np.diff(positions, axis=0) / dt_s
    peak = float(np.linalg.norm(velocity, axis=1).max())
    jerk = np.diff(velocity, 2, axis=0) / dt_s**2
    integral = float((jerk**2).sum()) * dt_s
    duration_s = (len(positions) - 1) * dt_s
    if peak < 1e-9 or integral <= 0.0:
        return None
    return -math.log(duration_s**3 / peak**2 * integral)


def most_switches(commands: NDArray[np.floating[Any]], dt_s: float) -> int:
    """Return how often a gripper is switched between open and closed within `CHATTER_S`, at most.

    Args:
        commands: (ticks,), as a fraction of the gripper's range.
        dt_s: a tick's duration.
    """
    switched: list[int] = []
    is_open: bool | None = None
    for tick, value in enumerate(np.asarray(commands, dtype=np.float64).tolist()):
        state = True if value > OPEN_RATIO else False if value < CLOSED_RATIO else is_open
        if is_open is not None and state != is_open:
            switched.append(tick)
        is_open = state
    return max((_within(switched, tick, CHATTER_S / dt_s) for tick in switched), default=0)


def _within(ticks: Sequence[int], first: int, span: float) -> int:
    return sum(first <= tick <= first + span for tick in ticks)
