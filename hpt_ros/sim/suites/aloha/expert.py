# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A planned expert of the transfer: way points of both grippers, and joint angles for them by damped least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hpt_ros.mujoco_engine import mujoco
from hpt_ros.sim.movement import minimum_jerk

Floats = npt.NDArray[np.float64]

SAMPLE_S: Final = 0.02
DAMPING: Final = 0.02  # m and rad, of the inverse
ITERATIONS: Final = 30
TIP_M: Final = 0.135  # from a gripper's link to between its fingertips
MEET_M: Final = np.array([0.0, 0.5, 0.25])  # where the cube is handed over
OPEN, CLOSED = 1.0, 0.0
DOWN_RAD: Final = np.deg2rad(60.0)  # pitch of the right gripper, which it keeps, so that the cube stays level


@dataclass(frozen=True, slots=True)
class WayPoint:
    """Where a gripper is to be.

    Attributes:
        time_s: since the beginning.
        tip_m: the position between its fingertips (3,), in the world.
        opening: of the gripper, 0 to 1.
    """

    time_s: float
    tip_m: Floats
    opening: float


def rotation(pitch_rad: float, towards: float, roll_rad: float = 0.0) -> Floats:
    """Return the axes (3, 3) of a gripper that points along x (1) or against it (-1), pitched down, then rolled."""
    c, s = np.cos(pitch_rad), np.sin(pitch_rad)
    ahead = np.array([towards * c, 0.0, -s])
    left = np.array([0.0, towards, 0.0])
    up = np.cross(ahead, left)
    c, s = np.cos(roll_rad), np.sin(roll_rad)
    return np.stack([ahead, c * left + s * up, c * up - s * left], axis=1)


class Arm:
    """Inverse kinematics of one arm, on data of its own."""

    def __init__(self, model: Any, side: str) -> None:
        """Look its joints up."""
        self.model, self.data = model, mujoco.MjData(model)
        joints = [model.joint(f"vx300s_{side}/{name}") for name in ARM_JOINTS]
        self.qpos = np.array([joint.qposadr[0] for joint in joints])
        self.dofs = np.array([joint.dofadr[0] for joint in joints])
        self.low, self.high = np.array([joint.range for joint in joints]).T
        self.body = model.body(f"vx300s_{side}/gripper_link").id

    def inverse(self, tip_m: Floats, axes: Floats, start_rad: Floats) -> Floats:
        """Return the joint angles (6,) nearest to a start for a tip (3,) and axes (3, 3)."""
        data, angles = self.data, start_rad.copy()
        position, turning = np.zeros((3, self.model.nv)), np.zeros((3, self.model.nv))
        for _ in range(ITERATIONS):
            data.qpos[self.qpos] = angles
            mujoco.mj_kinematics(self.model, data)
            mujoco.mj_comPos(self.model, data)
            here = data.xmat[self.body].reshape(3, 3)
            tip = data.xpos[self.body] + TIP_M * here[:, 0]
            mujoco.mj_jac(self.model, data, position, turning, tip, self.body)
            turn = 0.5 * sum(np.cross(here[:, axis], axes[:, axis]) for axis in range(3))
            error = np.concatenate([tip_m - tip, 0.3 * turn])
            if np.linalg.norm(error) < 1e-4:
                break
            jacobian = np.concatenate([position[:, self.dofs], 0.3 * turning[:, self.dofs]])
            inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + DAMPING**2 * np.eye(6))
            angles = np.clip(angles + np.clip(inverse @ error, -0.2, 0.2), self.low, self.high)
        return angles


ARM_JOINTS: Final = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")


class TransferPlan:
    """Joint targets (14,) over time: left arm, left gripper, right arm, right gripper.

    Args:
        model: MjModel.
        start: (14,) where both stand.
        cube_m: where the cube is (3,).
    """

    def __init__(self, model: Any, start: Floats, cube_m: Floats) -> None:
        """Plan."""
        over, meet = np.array([0.0, 0.0, 0.12]), MEET_M
        aside = np.array([-0.16, 0.0, 0.0])
        right = [
            WayPoint(1.6, cube_m + over, OPEN),
            WayPoint(2.6, cube_m, OPEN),
            WayPoint(3.1, cube_m, CLOSED),
            WayPoint(4.4, meet, CLOSED),
            WayPoint(6.6, meet, CLOSED),
            WayPoint(7.0, meet, OPEN),
            WayPoint(8.0, meet - aside, OPEN),
        ]
        left = [
            WayPoint(3.6, meet + 1.2 * aside, OPEN),
            WayPoint(4.6, meet + aside, OPEN),
            WayPoint(5.6, meet - np.array([0.008, 0.0, 0.0]), OPEN),
            WayPoint(6.2, meet - np.array([0.008, 0.0, 0.0]), CLOSED),
            WayPoint(7.2, meet - np.array([0.008, 0.0, 0.0]), CLOSED),
            WayPoint(8.2, meet + 0.6 * aside, CLOSED),
        ]
        count = round(right[-1].time_s / SAMPLE_S) + 11
        self._targets = np.concatenate(
            [
                _path(Arm(model, "left"), start[:7], left, rotation(0.0, 1.0, np.pi / 2.0), count),
                _path(Arm(model, "right"), start[7:], right, rotation(DOWN_RAD, -1.0), count),
            ],
            axis=1,
        )

    def at(self, time_s: float) -> Floats:
        """Return the targets (14,) at a time since the beginning."""
        position = min(max(time_s / SAMPLE_S, 0.0), len(self._targets) - 1.001)
        low = int(position)
        targets: Floats = self._targets[low] + (position - low) * (
            self._targets[low + 1] - self._targets[low]
        )
        return targets


def _path(arm: Arm, start: Floats, points: Sequence[WayPoint], axes: Floats, count: int) -> Floats:
    """Return joints and opening (count, 7): in joint space to each way point in turn, along minimum-jerk profiles."""
    found, position, since_s = np.empty((count, 7)), start.copy(), 0.0
    times_s: Floats = SAMPLE_S * np.arange(count, dtype=np.float64)
    found[:] = start
    guess = start[:6]
    for point in points:
        guess = arm.inverse(point.tip_m, axes, guess)
        goal = np.append(guess, point.opening)
        profile = minimum_jerk((times_s[:, None] - since_s) / (point.time_s - since_s))
        found = np.where(times_s[:, None] >= since_s, position + profile * (goal - position), found)
        position, since_s = goal, point.time_s
    return found
