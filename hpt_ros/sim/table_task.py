# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a task at the arm's table is: things in a scene, whether they are as they should be, and who shows how to do it.

A task is one folder below `hpt_ros/sim/tasks`: its scene.xml and a subclass of `TableTask`. Arm, room, cameras and
what is in several scenes are parts (`hpt_ros/sim/parts`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from hpt_ros.sim import panda, ur5e
from hpt_ros.sim.arm import ToolKinematics
from hpt_ros.sim.environment import Outcome
from hpt_ros.sim.movement import Demonstration, Spread, tool_pose
from hpt_ros.sim.panda import PANDA
from hpt_ros.sim.physics import Physics
from hpt_ros.sim.robots import Robot
from hpt_ros.sim.scene import Scene, distractors, part, pieces
from hpt_ros.sim.ur5e import UR5E
from hpt_ros.sim.variation import STANDARD, Variation

Array = npt.NDArray[np.float64]

START_JITTER_RAD: Final = 0.03


class TableTask(ABC):
    """A task in a scene.

    Args:
        physics: of `table_physics`.
        kinematics: of the arm with the task's tool.
        variation: how far scenes differ.

    Attributes:
        name: of its folder.
        version: changes with whatever changes outcomes.
        instruction: what the robot is to do.
        time_limit_s: an episode that has not succeeded by then has failed.
        tool_part: file of the tool, in `hpt_ros/sim/parts`.
        tool_site: name of the site where the tool's frame is.
        tool_in_flange: (4, 4), m; x to the tool's front, z up.
        postures: arms that can do it, each with its elbow branch (N,), rad.
        coloured: beginnings of the names of bodies whose colours may differ.
        count: free pieces, where the variation does not say how many.
        piece: class of the pieces, in room.xml.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    instruction: ClassVar[str]
    time_limit_s: ClassVar[float]
    tool_part: ClassVar[str]
    tool_site: ClassVar[str]
    tool_in_flange: ClassVar[Array]
    postures: ClassVar[Mapping[str, Array]] = MappingProxyType(
        {PANDA.name: panda.POSTURE_RAD, UR5E.name: ur5e.POSTURE_RAD}
    )
    coloured: ClassVar[tuple[str, ...]] = ()
    count: ClassVar[int] = 0
    piece: ClassVar[str] = "kibble"

    def __init__(self, physics: Physics, kinematics: ToolKinematics, variation: Variation = STANDARD) -> None:
        self.physics, self.kinematics, self.variation = physics, kinematics, variation
        self.posture_rad = self.postures[physics.arm.name]

    @abstractmethod
    def reset(self, seed: int) -> None:
        """Move every body to the start that `seed` draws; the clock goes on."""

    def animate(self) -> None:
        """Move what moves by itself; called before cameras look."""
        return

    @abstractmethod
    def result(self) -> Outcome:
        """Return how the task stands now."""

    @abstractmethod
    def teleoperator(self, start_rad: Array, seed: int, spread: Spread) -> Demonstration:
        """Plan a demonstration from these joint angles (N,), knowing where everything is now."""

    @abstractmethod
    def keep_out(self) -> Sequence[tuple[float, float, float]]:
        """Return x, y and radius of discs on the table in which nothing else may stand, m."""

    def start_rad(self, tool: Array, rng: np.random.Generator) -> Array:
        """Return joint angles (N,) for coordinates (6,) of the tool, with some jitter."""
        angles = self.kinematics.inverse(tool_pose(tool[None]), self.posture_rad)[0]
        return np.asarray(angles + rng.uniform(-START_JITTER_RAD, START_JITTER_RAD, len(angles)))

    def draw_in_range(self, rng: np.random.Generator, low: float, high: float) -> float:
        """Draw from a range of the task's own area, grown or shrunk as the variation has it."""
        shrink = 1.0 - float(np.sqrt(self.variation.area))
        middle = 0.5 * (low + high)
        least, most = low + shrink * (middle - low), high - shrink * (high - middle)
        return float(rng.uniform(least, max(least, most)))


def table_scene(task: type[TableTask], robot: Robot, variation: Variation = STANDARD) -> Scene:
    """Return the scene of a task with a robot's arm and cameras in it."""
    files = {name: part(file) for name, file in robot.parts.items()}
    files["tool.xml"] = part(task.tool_part)
    files["pieces.xml"] = pieces(variation.objects or task.count, task.piece)
    if variation.distractors:
        files["distractors.xml"] = distractors(variation.distractors)
    for name in ("room.xml", "floor.xml", "bowl.xml", "dog.xml"):
        files[name] = part(name)
    package = task.__module__.rpartition(".")[0]
    text = part("scene.xml", package, "")
    if not variation.distractors:  # a file without anything in it cannot be included
        text = text.replace('<include file="distractors.xml"/>', "")
    return Scene(text, {name: content.encode() for name, content in files.items()})


def table_physics(task: type[TableTask], robot: Robot, variation: Variation = STANDARD) -> Physics:
    """Return a new world of a task with a robot's arm in it."""
    return Physics(table_scene(task, robot, variation), robot.arm)
