# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The Franka Panda's published kinematics and limits, and inverse kinematics for a tool on its flange.

Source of every number in this file: "Robot and interface specifications" in Franka's FCI documentation
(modified Denavit-Hartenberg parameters; joint position, velocity and acceleration limits). Pure numpy, no MuJoCo:
the scripted teleoperator needs nothing else, and the tests compare the scene with it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from hpt_ros.errors import Code, HptError

Array = npt.NDArray[np.float64]

JOINT_NAMES: Final = tuple(f"panda_joint{i}" for i in range(1, 8))
LOWER_RAD: Final[Array] = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
UPPER_RAD: Final[Array] = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
VELOCITY_RAD_S: Final[Array] = np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61])
ACCELERATION_RAD_S2: Final[Array] = np.array([15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0])

# Modified (Craig) Denavit-Hartenberg rows: a_m, d_m, alpha_rad; the last one is the fixed flange.
DH_ROWS: Final = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
    (0.0, 0.107, 0.0),
)


def _fixed(a_m: float, d_m: float, alpha_rad: float) -> Array:
    """The constant part Rx(alpha) Tx(a) Tz(d) of a row; the joint's Rz(q) comes after it (it commutes with Tz)."""
    c, s = np.cos(alpha_rad), np.sin(alpha_rad)
    return np.array(
        [[1, 0, 0, a_m], [0, c, -s, -s * d_m], [0, s, c, c * d_m], [0, 0, 0, 1]], dtype=np.float64
    )


_FIXED: Final = tuple(_fixed(*row) for row in DH_ROWS)


def joint_frames(joints_rad: Array) -> Array:
    """World poses of the seven joint frames and the flange, (..., 8, 4, 4), m, for joint angles (..., 7), rad."""
    frames = np.empty((*joints_rad.shape[:-1], 8, 4, 4))
    pose = np.broadcast_to(np.eye(4), (*joints_rad.shape[:-1], 4, 4))
    cos, sin = np.cos(joints_rad)[..., None], np.sin(joints_rad)[..., None]
    for index in range(7):
        pose = pose @ _FIXED[index]
        c, s = cos[..., index, :], sin[..., index, :]
        x, y = pose[..., 0] * c + pose[..., 1] * s, pose[..., 1] * c - pose[..., 0] * s
        pose[..., 0], pose[..., 1] = x, y
        frames[..., index, :, :] = pose
    frames[..., 7, :, :] = pose @ _FIXED[7]
    return frames


class ToolKinematics:
    """Forward and inverse kinematics of a tool that is fixed to the flange.

    Args:
        tool_in_flange: homogeneous transform (4, 4) of the tool frame in the flange frame, m.
    """

    def __init__(self, tool_in_flange: Array) -> None:
        self._tool = tool_in_flange

    def pose(self, joints_rad: Array) -> Array:
        """World pose (..., 4, 4) of the tool for joint angles (..., 7), rad."""
        return np.asarray(joint_frames(joints_rad)[..., 7, :, :] @ self._tool)

    def pose_and_jacobian(self, joints_rad: Array) -> tuple[Array, Array]:
        """Pose (..., 4, 4) and geometric Jacobian (..., 6, 7) of the tool: linear (m/rad) over angular (rad/rad)."""
        frames = joint_frames(joints_rad)
        pose = frames[..., 7, :, :] @ self._tool
        axes = frames[..., :7, :3, 2]
        linear = np.cross(axes, pose[..., None, :3, 3] - frames[..., :7, :3, 3])
        return pose, np.swapaxes(np.concatenate([linear, axes], axis=-1), -1, -2)

    def inverse(self, targets: Array, posture_rad: Array) -> Array:
        """Joint angles (N, 7) that put the tool at the targets, on the elbow branch of `posture_rad`.

        Damped least squares, dq = J^T (J J^T + lambda^2 I)^-1 e (Nakamura and Hanafusa 1986), with the pull
        towards the posture projected onto the null space of J. Each target is solved by itself, from the posture, until
        the redundant motion has settled too: so the answer depends on the target alone, not on the way there.

        Args:
            targets: wanted poses (N, 4, 4) of the tool in the world, m.
            posture_rad: preferred angles (7,).

        Raises:
            HptError: a target cannot be reached within the joint limits.
        """
        q = np.tile(posture_rad, (len(targets), 1))
        for _ in range(_ITERATIONS):
            pose, jacobian = self.pose_and_jacobian(q)
            error = _pose_error(targets, pose)
            transposed = np.swapaxes(jacobian, -1, -2)
            pseudo = transposed @ np.linalg.inv(jacobian @ transposed + _DAMPING**2 * np.eye(6))
            pull = (posture_rad - q)[..., None]
            null = pull - pseudo @ (jacobian @ pull)
            if np.abs(error).max() < _TOLERANCE and np.abs(null).max() < _TOLERANCE:
                break
            step = (pseudo @ error[..., None] + _POSTURE_GAIN * null)[..., 0]
            q = q + step * np.minimum(
                1.0, _LARGEST_STEP_RAD / np.maximum(np.abs(step).max(-1, keepdims=True), 1e-9)
            )
        missed = np.abs(_pose_error(targets, self.pose(q))).max(-1) > 10 * _TOLERANCE
        outside = ((q < LOWER_RAD) | (q > UPPER_RAD)).any(-1)
        if (missed | outside).any():
            place = ", ".join(f"{value:.3f}" for value in targets[int((missed | outside).argmax()), :3, 3])
            raise HptError(
                Code.UNSUPPORTED, "the arm",
                problem=f"cannot put its tool at ({place}) m in the wanted direction within its joint limits",
                remedy="choose a place nearer to the middle of its reach",
            )  # fmt: skip
        return q


_ITERATIONS: Final = 80
_TOLERANCE: Final = 1e-5  # m and rad
_DAMPING: Final = 1e-3
_POSTURE_GAIN: Final = 0.7  # share of the posture's pull that one iteration follows
_LARGEST_STEP_RAD: Final = 0.3


def _pose_error(wanted: Array, actual: Array) -> Array:
    """Position error (m) and rotation vector (rad), (..., 6), from `actual` to `wanted`.

    The rotation is exact to first order: half the sum of the cross products of the columns.
    """
    columns = np.cross(np.swapaxes(actual[..., :3, :3], -1, -2), np.swapaxes(wanted[..., :3, :3], -1, -2))
    return np.concatenate([wanted[..., :3, 3] - actual[..., :3, 3], 0.5 * columns.sum(-2)], axis=-1)
