# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A task of LIBERO-Object as an environment: the policy sees two cameras, the hand, the fingers and the instruction.

The benchmark's action is a step of the hand from wherever it is, of at most 5 cm per axis and half a radian, 20 times a
second, and whether the gripper opens or closes. Here the hand's pose is commanded; a set point goes straight to where
it is to be at the command's stamp, and each step goes as far towards that as the benchmark permits.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hpt_ros.embodiment.messages import header_stamp_ns, numbers
from hpt_ros.embodiment.rotations import from_rotation, to_rotation
from hpt_ros.errors import Code, HptError
from hpt_ros.sim.environment import Outcome
from hpt_ros.sim.messages import Message, stamp_message
from hpt_ros.sim.physics import Image
from hpt_ros.sim.suites.base import SuiteEnvironment, finite_array
from hpt_ros.sim.suites.libero.client import LiberoProcess
from hpt_ros.sim.suites.libero.expert import LiberoExpert
from hpt_ros.sim.suites.libero.tasks import INSTRUCTIONS, OBJECTS

Floats = npt.NDArray[np.float64]

STEP_S: Final = 0.05  # 25 steps of 2 ms
TIME_LIMIT_S: Final = 20.0  # twice what the expert takes
REACH_M, REACH_RAD = 0.05, 0.5  # of the hand from where it is, for an action of 1
CAMERAS: Final = {"front": "agentview", "wrist": "robot0_eye_in_hand"}
HAND: Final = "hand_pose/target"
GRIPPER: Final = "gripper/commands"
OPEN: Final = 0.5  # commanded openings above it open the gripper, others close it


class LiberoEnvironment(SuiteEnvironment):
    """See the module, and `SuiteEnvironment`.

    Args:
        process: that has the task; None: one of its own.

    Raises:
        HptError: LIBERO is not installed, or its process ends, hangs or refuses the task.
    """

    suite, robot = "libero", "libero_panda"
    instructions, step_s, time_limit_s = INSTRUCTIONS, STEP_S, TIME_LIMIT_S

    def __init__(self, *, process: LiberoProcess | None = None, **settings: Any) -> None:
        """Start the process, and make the task's scene."""
        self._given = process
        super().__init__(**settings)

    def _make(self, task: str, what: str) -> None:
        del what  # the process says it
        self._process = LiberoProcess() if self._given is None else self._given
        self._end = weakref.finalize(self, self._process.close)
        try:
            answer, _ = self._process.ask("make", task=OBJECTS.index(task))
        except HptError:
            self.close()
            raise
        self.version = "1/" + " ".join(f"{name} {value}" for name, value in answer["versions"].items())
        sizes = {
            (stream.image.height, stream.image.width)
            for stream in self.embodiment.image_streams
            if stream.image
        }
        ((self._height, self._width),) = sizes

    @property
    def hand_m(self) -> Floats:
        """Where the position between the fingertips is (3,), m."""
        return self._state["hand"]

    @property
    def hand_axes(self) -> Floats:
        """The hand's axes (3, 3), columns: the fingers move along the second, the third points out of the hand."""
        return self._state["rotation"]

    @property
    def target_m(self) -> Floats:
        """The lowest and the highest corner (2, 3) of the object's box, m."""
        return self._state["target"]

    @property
    def basket_m(self) -> Floats:
        """The middle of the basket's inside (3,), m."""
        return self._state["basket"]

    def command(self, topic: str, message: Any) -> None:
        """Take a pose to be reached at the message's stamp, or an opening of the gripper, 0 to 1."""
        if topic == GRIPPER:
            self._opening = float(finite_array(message.data, 1, "the gripper")[0])
            return
        if topic != HAND:
            raise self._refuse(topic)
        position_m = finite_array(numbers(message.pose.position, "xyz"), 3, "the hand")
        rotation, good = to_rotation(numbers(message.pose.orientation, "xyzw")[None], "quaternion")
        if not good[0]:
            raise HptError(
                Code.INVALID, "a command of the hand", problem="has no orientation", expected="a quaternion",
                remedy="correct its sender",
            )  # fmt: skip
        self._goal, self._turned, self._goal_ns = (
            position_m,
            rotation,
            header_stamp_ns(message) or self.now_ns,
        )

    def outcome(self) -> Outcome:
        """Return whether the object is in the basket."""
        target, basket = self.target_m.mean(axis=0), self.basket_m
        if self._state["success"][0]:
            return Outcome(True, 1.0, "it is in the basket")
        far_m = float(np.linalg.norm(target - basket))
        progress = 1.0 - far_m / max(self._start_m, far_m, 1e-6)
        return Outcome(False, min(progress, 0.99), f"it is {100 * far_m:.0f} cm from the basket")

    def expert(self) -> LiberoExpert:
        """Return a scripted expert of ours."""
        return LiberoExpert(self)

    def render(self, height: int, width: int) -> Image:
        """Return what the camera for people sees."""
        return self._process.ask("video", camera=CAMERAS["front"], height=height, width=width)[1]["image"]

    def close(self) -> None:
        """End the process."""
        self._end()

    def _begin(self, seed: int) -> None:
        _, self._state = self._process.ask("reset", seed=seed, cameras=[], height=0, width=0)
        self._start_m = float(np.linalg.norm(self.target_m.mean(axis=0) - self.basket_m))
        self._place, self._goal, self._goal_ns, self._opening = self.hand_m, self.hand_m, self.now_ns, 1.0
        self._turned = self._rotation()

    def _step(self) -> None:
        left = max((self._goal_ns - self.now_ns) // self._step_ns + 1, 1)
        self._place = self._place + (self._goal - self._place) / left
        turn = from_rotation(self._turned * self._rotation().inv(), "axis_angle")[0] / left
        action = np.concatenate(
            [(self._place - self.hand_m) / REACH_M, turn / REACH_RAD, [-1.0 if self._opening > OPEN else 1.0]]
        )
        cameras = [CAMERAS[stream.name] for stream in self._due()]
        _, self._state = self._process.ask(
            "step",
            {"action": np.clip(action, -1.0, 1.0)},
            cameras=cameras,
            height=self._height,
            width=self._width,
        )

    def _read_sensors(self) -> Mapping[str, Any]:
        x, y, z = self.hand_m.tolist()
        qx, qy, qz, qw = from_rotation(self._rotation(), "quaternion")[0].tolist()
        pose = Message(position=Message(x=x, y=y, z=z), orientation=Message(x=qx, y=qy, z=qz, w=qw))
        fingers = self._state["fingers"]
        return {
            "hand_pose": stamp_message(self.now_ns, "world", pose=pose),
            "joint_states": stamp_message(
                self.now_ns, name=["gripper"], position=fingers, velocity=[], effort=[]
            ),
        }

    def _image(self, stream: Any) -> Image:
        return self._state[f"image:{CAMERAS[stream.name]}"]

    def _rotation(self) -> Any:
        """Return the hand's orientation, a scipy Rotation of one."""
        return to_rotation(self.hand_axes.T[:2].reshape(1, 6), "rotation_6d")[0]
