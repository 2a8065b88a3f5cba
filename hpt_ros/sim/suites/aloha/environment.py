# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The cube transfer of ALOHA as an environment: gym-aloha's model, scene and judgement, without its dm_control.

The numbers of the scene (where the arms begin, where the cube may lie, how a gripper is normalised, what is a success)
are gym-aloha 0.1.5's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hpt_ros.extras import require_extra
from hpt_ros.mujoco_engine import mujoco
from hpt_ros.sim.environment import Outcome, PlannedExpert
from hpt_ros.sim.messages import stamp_message
from hpt_ros.sim.suites.aloha.expert import ARM_JOINTS, TransferPlan
from hpt_ros.sim.suites.aloha.tasks import INSTRUCTIONS
from hpt_ros.sim.suites.base import ModelEnvironment, View, finite_array, mount_camera

Floats = npt.NDArray[np.float64]

SCENE: Final = "bimanual_viperx_transfer_cube.xml"
STEP_S: Final = 0.02  # 10 steps of 2 ms
TIME_LIMIT_S: Final = (
    12.0  # half as long again as the planned expert takes; gym-aloha's people took 8 s at most
)
SIDES: Final = ("left", "right")
COMMANDS: Final = {side: f"{side}_arm/commands" for side in SIDES}
NAMES: Final = {side: [f"{side}_{name}" for name in (*ARM_JOINTS, "gripper")] for side in SIDES}
START: Final = np.array([0.0, -0.96, 1.16, 0.0, -0.3, 0.0])  # of each arm, rad
FINGER_M: Final = (0.01844, 0.058)  # of a closed and an open gripper
START_FINGER_M: Final = 0.02239
CUBE_M: Final = ((0.0, 0.4), (0.2, 0.6))  # x and y of where it may lie
FALLING: Final = 200  # steps of 2 ms until the cube rests
HELD: Final = 10  # steps in a row that the left gripper alone holds the cube
VIEWS: Final = {
    "top": View("top", fovy_deg=45.0),
    "left_wrist": View("left_wrist", fovy_deg=60.0),
    "right_wrist": View("right_wrist", fovy_deg=60.0),
}


class AlohaEnvironment(ModelEnvironment):
    """See the module, and `ModelEnvironment`."""

    suite, robot, package = "aloha", "aloha", "gym-aloha"
    instructions, views, people = INSTRUCTIONS, VIEWS, "top"
    step_s, time_limit_s = STEP_S, TIME_LIMIT_S

    def _load(self, task: str, what: str) -> None:
        package = require_extra("gym_aloha", extra="suites", what=what)
        assert package.__file__ is not None
        self._model: Any = mujoco.MjModel.from_xml_path(str(Path(package.__file__).parent / "assets" / SCENE))
        self._data: Any = mujoco.MjData(self._model)
        geoms = {side: f"vx300s_{side}/10_{side}_gripper_finger" for side in SIDES}
        self._fingers = {side: self._model.geom(geom).id for side, geom in geoms.items()}
        self._cube, self._table = self._model.geom("red_box").id, self._model.geom("table").id
        # gym-aloha's sees the entire table, on which the cube is three pixels.
        mount_camera(
            self._model, "top", "world", at=(0.0, 0.12, 0.62), towards=(0.03, 0.52, 0.1), up=(0.0, 0.0, 1.0)
        )

    @property
    def model(self) -> Any:
        """The MjModel."""
        return self._model

    @property
    def data(self) -> Any:
        """The MjData."""
        return self._data

    @property
    def cube_m(self) -> Floats:
        """Where the cube's middle is (3,), m."""
        return np.array(self._data.body("box").xpos)

    @property
    def joints(self) -> Floats:
        """Joint angles, rad, and openings, of the left arm, then of the right one (14,)."""
        rows = self._data.qpos[:16].reshape(2, 8)
        low, high = FINGER_M
        opening = (rows[:, 6:7] - low) / (high - low)
        return np.concatenate([rows[:, :6], opening], axis=1).reshape(-1)

    def command(self, topic: str, message: Any) -> None:
        """Take a std_msgs/Float64MultiArray of one arm's joints, rad, and its gripper's opening (7,)."""
        for index, side in enumerate(SIDES):
            if topic == COMMANDS[side]:
                self._set(index, finite_array(message.data, 7, f"the {side} arm"))
                return
        raise self._refuse(topic)

    def outcome(self) -> Outcome:
        """Return whether the left gripper alone holds the cube, and how many of gym-aloha's four stages are done."""
        stage = self._stage
        detail = (
            "nothing is touched",
            "it is touched",
            "it is lifted",
            "both touch it",
            "it is in the left gripper",
        )
        if self._held >= HELD:
            return Outcome(True, 1.0, detail[4])
        return Outcome(False, min(stage / 4.0, 0.99), detail[stage])

    def expert(self) -> PlannedExpert:
        """Plan the transfer from where the cube lies."""
        return PlannedExpert(TransferPlan(self._model, self.joints, self.cube_m).at, self.now_ns)

    def _begin(self, seed: int) -> None:
        mujoco.mj_resetData(self._model, self._data)
        place = np.append(np.random.default_rng(seed).uniform(*CUBE_M), 0.05)
        arm = np.concatenate([START, [START_FINGER_M, -START_FINGER_M]])
        self._data.qpos[:] = np.concatenate([arm, arm, place, [1.0, 0.0, 0.0, 0.0]])
        self._data.ctrl[:] = np.concatenate([arm, arm])
        mujoco.mj_step(self._model, self._data, nstep=FALLING)
        self._held = self._stage = 0

    def _step(self) -> None:
        mujoco.mj_step(self._model, self._data, nstep=round(STEP_S / self._model.opt.timestep))
        touched = {
            contact.geom1 + contact.geom2 - self._cube
            for contact in self._data.contact
            if self._cube in (contact.geom1, contact.geom2)
        }
        left, right = (self._fingers[side] in touched for side in SIDES)
        lifted = self._table not in touched
        # gym-aloha's reward: 1 right touches, 2 and it is lifted, 3 left touches, 4 and it is lifted.
        self._stage = (4 if lifted else 3) if left else (2 if lifted else 1) if right else 0
        self._held = self._held + 1 if self._stage == 4 and not right else 0

    def _read_sensors(self) -> Mapping[str, Any]:
        joints = stamp_message(
            self.now_ns, name=NAMES["left"] + NAMES["right"], position=self.joints, velocity=[], effort=[]
        )
        return {"joint_states": joints}

    def _set(self, index: int, values: Floats) -> None:
        low, high = FINGER_M
        finger = low + float(np.clip(values[6], 0.0, 1.0)) * (high - low)
        place = slice(8 * index, 8 * index + 8)
        bounds = self._model.actuator_ctrlrange[place].T
        self._data.ctrl[place] = np.clip(np.concatenate([values[:6], [finger, -finger]]), *bounds)
