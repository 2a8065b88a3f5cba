# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What an arm is: joints in a chain with their limits, and forward and inverse kinematics of a tool on its flange.

Pure numpy, no MuJoCo: scripted teleoperators and Cartesian controllers need nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hpt_ros.errors import Code, HptError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """A serial chain of N revolute joints; joint vectors follow `joint_names`.

    Attributes:
        name: by which tasks name it.
        joint_names: of the N joints, from the base on.
        lower_rad, upper_rad: position limits (N,).
        velocity_rad_s: velocity limits (N,).
        acceleration_rad_s2: acceleration limits (N,).
        links: N + 1 constant transforms (4, 4), m: the one before each joint's rotation about its z axis, then the
            flange.
    """

    name: str
    joint_names: tuple[str, ...]
    lower_rad: Array
    upper_rad: Array
    velocity_rad_s: Array
    acceleration_rad_s2: Array
    links: tuple[Array, ...]

    @property
    def dof(self) -> int:
        """Number of joints N."""
        return len(self.joint_names)

    def frames(self, joints_rad: Array) -> Array:
        """World poses of the joint frames and the flange, (..., N + 1, 4, 4), m, for joint angles (..., N), rad."""
        frames = np.empty((*joints_rad.shape[:-1], self.dof + 1, 4, 4))
        pose = np.broadcast_to(np.eye(4), (*joints_rad.shape[:-1], 4, 4))
        cos, sin = np.cos(joints_rad)[..., None], np.sin(joints_rad)[..., None]
        for index in range(self.dof):
            pose = pose @ self.links[index]
            c, s = cos[..., index, :], sin[..., index, :]
            x, y = pose[..., 0] * c + pose[..., 1] * s, pose[..., 1] * c - pose[..., 0] * s
            pose[..., 0], pose[..., 1] = x, y
            frames[..., index, :, :] = pose
        frames[..., self.dof, :, :] = pose @ self.links[self.dof]
        return frames


def link(a_m: float, d_m: float, alpha_rad: float, *, modified: bool) -> Array:
    """Return the constant part (4, 4) of a Denavit-Hartenberg row without its joint's rotation Rz(q).

    Args:
        a_m, d_m, alpha_rad: the row's numbers.
        modified: Craig's convention, Rx(alpha) Tx(a) Rz(q) Tz(d), whose constant part comes before the rotation;
            otherwise the classical one, Rz(q) Tz(d) Tx(a) Rx(alpha), whose constant part comes after it.
    """
    c, s = np.cos(alpha_rad), np.sin(alpha_rad)
    offset = (a_m, -s * d_m, c * d_m) if modified else (a_m, 0.0, d_m)
    return np.array(
        [[1, 0, 0, offset[0]], [0, c, -s, offset[1]], [0, s, c, offset[2]], [0, 0, 0, 1]], dtype=np.float64
    )


class ToolKinematics:
    """Forward and inverse kinematics of a tool that is fixed to the flange.

    Args:
        arm: that holds it.
        tool_in_flange: homogeneous transform (4, 4) of the tool frame in the flange frame, m.
    """

    def __init__(self, arm: Arm, tool_in_flange: Array) -> None:
        self.arm, self._tool = arm, tool_in_flange

    def pose(self, joints_rad: Array) -> Array:
        """World pose (..., 4, 4) of the tool for joint angles (..., N), rad."""
        return np.asarray(self.arm.frames(joints_rad)[..., self.arm.dof, :, :] @ self._tool)

    def pose_and_jacobian(self, joints_rad: Array) -> tuple[Array, Array]:
        """Pose (..., 4, 4) and geometric Jacobian (..., 6, N) of the tool: linear (m/rad) over angular (rad/rad)."""
        dof = self.arm.dof
        frames = self.arm.frames(joints_rad)
        pose = frames[..., dof, :, :] @ self._tool
        axes = frames[..., :dof, :3, 2]
        linear = np.cross(axes, pose[..., None, :3, 3] - frames[..., :dof, :3, 3])
        return pose, np.swapaxes(np.concatenate([linear, axes], axis=-1), -1, -2)

    def inverse(self, targets: Array, posture_rad: Array) -> Array:
        """Joint angles (M, N) that put the tool at the targets, on the elbow branch of `posture_rad`.

        Damped least squares, dq = J^T (J J^T + lambda^2 I)^-1 e (Nakamura and Hanafusa 1986), with the pull
        towards the posture projected onto the null space of J. Each target is solved by itself, from the posture, until
        the redundant motion has settled too: so the answer depends on the target alone, not on the way there.

        Args:
            targets: wanted poses (M, 4, 4) of the tool in the world, m.
            posture_rad: preferred angles (N,), from which the search begins.

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
        outside = ((q < self.arm.lower_rad) | (q > self.arm.upper_rad)).any(-1)
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
_POSTURE_GAIN: Final = 0.7  # ratio of the posture's pull that one iteration follows
_LARGEST_STEP_RAD: Final = 0.3


def _pose_error(wanted: Array, actual: Array) -> Array:
    """Position error (m) and rotation vector (rad), (..., 6), from `actual` to `wanted`.

    The rotation is exact to first order: half the sum of the cross products of the columns.
    """
    columns = np.cross(np.swapaxes(actual[..., :3, :3], -1, -2), np.swapaxes(wanted[..., :3, :3], -1, -2))
    return np.concatenate([wanted[..., :3, 3] - actual[..., :3, 3], 0.5 * columns.sum(-2)], axis=-1)
