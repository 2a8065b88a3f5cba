# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A task of Meta-World as an environment: the policy sees the hand's pose, the gripper and two cameras, and no object.

Meta-World moves its Sawyer by pulling a "mocap" body, by at most 1 cm per axis in each of its steps of 80 Hz. Here the
body's position is commanded, and is reached at the command's stamp, in equal parts of the steps until then.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hpt_ros.extras import require_extra
from hpt_ros.mujoco_engine import mujoco
from hpt_ros.sim.environment import Outcome
from hpt_ros.sim.suites.base import View
from hpt_ros.sim.suites.hand import FACING_DOWN, HandEnvironment
from hpt_ros.sim.suites.metaworld.tasks import INSTRUCTIONS

Floats = npt.NDArray[np.float64]

STEP_S: Final = 0.0125  # five steps of 2.5 ms
STEPS: Final = 500  # of an episode, as Meta-World's own evaluation
REACH_M: Final = 0.01  # of the mocap body in a step, for an action of 1
BEST_REWARD: Final = 10.0  # of every task, once it is done
# Meta-World's corner4 sees 60 degrees, of which the table fills a third: goals and pucks are 2 pixels wide.
VIEWS: Final = {"corner": View("corner4", upside_down=True, fovy_deg=40.0), "wrist": View("gripperPOV")}


class MetaWorldEnvironment(HandEnvironment):
    """See the module, and `ModelEnvironment`."""

    suite, robot, package = "metaworld", "metaworld_sawyer", "metaworld"
    instructions, views, people = INSTRUCTIONS, VIEWS, "corner"
    step_s, time_limit_s = STEP_S, STEPS * STEP_S

    def _load(self, task: str, what: str) -> None:
        self._sawyer = make_sawyer(task, what)

    @property
    def model(self) -> Any:
        """The MjModel."""
        return self._sawyer.model

    @property
    def data(self) -> Any:
        """The MjData."""
        return self._sawyer.data

    @property
    def observation(self) -> Floats:
        """What Meta-World's own experts see (39,): hand, gripper, objects, the same of the step before, goal."""
        return self._observation

    def outcome(self) -> Outcome:
        """Return whether the task has been done at any step, as Meta-World counts it; else its reward over the best."""
        if self._success:
            return Outcome(True, 1.0, f"{self.task} was done")
        progress = min(max(self._reward / BEST_REWARD, 0.0), 0.99)
        return Outcome(
            False, progress, f"{self.task} has a reward of {self._reward:.1f} of {BEST_REWARD:.0f}"
        )

    def expert(self) -> MetaWorldExpert:
        """Return Meta-World's own expert of the task."""
        return MetaWorldExpert(self)

    def predict_reach(self, action: Floats, time_ns: int) -> Floats:
        """Return where the mocap body is (3,) at a time if an action (3,) of Meta-World is held until then, m."""
        steps = (time_ns - self.now_ns) / self._step_ns
        position: Floats = self.data.mocap_pos[0] + REACH_M * steps * np.clip(action, -1.0, 1.0)
        return position.clip(self._sawyer.mocap_low, self._sawyer.mocap_high)

    def _begin(self, seed: int) -> None:
        self._sawyer.seed(seed)
        observation, _ = self._sawyer.reset()
        self._observation: Floats = observation
        self._stay(self.data.mocap_pos[0], 1.0)
        self._reward, self._success = 0.0, False

    def _step(self) -> None:
        pull = (self._goal - self.data.mocap_pos[0]) / (self._steps_left() * REACH_M)
        action = np.clip(np.append(pull, 1.0 - 2.0 * self._opening), -1.0, 1.0)
        self._observation, reward, _, _, info = self._sawyer.step(action)
        self._reward = float(reward)
        self._success |= bool(info["success"])

    def _read_sensors(self) -> Mapping[str, Any]:
        hand = self.data.body("hand")
        return self._hand(hand.xpos, hand.xquat, float(self._observation[3]))


class MetaWorldExpert:
    """Meta-World's expert, who reads where every object and the goal is."""

    def __init__(self, environment: MetaWorldEnvironment) -> None:
        """Remember nothing."""
        policies: Any = require_extra("metaworld.policies", extra="suites", what="Meta-World's expert")
        self._environment, self._policy = environment, policies.ENV_POLICY_MAP[f"{environment.task}-v3"]()

    def action(self, time_ns: int) -> Floats:
        """Hold what it wants now until then: the hand's position, its fixed orientation, the gripper's opening (7,)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numbers beyond 1, which every one of them gives
            wanted = np.asarray(self._policy.get_action(self._environment.observation), np.float64)
        opening = (1.0 - float(np.clip(wanted[3], -1.0, 1.0))) / 2.0
        return np.concatenate([self._environment.predict_reach(wanted[:3], time_ns), FACING_DOWN, [opening]])


def make_sawyer(task: str, what: str) -> Any:
    """Make Meta-World's own environment of a task, whose goal is visible to its experts and drawn from a seed."""
    environments: Any = require_extra("metaworld.env_dict", extra="suites", what=what)
    base: Any = require_extra("metaworld.sawyer_xyz_env", extra="suites", what=what)
    base.SawyerMocapBase.reset_mocap_welds = _reset_mocap_welds
    made = environments.ENV_CLS_MAP[f"{task}-v3"]()
    made._partially_observable = False
    made.__dict__.pop("sawyer_observation_space", None)  # a cached one hides the goal
    made._freeze_rand_vec, made.seeded_rand_vec, made._set_task_called = False, True, True
    made.max_path_length = 10**9  # the time limit is the rollout's
    return made


def _reset_mocap_welds(sawyer: Any) -> None:
    """Do as Meta-World 3.1.1 does, which writes 11 numbers a weld, where MuJoCo 4 has 12."""
    model = sawyer.model
    welds = model.eq_type == mujoco.mjtEq.mjEQ_WELD
    model.eq_data[welds, :11] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0)
