# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One trajectory controller of two joints, its messages and its cycles."""

from __future__ import annotations

import numpy as np

from hpt_ros.sim.controllers import (
    JAZZY,
    TrajectoryController,
)
from hpt_ros.sim.jtc_config import JtcConfig
from hpt_ros.sim.trajectory import (
    JointState,
    JointTrajectory,
    TrajectoryPoint,
)

S, MS = 1_000_000_000, 1_000_000


NOW = 1000 * S


JOINTS = ("a", "b")


FROM_DESIRED = JtcConfig(
    JOINTS, interpolate_from_desired_state=True, allow_nonzero_velocity_at_trajectory_end=True
)


def point(ms: float, position: list[float], velocity: list[float] | None = None) -> TrajectoryPoint:
    speed = None if velocity is None else np.array(velocity)
    return TrajectoryPoint(round(ms * MS), JointState(np.array(position), speed))


def trajectory(
    *points: TrajectoryPoint, stamp_ns: int = NOW, names: tuple[str, ...] = JOINTS
) -> JointTrajectory:
    return JointTrajectory(stamp_ns, names, points)


def active(config: JtcConfig = FROM_DESIRED, release=JAZZY, position=(0.0, 0.0)) -> TrajectoryController:
    controller = TrajectoryController(config, release)
    controller.activate(np.array(position), np.zeros(2))
    return controller


def run(
    controller: TrajectoryController, until_ms: float, measured=None, start_ms: float = 0.0
) -> np.ndarray:
    """Commands of all cycles in (start, until], the arm following at once or measured at one pose."""
    told, pose = [], np.zeros(2) if measured is None else np.array(measured)
    for now_ns in range(NOW + round(start_ms * MS), NOW + round(until_ms * MS) + 1, controller.period_ns):
        command = controller.update(now_ns, pose, np.zeros(2))
        if measured is None:
            pose = command
        told.append(command)
    return np.array(told)
