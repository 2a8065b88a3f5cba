# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""MuJoCo, in one place: the model, its state, stepping and rendering.

Physics knows nothing of tasks, episodes or ROS (the split of dm_control: Physics, Task, Environment).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from hpt_ros.errors import Code, HptError
from hpt_ros.mujoco_engine import mujoco
from hpt_ros.sim.arm import Arm
from hpt_ros.sim.scene import PIECE, Scene

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]


def whole_steps(period_s: float, timestep_s: float, *, what: str) -> int:
    """How many physics steps make `period_s`.

    Raises:
        HptError: it is not a whole number of steps, at least one.
    """
    steps = round(period_s / timestep_s) if timestep_s > 0 and np.isfinite(period_s) else 0
    if steps < 1 or abs(steps * timestep_s - period_s) > 1e-9:
        raise HptError(
            Code.OUT_OF_RANGE, f"the {what} of {period_s:g} s", timestep_s,
            problem="is no whole multiple of the physics step of {value} s",
            remedy=f"choose a multiple of {timestep_s:g} s",
        )  # fmt: skip
    return steps


def _places(indices: Sequence[int]) -> slice | npt.NDArray[np.intp]:
    """Where elements stand in an array: as a slice, which is quicker, if they stand side by side."""
    first = int(indices[0])
    if list(indices) == list(range(first, first + len(indices))):
        return slice(first, first + len(indices))
    return np.array(indices, np.intp)


class Physics:
    """The simulated world: an arm driven by joint position targets, free pieces, bodies that can be positioned.

    All joint arrays have shape (N,) in the order of `joint_names`, rad, rad/s and N m. Not thread-safe: one thread
    owns it.

    Args:
        scene: what there is.
        arm: the one that stands in it.
        timestep_s: physics step; None takes the scene's own.

    Attributes:
        arm: as given.
        joint_names: of the arm.
    """

    def __init__(self, scene: Scene, arm: Arm, timestep_s: float | None = None) -> None:
        self.arm, self.joint_names = arm, arm.joint_names
        self.model: Any = mujoco.MjModel.from_xml_string(scene.text, scene.files)
        if timestep_s is not None:
            self.model.opt.timestep = timestep_s
        self.data: Any = mujoco.MjData(self.model)
        model = self.model
        joints = [model.joint(name) for name in self.joint_names]
        self._qpos = _places([joint.qposadr[0] for joint in joints])
        self._qvel = _places([joint.dofadr[0] for joint in joints])
        self._ctrl = _places([model.actuator(name).id for name in self.joint_names])
        pieces = self.bodies(PIECE)
        first = [model.jnt_qposadr[model.body_jntadr[index]] for index in pieces]
        speed = [model.jnt_dofadr[model.body_jntadr[index]] for index in pieces]
        self._piece_qpos = np.array(first, np.intp)[:, None] + np.arange(7)
        self._piece_qvel = np.array(speed, np.intp)[:, None] + np.arange(6)
        # MuJoCo's arrays stay where they are; looking one up in its data costs more than reading it.
        data: Any = self.data
        self._positions: Array = data.qpos
        self._velocities: Array = data.qvel
        self._forces: Array = data.actuator_force
        self._targets: Array = data.ctrl
        mujoco.mj_forward(model, self.data)

    def bodies(self, prefix: str) -> list[int]:
        """Indices of the bodies whose names begin so."""
        return [index for index in range(self.model.nbody) if self.model.body(index).name.startswith(prefix)]

    @property
    def timestep_s(self) -> float:
        """Length of one physics step."""
        return float(self.model.opt.timestep)

    @property
    def time_s(self) -> float:
        """Simulated time; resets move bodies, not the clock."""
        return float(self.data.time)

    def start_clock(self, time_s: float) -> None:
        """Set the simulated time, at the start or where an episode begins for which nobody has read the time before."""
        self.data.time = time_s

    @property
    def joint_positions_rad(self) -> Array:
        """Measured joint angles (N,), a copy."""
        return self._positions[self._qpos].copy()

    @property
    def joint_velocities_rad_s(self) -> Array:
        """Measured joint velocities (N,), a copy."""
        return self._velocities[self._qvel].copy()

    @property
    def joint_efforts_nm(self) -> Array:
        """Torques of the actuators (N,), a copy."""
        return self._forces[self._ctrl].copy()

    @property
    def targets_rad(self) -> Array:
        """The targets that the actuators follow now (N,), a copy."""
        return np.array(self.data.ctrl[self._ctrl])

    def set_targets(self, targets_rad: Array) -> None:
        """Give the actuators new position targets (N,); they are cut at the joint limits."""
        self._targets[self._ctrl] = np.minimum(
            np.maximum(targets_rad, self.arm.lower_rad), self.arm.upper_rad
        )

    def step(self, count: int = 1) -> None:
        """Advance by `count` physics steps."""
        mujoco.mj_step(self.model, self.data, nstep=count)

    def put_arm(self, positions_rad: Array) -> None:
        """Put the arm at rest at these angles (N,), with its targets there too."""
        self.data.qpos[self._qpos] = positions_rad
        self.data.qvel[self._qvel] = 0.0
        self.set_targets(positions_rad)

    def place(self, body: str, position_m: Array, yaw_rad: float) -> None:
        """Put a mocap body at a position (3,), turned about the vertical."""
        index = self.model.body(body).mocapid[0]
        self.data.mocap_pos[index] = position_m
        self.data.mocap_quat[index] = (np.cos(yaw_rad / 2), 0.0, 0.0, np.sin(yaw_rad / 2))

    def turn(self, body: str, yaw_rad: float) -> None:
        """Turn a body that is fixed to the world about the vertical."""
        self.model.body(body).quat[:] = (np.cos(yaw_rad / 2), 0.0, 0.0, np.sin(yaw_rad / 2))

    def body_position(self, body: str) -> Array:
        """World position (3,) of a mocap body, m."""
        return np.array(self.data.mocap_pos[self.model.body(body).mocapid[0]])

    def site_position(self, site: str) -> Array:
        """World position (3,) of a site at the last step, m."""
        return np.array(self.data.site(site).xpos)

    @property
    def piece_count(self) -> int:
        """How many free pieces there are."""
        return len(self._piece_qpos)

    @property
    def piece_poses(self) -> Array:
        """Positions and quaternions of the pieces, (N, 7), m; a copy."""
        return np.array(self.data.qpos[self._piece_qpos])

    @property
    def piece_speeds_m_s(self) -> Array:
        """Speeds of the pieces, (N,)."""
        return np.asarray(np.linalg.norm(self.data.qvel[self._piece_qvel[:, :3]], axis=1))

    def put_pieces(self, poses: Array) -> None:
        """Put the pieces at rest at these poses (N, 7)."""
        self.data.qpos[self._piece_qpos] = poses
        self.data.qvel[self._piece_qvel] = 0.0

    def settle(self) -> None:
        """Recompute everything that depends on the state, forgetting the solver's memory of the past."""
        self.data.qacc_warmstart[:] = 0.0
        self.data.qfrc_applied[:] = 0.0
        mujoco.mj_forward(self.model, self.data)


@dataclass(frozen=True, slots=True)
class Quality:
    """How a picture is drawn; the costs are for 640x480 pixels in software on one core.

    Attributes:
        shadows: draw shadows and reflections.
        shadow_map: side of the shadow map, texels.
        samples: samples for each pixel, 0 for none but the middle.
        slices, stacks: facets of round bodies.
    """

    shadows: bool
    shadow_map: int
    samples: int
    slices: int
    stacks: int


POLICY_QUALITY: Final = Quality(
    shadows=False, shadow_map=1, samples=0, slices=14, stacks=8
)  # 96x128: 2 to 3 ms
VIDEO_QUALITY: Final = Quality(shadows=True, shadow_map=1024, samples=4, slices=14, stacks=8)  # 75 ms
PRINT_QUALITY: Final = Quality(shadows=True, shadow_map=4096, samples=4, slices=28, stacks=16)  # 200 ms


class Drawn(Protocol):
    """What can be drawn: MuJoCo's model and its state."""

    @property
    def model(self) -> Any: ...  # noqa: D102
    @property
    def data(self) -> Any: ...  # noqa: D102


class Renderer:
    """Draws one size of picture; it holds a GL context and so belongs to the thread that made it.

    Args:
        physics: what to draw.
        height, width: of the picture, pixels.
        quality: how it is drawn.

    Raises:
        HptError: no GL context can be had.
    """

    def __init__(self, physics: Drawn, height: int, width: int, quality: Quality = POLICY_QUALITY) -> None:
        self._physics = physics
        self._thread = threading.get_ident()
        # A context takes these from the model when it is made.
        vis = physics.model.vis
        vis.global_.offwidth, vis.global_.offheight = width, height
        vis.quality.shadowsize, vis.quality.offsamples = quality.shadow_map, quality.samples
        vis.quality.numslices, vis.quality.numstacks = quality.slices, quality.stacks
        try:
            self._renderer: Any = mujoco.Renderer(physics.model, height, width)
        except Exception as error:
            raise HptError(
                Code.INVALID, f"no off-screen GL context of {width}x{height} pixels can be",
                os.environ.get("MUJOCO_GL", ""), problem="made with MUJOCO_GL={value}",
                remedy="install a software renderer: apt install libegl1 libgl1-mesa-dri", cause=error,
            ) from error  # fmt: skip
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._renderer.scene.flags[flag] = quality.shadows

    def render(self, camera: str) -> Image:
        """The picture of a camera now, (height, width, 3) uint8 RGB, a new array.

        Raises:
            HptError: called from another thread than the one that made this renderer.
        """
        if threading.get_ident() != self._thread:
            raise HptError(
                Code.INVALID, "a renderer", problem="was used from another thread than the one that made it",
                remedy="make one renderer in each thread",
            )  # fmt: skip
        self._renderer.update_scene(self._physics.data, camera)
        return np.array(self._renderer.render(), dtype=np.uint8)

    def close(self) -> None:
        """Free the GL context."""
        self._renderer.close()
