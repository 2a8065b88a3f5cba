# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Limits guessed from how far and how fast the robot went in one bag."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from hpt_ros.angles import unwrap
from hpt_ros.embodiment.estimates import SLOWEST, widen_range
from hpt_ros.embodiment.kinds import AXES, CARTESIAN_TWIST, JOINT_VELOCITY
from hpt_ros.embodiment.rotations import to_rotation
from hpt_ros.embodiment.urdf import UrdfLimit
from rosbag_tools.bootstrap.commands import DetectedCommand
from rosbag_tools.bootstrap.joints import Course, Floats
from rosbag_tools.bootstrap.sensors import CHECK


def quote(text: str) -> str:
    """A YAML double-quoted scalar; names were checked to be printable."""
    return json.dumps(text, ensure_ascii=False)


def joint_limits(
    command: DetectedCommand, measured: Mapping[str, Course], tick_hz: float, urdf: Mapping[str, UrdfLimit]
) -> list[str]:
    """A YAML line per commanded joint: the URDF's limits, or the range seen with a margin, and peaks over a tick."""
    lines = []
    for name, column in zip(command.names, command.values.T, strict=True):
        places = [] if command.kind == JOINT_VELOCITY else [column]
        places += [measured[name][1]] if name in measured else []
        seen = np.concatenate(places)
        if command.kind == JOINT_VELOCITY:
            speed = float(np.abs(column).max())
            change = _peak(command.times_s, column, 1.0 / tick_hz, 1)
        else:
            if name in command.continuous:
                column = unwrap(column[:, None], column[:1])[:, 0]
            held = name in command.grippers
            speed, change = (
                _peak(command.times_s, column, 1.0 / tick_hz, order, held=held) for order in (1, 2)
            )
        low, high = float(seen.min()), float(seen.max())
        lines.append(
            _joint_line(name, low, high, speed, change, urdf.get(name), endless=name in command.continuous)
        )
    return lines


def _joint_line(
    name: str, low: float, high: float, speed: float, change: float, urdf: UrdfLimit | None, *, endless: bool
) -> str:
    """The limits of one joint. A URDF has no accelerations, so each line has a mark."""
    known = urdf is not None and np.isfinite(urdf.velocity)
    velocity = f"{urdf.velocity:g}" if urdf is not None and known else f"{_up(speed):.4f}"
    acceleration = f"acceleration: {_up(change):.4f}"
    note = "the acceleration; the velocity is robot_description's" if known else "the peaks seen"
    if endless:
        limits = f"continuous: true, velocity: {velocity}, {acceleration}"
        return f"    - {{name: {quote(name)}, {limits}}}  # {CHECK}: {note}"
    if urdf is None or not known or not urdf.lower < urdf.upper < np.inf:
        return _line(name, low, high, speed, change)
    note = "the acceleration; the others are robot_description's"
    if low < urdf.lower or high > urdf.upper:
        note += f", beyond which the bag has {low:.4g} to {high:.4g}"
    return (
        f"    - {{name: {quote(name)}, lower: {urdf.lower:g}, upper: {urdf.upper:g}, velocity: {velocity}, "
        f"{acceleration}}}  # {CHECK}: {note}"
    )


def base_limits(command: DetectedCommand, output: str, tick_hz: float) -> list[str]:
    """A YAML line per commanded axis of a base: its velocity's range and peak, and the peak of its change."""
    lines = []
    for name, column in zip(command.names, command.values.T, strict=True):
        low, high = min(float(column.min()), 0.0), max(float(column.max()), 0.0)
        change = _peak(command.times_s, column, 1.0 / tick_hz, 1)
        lines.append(
            f"    - {{name: {output}.{name}, lower: {-_up(-low) if low else 0.0:.4f}, "
            f"upper: {_up(high) if high else 0.0:.4f}, velocity: {_up(max(-low, high)):.4f}, "
            f"acceleration: {_up(change):.4f}}}  # {CHECK}: a base that never drove one way may not"
        )
    return lines


def tool_limits(
    command: DetectedCommand, output: str, places: Floats, tick_hz: float
) -> tuple[list[str], str]:
    """YAML lines of the position's limits, and the rotation's.

    Args:
        command: Cartesian.
        output: name of its output.
        places: measured positions (N, 3), m.
        tick_hz: rate of observations.
    """
    dt_s = 1.0 / tick_hz
    twist = command.kind == CARTESIAN_TWIST
    seen = places if twist else np.concatenate([places, command.values[:, :3]])
    grid = np.arange(command.times_s[0], command.times_s[-1], dt_s)
    rows = command.values[np.searchsorted(command.times_s, grid, side="right") - 1]
    lines = []
    for axis, name in enumerate(AXES):
        column = command.values[:, axis]
        if twist:
            speed = float(np.abs(column).max())
            change = _peak(command.times_s, column, dt_s, 1)
        else:
            speed, change = (_peak(command.times_s, column, dt_s, order) for order in (1, 2))
        low, high = float(np.nanmin(seen[:, axis])), float(np.nanmax(seen[:, axis]))
        lines.append(_line(f"{output}.{name}", low, high, speed, change))
    if twist:
        turning = rows[:, 3:]
    else:
        rotations, _ = to_rotation(rows[:, 3:], "rotation_6d")
        turning = (
            (rotations[:-1].inv() * rotations[1:]).as_rotvec() / dt_s if len(rows) > 1 else np.zeros((1, 3))
        )
    speed = _norm(command.values[:, 3:] if twist else turning)
    change = _norm(np.diff(turning, axis=0)) / dt_s
    limit = f"{{velocity: {_up(speed):.4f}, acceleration: {_up(change):.4f}}}"
    return lines, f"{limit}  # {CHECK}: rad/s and rad/s^2, the peaks seen"


def _norm(vectors: Floats) -> float:
    return float(np.linalg.norm(vectors, axis=1).max(initial=0.0))


def _up(value: float) -> float:
    return float(np.ceil(max(value, SLOWEST) * 1e4) / 1e4)


def _line(name: str, low: float, high: float, speed: float, change: float) -> str:
    lower, upper = widen_range(low, high)
    return (
        f"    - {{name: {quote(name)}, lower: {lower:.4f}, upper: {upper:.4f}, "
        f"velocity: {_up(speed):.4f}, acceleration: {_up(change):.4f}}}  # {CHECK}"
    )


def _peak(times_s: Floats, values: Floats, dt_s: float, order: int, *, held: bool = False) -> float:
    """Largest difference quotient of that order over steps of `dt_s`, wherever the ticks fall.

    The course is linear between commands, or holds the last one, so a difference peaks where one of its points is a
    command's time.
    """
    starts = np.concatenate([times_s - back * dt_s for back in range(order + 1)])
    starts = starts[(starts >= times_s[0]) & (starts + order * dt_s <= times_s[-1])]
    ticks = [starts + step * dt_s for step in range(order + 1)]
    if held:
        # Rounding must not put a tick before the command at its very time.
        courses = np.stack([values[np.searchsorted(times_s, at + 1e-9, side="right") - 1] for at in ticks])
    else:
        courses = np.stack([np.interp(at, times_s, values) for at in ticks])
    return float(np.abs(np.diff(courses, order, axis=0)).max(initial=0.0)) / dt_s**order
