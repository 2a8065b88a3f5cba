# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The task `switch_insertion`: a rocker switch is to be pushed into the panel of the dog's feeder."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from hpt_ros.sim.arm import ToolKinematics
from hpt_ros.sim.dog import wag
from hpt_ros.sim.environment import Outcome
from hpt_ros.sim.movement import HEADING, MISTAKES, Demonstration, Move, Spread, X, Y, Z, around
from hpt_ros.sim.physics import Physics
from hpt_ros.sim.table_task import TableTask
from hpt_ros.sim.variation import STANDARD, Variation

Array = npt.NDArray[np.float64]

# The panel's middle, m, and its rotation about the vertical, rad.
PANEL_X_M: Final = (0.44, 0.58)
PANEL_Y_M: Final = (-0.12, 0.16)
PANEL_YAW_RAD: Final = 0.3
TOP_M: Final = 0.046  # of the panel
DEEP_M: Final = 0.030  # that far below its top the switch's end must be
WIDE_M: Final = 0.010  # and this near to the cut-out's middle: only within it can both be
FAR_M: Final = 0.25  # from where progress is counted
_DOG_FROM_PANEL_M: Final = np.array([-0.09, 0.28, 0.0])
_DOG_YAW_RAD: Final = np.deg2rad(-62.0)
_START: Final = np.array([0.40, -0.34, 0.24, -0.2, 0.0, 0.0])
_OFF, _ON = np.array([0.75, 0.10, 0.08]), np.array([0.15, 0.95, 0.30])


class SwitchInsertionTask(TableTask):
    """Push the switch into the panel; see `TableTask`."""

    name = "switch_insertion"
    version = "1"
    instruction = "push the switch into the cut-out of the panel"
    time_limit_s = 13.0
    tool_part, tool_site = "switch.xml", "switch_end"
    tool_in_flange = np.array([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0.155], [0, 0, 0, 1]])
    coloured = ("panel",)

    def __init__(self, physics: Physics, kinematics: ToolKinematics, variation: Variation = STANDARD) -> None:
        super().__init__(physics, kinematics, variation)
        self._led = physics.model.geom("led").id
        self._yaw_rad = 0.0

    def reset(self, seed: int) -> None:
        """Put the panel where `seed` has it."""
        rng = np.random.default_rng(seed)
        panel = np.array([self.draw_in_range(rng, *PANEL_X_M), self.draw_in_range(rng, *PANEL_Y_M), 0.0])
        widest = PANEL_YAW_RAD + self.variation.orientation_rad
        self._yaw_rad = widest * float(rng.uniform(-1.0, 1.0))
        self.physics.put_arm(self.start_rad(_START, rng))
        self.physics.place("panel", panel, self._yaw_rad)
        self.physics.place("dog", panel + _DOG_FROM_PANEL_M, _DOG_YAW_RAD)
        self.animate()
        self.physics.settle()

    def keep_out(self) -> list[tuple[float, float, float]]:
        """Leave arm, panel and dog alone."""
        x, y, _ = self.physics.body_position("panel")
        dog = self.physics.body_position("dog")
        return [(0.0, 0.0, 0.2), (x, y, 0.16), (float(dog[0]), float(dog[1]), 0.17)]

    def animate(self) -> None:
        """Light the lamp green, and wag the dog's tail quickly, when the switch is in."""
        success = self.result().success
        self.physics.model.geom_rgba[self._led, :3] = _ON if success else _OFF
        wag(self.physics, _DOG_YAW_RAD, success)

    def result(self) -> Outcome:
        """How the task stands now: near counts half, in the cut-out the other half."""
        end = self.physics.site_position(self.tool_site)
        panel = self.physics.body_position("panel")
        aside, depth = float(np.hypot(*(end - panel)[:2])), TOP_M - float(end[2])
        inside = aside < WIDE_M
        success = inside and depth >= DEEP_M
        near = 1.0 - min(1.0, float(np.linalg.norm(end - panel - (0.0, 0.0, TOP_M))) / FAR_M)
        deep = min(1.0, max(0.0, depth / DEEP_M)) if inside else 0.0
        return Outcome(
            success,
            1.0 if success else min(0.99, 0.5 * (1.0 if inside and depth > 0.0 else near) + 0.5 * deep),
            f"the switch is {1000 * max(depth, 0.0) if inside else 0.0:.0f} mm deep in the cut-out; needed: "
            f"{1000 * DEEP_M:.0f} mm",
        )

    def teleoperator(self, start_rad: Array, seed: int, spread: Spread) -> Demonstration:
        """Plan to hover over the cut-out, to align, and to push."""
        rng = np.random.default_rng([seed, 0x1415])

        panel, yaw = self.physics.body_position("panel")[:2], self._yaw_rad
        if spread.place_m > 0.0 and rng.random() < MISTAKES:  # on the rim, as somebody who misjudges it
            panel = panel + 0.035 * np.array([np.cos(turn := rng.uniform(-np.pi, np.pi)), np.sin(turn)])
        hover = panel + rng.uniform(-1.0, 1.0, 2) * spread.place_m
        aim = panel + rng.uniform(-1.0, 1.0, 2) * 0.15 * spread.place_m
        moves = [
            Move(0.0, 2.6, (X, Y), tuple(hover)),
            Move(0.3, 2.3, (HEADING,), (around(rng, yaw, spread.angle_rad),)),
            Move(0.6, 2.2, (Z,), (around(rng, 0.12, spread.height_m),)),
            Move(2.3, 1.3, (X, Y, HEADING), (*aim, around(rng, yaw, 0.4 * spread.angle_rad))),
            Move(2.8, 1.6, (Z,), (around(rng, 0.062, 0.5 * spread.contact_m),)),
            Move(3.9, 1.9, (Z,), (TOP_M - DEEP_M - 0.006,)),
        ]
        tempo = around(rng, 1.0, spread.tempo)
        return Demonstration(moves, self.kinematics, self.posture_rad, start_rad, tempo=tempo)
