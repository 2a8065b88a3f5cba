# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A task of gymnasium-robotics' Fetch as an environment.

The package moves the gripper by steps of at most 5 cm per axis from wherever it is, 25 times a second. Here the
position between its fingertips is commanded, and each step goes as far towards it as the package permits.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hpt_ros.extras import require_extra
from hpt_ros.sim.environment import Outcome
from hpt_ros.sim.suites.base import View, mount_camera
from hpt_ros.sim.suites.fetch.expert import FetchExpert
from hpt_ros.sim.suites.fetch.tasks import INSTRUCTIONS
from hpt_ros.sim.suites.hand import HandEnvironment

Floats = npt.NDArray[np.float64]

STEP_S: Final = 0.04  # 20 steps of 2 ms
REACH_M: Final = 0.05  # from where the gripper is to where it is pulled, for an action of 1
TIME_LIMIT_S: Final = 4.0  # twice the package's 50 steps: a policy's controller starts gently
SETTLED: Final = 13  # steps in a row at the goal, half a second, that are a success; passing by is none
MODELS: Final = {  # task to the package's module and class of it
    "reach": ("reach", "MujocoFetchReachEnv"),
    "push": ("push", "MujocoFetchPushEnv"),
    "pick-place": ("pick_and_place", "MujocoFetchPickAndPlaceEnv"),
}
GRIP: Final = "robot0:grip"
MARKER: Final = "robot0:mocap"
FINGERS: Final = ("robot0:l_gripper_finger_joint", "robot0:r_gripper_finger_joint")
WRIST: Final = "gripper_camera_rgb"  # the package's looks into the table's top
VIEWS: Final = {"front": View("external_camera_0", fovy_deg=32.0), "wrist": View(WRIST, fovy_deg=75.0)}


class FetchEnvironment(HandEnvironment):
    """See the module, and `ModelEnvironment`."""

    suite, robot, package = "fetch", "fetch", "gymnasium-robotics"
    revision = 2  # the commanded position is not drawn any more
    instructions, views, people = INSTRUCTIONS, VIEWS, "front"
    step_s, time_limit_s = STEP_S, TIME_LIMIT_S

    def _load(self, task: str, what: str) -> None:
        self._fetch = _fetch(task, what)
        # The package draws a cross of 1 m through the commanded position, which no camera of a robot shows: a policy
        # that sees it learns to read what was commanded in place of where to go.
        drawn = self.model.geom_bodyid == self.model.body(MARKER).id
        self.model.geom_rgba[drawn, 3] = 0.0
        # Behind the fingers, looking at their tips; x of the gripper goes down, z ahead.
        mount_camera(
            self.model, WRIST, "robot0:gripper_link",
            at=(-0.08, 0.0, -0.12), towards=(0.06, 0.0, 0.03), up=(0.0, 0.0, 1.0),
        )  # fmt: skip

    @property
    def model(self) -> Any:
        """The MjModel."""
        return self._fetch.model

    @property
    def data(self) -> Any:
        """The MjData."""
        return self._fetch.data

    @property
    def grip_m(self) -> Floats:
        """Where the position between the fingertips is (3,), m."""
        return np.array(self.data.site(GRIP).xpos)

    @property
    def block_m(self) -> Floats:
        """Where the block is (3,), m; the gripper itself in a task without one."""
        return np.array(self._observation["achieved_goal"])

    @property
    def goal_m(self) -> Floats:
        """Where it is to be (3,), m."""
        return np.array(self._fetch.goal)

    def outcome(self) -> Outcome:
        """Return whether what is to be at the goal has been there for a while."""
        far_m = float(np.linalg.norm(self.block_m - self.goal_m))
        if self._settled >= SETTLED:
            return Outcome(True, 1.0, f"it is {1000 * far_m:.0f} mm from the goal")
        progress = 1.0 - far_m / max(self._start_m, far_m, 1e-6)
        return Outcome(False, min(progress, 0.99), f"it is {1000 * far_m:.0f} mm from the goal")

    def expert(self) -> FetchExpert:
        """Return a scripted expert of ours."""
        return FetchExpert(self.task, self)

    def _begin(self, seed: int) -> None:
        self._observation, _ = self._fetch.reset(seed=seed)
        self._fetch._render_callback()  # puts the marker at the goal
        self._start_m = float(np.linalg.norm(self.block_m - self.goal_m))
        self._settled = 0
        self._stay(self.grip_m, self._finger_m())

    def _step(self) -> None:
        pull = (self._goal - self.grip_m) / (self._steps_left() * REACH_M)
        action = np.append(pull, self._opening - self._finger_m())
        self._observation, _, _, _, info = self._fetch.step(np.clip(action, -1.0, 1.0))
        self._settled = self._settled + 1 if info["is_success"] else 0

    def _read_sensors(self) -> Mapping[str, Any]:
        return self._hand(self.grip_m, self.data.body("robot0:gripper_link").xquat, self._finger_m())

    def _finger_m(self) -> float:
        return float(np.mean([self.data.joint(name).qpos[0] for name in FINGERS]))


def _fetch(task: str, what: str) -> Any:
    """Make the package's own environment of a task."""
    # Its import prints its publisher's notice about this version, which is of the Adroit hand.
    with contextlib.redirect_stderr(io.StringIO()):
        require_extra("gymnasium_robotics", extra="suites", what=what)
    utilities: Any = require_extra("gymnasium_robotics.utils.mujoco_utils", extra="suites", what=what)
    for name, function in _BY_NAME.items():
        setattr(utilities, name, function)
    module, class_ = MODELS[task]
    return getattr(import_module(f"gymnasium_robotics.envs.fetch.{module}"), class_)()


def _set_position(model: Any, data: Any, name: str, value: Any) -> None:
    data.joint(name).qpos[:] = value


def _set_velocity(model: Any, data: Any, name: str, value: Any) -> None:
    data.joint(name).qvel[:] = value


# gymnasium-robotics 1.4.2 asks whether a joint's type is "in" a tuple of MuJoCo's enumeration, which is false for the
# numbers of MuJoCo 4.
_BY_NAME: Final = {
    "get_joint_qpos": lambda model, data, name: data.joint(name).qpos.copy(),
    "get_joint_qvel": lambda model, data, name: data.joint(name).qvel.copy(),
    "set_joint_qpos": _set_position,
    "set_joint_qvel": _set_velocity,
}
