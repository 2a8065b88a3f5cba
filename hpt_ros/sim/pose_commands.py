# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A Cartesian controller: it takes poses of the tool, and solves the inverse kinematics as a robot's own does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hpt_ros.errors import Code, HptError
from hpt_ros.sim.arm import ToolKinematics
from hpt_ros.sim.messages import NS_PER_S, Message, stamp_message

Array = npt.NDArray[np.float64]

FRAME: Final = "base"
POSE_TOPIC: Final = "tool_pose"
LARGEST_JUMP_RAD: Final = (
    0.6  # of a joint from one command to the next: beyond, it is another branch or a mistake
)


class PoseCommands:
    """geometry_msgs/PoseStamped in the frame of the arm's base; see `hpt_ros.sim.robots.ArmController`.

    The joints go straight to where the pose puts them, to be there at its stamp, at most at their velocity limits. A
    pose whose stamp has passed, however long ago, or is zero, is gone to at once: pose controllers follow what came
    last and judge no stamp, unlike joint_trajectory_controller, which drops the points that are over.
    """

    def __init__(self, kinematics: ToolKinematics, hold_rad: Array, rate_hz: float) -> None:
        """Hold these joint angles (N,); `rate_hz` is that of `target`'s calls."""
        self._kinematics = kinematics
        self._step_ns = round(NS_PER_S / rate_hz)
        self._largest_rad = kinematics.arm.velocity_rad_s / rate_hz
        self._accepted = self._refused = 0
        self.reset(hold_rad)

    def reset(self, hold_rad: Array) -> None:
        """Forget all commands and hold these joint angles (N,)."""
        self._target, self._goal, self._goal_ns = np.array(hold_rad), np.array(hold_rad), 0

    def command(self, now_ns: int, message: Any) -> None:
        """Take a pose.

        Raises:
            HptError: it is of another frame, not finite, out of reach or far from the one before, which goes on.
        """
        try:
            self._goal = self._solve(message)
        except HptError:
            self._refused += 1
            raise
        self._accepted += 1
        stamp = message.header.stamp
        self._goal_ns = stamp.sec * NS_PER_S + stamp.nanosec or now_ns

    def counts(self) -> Mapping[str, int]:
        """Return how many poses were accepted and refused."""
        return {"accepted": self._accepted, "refused": self._refused}

    def _solve(self, message: Any) -> Array:
        """Return the joint angles (N,) of a pose, or raise HptError."""
        frame = message.header.frame_id
        if frame not in ("", FRAME):
            raise HptError(Code.MISMATCH, "the frame of the tool's pose", frame, expected=repr(FRAME))
        at, turn = message.pose.position, message.pose.orientation
        numbers = np.array([at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w], dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise HptError(Code.NOT_FINITE, "the tool's pose", numbers, expected="finite numbers")
        length = float(np.linalg.norm(numbers[3:]))
        if length < 1e-6:
            raise HptError(
                Code.INVALID, "the orientation of the tool's pose", numbers[3:], expected="a quaternion"
            )
        pose = np.eye(4)
        pose[:3, :3] = _matrix(numbers[3:] / length)
        pose[:3, 3] = numbers[:3]
        goal = self._kinematics.inverse(pose[None], self._goal)[0]
        jump = np.abs(goal - self._goal)
        if jump.max() > LARGEST_JUMP_RAD:
            joint = self._kinematics.arm.joint_names[int(jump.argmax())]
            raise HptError(
                Code.OUT_OF_RANGE, "the tool's pose", float(jump.max()),
                problem=f"would move {joint} by {{value}} rad at once", expected=f"at most {LARGEST_JUMP_RAD:g} rad",
                remedy="send poses that lie nearer to one another",
            )  # fmt: skip
        return np.asarray(goal)

    def target(self, now_ns: int, position_rad: Array, velocity_rad_s: Array) -> Array:
        """Return the joint targets (N,) of the cycle at `now_ns`, rad; what is measured does not matter."""
        del position_rad, velocity_rad_s
        left = max((self._goal_ns - now_ns) / self._step_ns + 1.0, 1.0)
        step = (self._goal - self._target) / left
        self._target = self._target + np.clip(step, -self._largest_rad, self._largest_rad)
        return self._target

    def action(self, joints_rad: Array) -> Array:
        """Return the tool's pose (9,) of joint angles (N,): position in m, two columns of the rotation matrix."""
        pose = self._kinematics.pose(joints_rad)
        return np.concatenate([pose[:3, 3], pose[:3, 0], pose[:3, 1]])

    def measure(self, now_ns: int, joints_rad: Array) -> Mapping[str, Message]:
        """Return where the tool is."""
        pose = self._kinematics.pose(joints_rad)
        x, y, z = pose[:3, 3].tolist()
        qx, qy, qz, qw = _quaternion(pose[:3, :3]).tolist()
        where = Message(position=Message(x=x, y=y, z=z), orientation=Message(x=qx, y=qy, z=qz, w=qw))
        return {POSE_TOPIC: stamp_message(now_ns, FRAME, pose=where)}


def _matrix(quaternion: Array) -> Array:
    """Rotation matrix (3, 3) of a quaternion x, y, z, w of length 1."""
    x, y, z, w = quaternion
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + 2.0 * w * cross + 2.0 * cross @ cross)


def _quaternion(matrix: Array) -> Array:
    """Quaternion x, y, z, w of a rotation matrix: the eigenvector of Bar-Itzhack's symmetric matrix (2000)."""
    m = matrix
    k = np.array(
        [
            [m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
            [m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], m.trace()],
        ]
    )
    return np.asarray(np.linalg.eigh(k)[1][:, 3])
