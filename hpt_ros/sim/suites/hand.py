# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Suites whose robot is commanded where its hand is to be and how far its gripper is to open."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hpt_ros.embodiment.messages import header_stamp_ns, numbers
from hpt_ros.sim.messages import Message, stamp_message
from hpt_ros.sim.suites.base import ModelEnvironment, finite_array

Floats = npt.NDArray[np.float64]

FACING_DOWN: Final = np.array(
    [0.0, math.pi / 2.0, 0.0]
)  # the hand's orientation in these suites, axis-angle, rad
HAND: Final = "hand_pose/target"
GRIPPER: Final = "gripper/commands"


class HandEnvironment(ModelEnvironment):
    """Takes a geometry_msgs/PoseStamped of the hand and a std_msgs/Float64MultiArray of the gripper."""

    def command(self, topic: str, message: Any) -> None:
        """Take a position to be reached at the message's stamp, or a gripper's opening; the orientation is fixed."""
        if topic == HAND:
            self._goal = finite_array(numbers(message.pose.position, "xyz"), 3, "the hand")
            self._goal_ns = header_stamp_ns(message) or self.now_ns
        elif topic == GRIPPER:
            self._opening = float(finite_array(message.data, 1, "the gripper")[0])
        else:
            raise self._refuse(topic)

    def _stay(self, position: Floats, opening: float) -> None:
        """Forget all commands, and stay at a location (3,)."""
        self._goal, self._goal_ns, self._opening = np.array(position), self.now_ns, opening

    def _steps_left(self) -> int:
        """Return how many steps, the present one included, there are until the commanded time; at least 1."""
        return max((self._goal_ns - self.now_ns) // self._step_ns + 1, 1)

    def _hand(self, position_m: Floats, quaternion: Floats, opening: float) -> dict[str, Any]:
        """Return the messages of a pose, of which MuJoCo's quaternion begins with w, and of the gripper."""
        (x, y, z), (qw, qx, qy, qz) = position_m.tolist(), quaternion.tolist()
        pose = Message(position=Message(x=x, y=y, z=z), orientation=Message(x=qx, y=qy, z=qz, w=qw))
        return {
            "hand_pose": stamp_message(self.now_ns, "world", pose=pose),
            "joint_states": stamp_message(
                self.now_ns, name=["gripper"], position=[opening], velocity=[], effort=[]
            ),
        }
