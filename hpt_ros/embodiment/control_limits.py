# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Limits of commands, of the embodiment file: those of the control vector, and what they mean for the action vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.action import Action
from hpt_ros.embodiment.kinds import BASE_VELOCITY, INTEGRATED, VELOCITIES
from hpt_ros.embodiment.output import JointLimit, OutputSlice
from hpt_ros.embodiment.rotations import elements
from hpt_ros.embodiment.streams import EmbodimentError
from hpt_ros.errors import Code

Floats = NDArray[np.float64]
# Lower, upper, largest first and second rate of change of the action vector's elements, (action dim,) each.
Bounds: TypeAlias = tuple[Floats, Floats, Floats, Floats]
_Row: TypeAlias = tuple[float, float, float, float]

# Ranges that a target may jump by in one period, ours: it stays a jump at a small part of the speed limits too.
AT_ONCE = 1000.0


@dataclass(frozen=True)
class ControlLimits:
    """Limits of the control vector, (dim,) each; of a quaternion's elements those of the rotation, rad/s, rad/s^2.

    A continuous joint's position is without limits, -inf and inf. Jerk is inf where there is none, None if nowhere.
    """

    lower: Floats
    upper: Floats
    velocity: Floats
    acceleration: Floats
    jerk: Floats | None = None


def control_limits(
    action: Action, parts: Sequence[OutputSlice], names: Sequence[str], embodiment: str
) -> ControlLimits:
    """Return the limits of the control vector.

    Args:
        action: of the robot.
        parts: its outputs in the vectors.
        names: of the control vector.
        embodiment: the robot's name, for errors.

    Raises:
        EmbodimentError: a limit is left to a URDF, and there was none.
    """
    rows, rate_hz = _rows(action, embodiment), action.rate_hz
    found: list[_Row] = []
    for part in parts:
        linear = [rows[name] for name in part.output.limited]
        if part.output.kind == BASE_VELOCITY:
            # Of its rate there is no limit but what its changes cannot exceed.
            linear = [(lower, upper, a, 2.0 * a * rate_hz) for lower, upper, _, a in linear]
        elif part.output.command.own_speed:
            # The driver is given where to go at once, and goes at its own speed.
            ranges = [(lower, upper, AT_ONCE * (upper - lower) * rate_hz) for lower, upper, _, _ in linear]
            linear = [(lower, upper, speed, speed * rate_hz) for lower, upper, speed in ranges]
        found += linear
        if (turn := part.output.rotation_limit) is not None:
            found += [(-1.0, 1.0, turn.velocity, turn.acceleration)] * 4
    jerks = {limit.name: limit.jerk for limit in action.limits if limit.jerk is not None}
    jerk = np.array([jerks.get(name, np.inf) for name in names]) if jerks else None
    lower, upper, velocity, acceleration = np.array(found, dtype=np.float64).T
    return ControlLimits(lower, upper, velocity, acceleration, jerk)


def action_bounds(action: Action, parts: Sequence[OutputSlice], embodiment: str, tick_hz: float) -> Bounds:
    """Return what the action vector's elements keep to, to judge data by.

    Exact for joints and positions; continuous joints are from -pi to pi. Elements of an orientation have no limit,
    so theirs are twice what they can be, and change by no more than the angular speed (axis-angle: pi / 2 of it).
    Elements of a velocity are bounded by the speeds, and change by the accelerations.
    """
    rows = _rows(action, embodiment)
    continuous = {limit.name for limit in action.limits if limit.continuous}
    found: list[_Row] = []
    for part in parts:
        output, turn = part.output, part.output.rotation_limit
        linear = [
            (-np.pi, np.pi, *rows[name][2:]) if name in continuous else rows[name] for name in output.limited
        ]
        if output.kind in VELOCITIES:
            speeds = [(*row[:2], row[3]) for row in linear]
            if output.kind in INTEGRATED:
                speeds = [(-v, v, a) for _, _, v, a in linear]
            if turn is not None:
                speeds += [(-turn.velocity, turn.velocity, turn.acceleration)] * 3
            found += [(low, high, a, 2.0 * a * tick_hz) for low, high, a in speeds]
            continue
        found += linear
        if turn is not None:
            wide = output.rotation == "axis_angle"
            reach, factor = (2.0 * np.pi, np.pi / 2.0) if wide else (2.0, 1.0)
            row = (-reach, reach, turn.velocity * factor, turn.acceleration * factor)
            found += [row] * len(elements(output.rotation))
    lower, upper, velocity, acceleration = np.array(found, dtype=np.float64).T
    return lower, upper, velocity, acceleration


def _rows(action: Action, embodiment: str) -> dict[str, _Row]:
    """Lower, upper, velocity and acceleration by the limit's name."""
    found = {}
    base = {name for output in action.parts if output.kind == BASE_VELOCITY for name in output.limited}
    for limit in action.limits:
        if limit.name in base:
            found[limit.name] = _base_row(limit)
            continue
        lower, upper = (-np.inf, np.inf) if limit.continuous else (limit.lower, limit.upper)
        if lower is None or upper is None or limit.velocity is None:
            raise EmbodimentError(
                Code.MISSING, f"embodiment {embodiment!r}", limit.name,
                problem=f"leaves the {limit.missing[0]} limit of {{value}} to robot_description, which is "
                "not given here",
                remedy="give that parameter the robot's URDF, or write the limit into the embodiment file",
            )  # fmt: skip
        found[limit.name] = (lower, upper, limit.velocity, limit.acceleration)
    return found


def _base_row(limit: JointLimit) -> tuple[float, float, float, float]:
    """Lower, upper, velocity and acceleration of a base's axis; lower and upper are velocities."""
    assert limit.lower is not None
    assert limit.upper is not None
    assert limit.velocity is not None
    lower, upper = max(limit.lower, -limit.velocity), min(limit.upper, limit.velocity)
    return lower, upper, limit.velocity, limit.acceleration
