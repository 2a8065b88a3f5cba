# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Orientations in an action vector: quaternion, axis-angle or 6-D, converted by scipy.

Quaternions are x, y, z, w as in ROS. Axis-angle is the rotation vector, axis times angle in rad. 6-D is the first two
columns of the rotation matrix (Zhou et al., arXiv 1812.07035): the only one of the three without a jump anywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REPRESENTATIONS = ("rotation_6d", "quaternion", "axis_angle")
_ELEMENTS = {
    "rotation_6d": ("r11", "r21", "r31", "r12", "r22", "r32"),
    "quaternion": ("qx", "qy", "qz", "qw"),
    "axis_angle": ("rx", "ry", "rz"),
}
_NONE = {
    "rotation_6d": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "quaternion": (0.0, 0.0, 0.0, 1.0),
    "axis_angle": (0.0, 0.0, 0.0),
}
_SMALLEST = 1e-6  # a column or quaternion shorter than this is no direction


def elements(representation: str) -> tuple[str, ...]:
    """Names of a representation's numbers."""
    return _ELEMENTS[representation]


def to_rotation(values: Floats, representation: str) -> tuple[Any, NDArray[np.bool_]]:
    """Orientations of numbers that need not be normalised.

    Args:
        values: (N, n).
        representation: one of `REPRESENTATIONS`.

    Returns:
        A scipy Rotation of N; and (N,) true where the numbers are an orientation: finite, no quaternion of length zero,
        no two columns that span no plane. Where they are none the Rotation is the identity.
    """
    from scipy.spatial.transform import Rotation  # takes a while to import, and joints do without

    good: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(axis=1))
    values = np.where(good[:, None], values, _NONE[representation])
    if representation == "axis_angle":
        return Rotation.from_rotvec(values), good
    if representation == "quaternion":
        good &= np.linalg.norm(values, axis=1) > _SMALLEST
        return Rotation.from_quat(np.where(good[:, None], values, _NONE[representation])), good
    first, second = values[:, :3], values[:, 3:]
    length = np.linalg.norm(first, axis=1)
    across = (
        second
        - (first * second).sum(axis=1, keepdims=True) * first / np.maximum(length, _SMALLEST)[:, None] ** 2
    )
    width = np.linalg.norm(across, axis=1)
    good &= (length > _SMALLEST) & (width > _SMALLEST)
    x_axis = np.where(good[:, None], first / np.maximum(length, _SMALLEST)[:, None], (1.0, 0.0, 0.0))
    y_axis = np.where(good[:, None], across / np.maximum(width, _SMALLEST)[:, None], (0.0, 1.0, 0.0))
    return Rotation.from_matrix(np.stack([x_axis, y_axis, np.cross(x_axis, y_axis)], axis=-1)), good


def from_rotation(rotation: Any, representation: str) -> Floats:
    """Numbers (N, n) of a scipy Rotation of N; a quaternion's largest element is positive."""
    if representation == "axis_angle":
        vector: Floats = rotation.as_rotvec()
        return vector
    if representation == "quaternion":
        quaternion: Floats = rotation.as_quat()
        largest = np.take_along_axis(quaternion, np.abs(quaternion).argmax(axis=1)[:, None], axis=1)
        return np.where(largest < 0.0, -quaternion, quaternion)
    matrix = rotation.as_matrix()
    return np.concatenate([matrix[:, :, 0], matrix[:, :, 1]], axis=1)


def convert_rotations(values: Floats, before: str, after: str) -> Floats:
    """The same orientations in another representation, normalised, (N, n'); NaN where they are none."""
    rotation, good = to_rotation(values, before)
    return np.where(good[:, None], from_rotation(rotation, after), np.nan)


def integrate(twists: Floats, start: Floats, dt_s: float) -> Floats:
    """Poses (H + 1, 7) that twists (H, 6), each for `dt_s`, lead to from a pose; NaN from one that is not finite on.

    Positions in m and quaternions; velocities in m/s and angular velocities in rad/s in the fixed frame.
    """
    from scipy.spatial.transform import Rotation

    good = np.logical_and.accumulate(np.isfinite(twists).all(axis=1))
    steps = np.where(good[:, None], twists, 0.0) * dt_s
    poses = np.empty((len(twists) + 1, 7))
    poses[0] = start
    turn = Rotation.from_quat(start[3:])
    turns = Rotation.from_rotvec(steps[:, 3:])
    for index, step in enumerate(steps):
        turn = turns[index] * turn
        poses[index + 1, :3] = poses[index, :3] + step[:3]
        poses[index + 1, 3:] = turn.as_quat()
    poses[1:][~good] = np.nan
    return poses


def angular_velocity(quaternion: Floats, rate: Floats) -> Floats:
    """Angular velocity (3,) in rad/s in the fixed frame, of a quaternion x, y, z, w and its rate of change: 2 q' q^-1.

    The quaternion need not be of length 1: what its length does is the product's real part.
    """
    vector, scalar = quaternion[:3], quaternion[3]
    return np.asarray(
        2.0 * (scalar * rate[:3] - rate[3] * vector + np.cross(vector, rate[:3])) / (quaternion @ quaternion)
    )
