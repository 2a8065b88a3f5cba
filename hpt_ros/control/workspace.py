# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The workspace: a box that named parts of the robot stay in, and a floor that no moving part goes below.

For robots that are commanded by their joints, where a box is no limit of a dimension. Where the parts are is the
caller's to say (a function of the joints), so that this room needs no model of a robot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import Vector
from hpt_ros.control.config import WorkspaceConfig
from hpt_ros.control.refusals import Why
from hpt_ros.control.safety import LimitedCommand, SafetyFilter
from hpt_ros.errors import Code, HptError, Refusal


@dataclass(frozen=True, slots=True)
class Kinematics:
    """Where a robot's moving links are.

    Attributes:
        links: their names.
        origins: joint positions (dim,) in the action's order and unit to the links' origins (len(links), 3), m, in the
            robot's base frame.
    """

    links: tuple[str, ...]
    origins: Callable[[Vector], NDArray[np.float64]]


ROUNDING_M = 1e-9
HALVINGS = 5  # of the way between braking and what was asked for: a part in 32


class Workspace:
    """Says whether a command, and the path to rest from it, stays inside.

    A robot that is outside may move as long as it does not go further out, so that it can be brought back.
    """

    def __init__(self, config: WorkspaceConfig, kinematics: Kinematics, filter_: SafetyFilter) -> None:
        """Look up the links.

        Args:
            config: box and floor.
            kinematics: of the robot.
            filter_: whose commands are looked at; its limits say how it brakes.

        Raises:
            HptError: a link that the robot does not have, or a box without inside.
        """
        self._origins = kinematics.origins
        self._dt_s, self._step_v = filter_.dt_s, filter_.limits.acceleration * filter_.dt_s
        self.links = kinematics.links
        for name in config.links:
            if name not in kinematics.links:
                raise HptError(
                    Code.UNKNOWN, "workspace.links", name, problem="has {value}", known=kinematics.links
                )
        corners = np.array(config.lower_m), np.array(config.upper_m)
        if corners[0].shape != (3,) or corners[1].shape != (3,) or not (corners[0] < corners[1]).all():
            raise HptError(
                Code.WRONG_SHAPE, "workspace", list(config.lower_m),
                problem=f"has the corners {{value}} and {list(config.upper_m)}",
                expected="three numbers each, the first below the second",
            )  # fmt: skip
        count = len(self.links)
        boxed = np.array([name in config.links for name in self.links])[:, None]
        self._lower = np.where(boxed, corners[0], -np.inf)
        self._upper = np.where(boxed, corners[1], np.inf) if count else np.empty((0, 3))
        self._lower[:, 2] = np.maximum(self._lower[:, 2], config.floor_m)

    def outside(self, position: Vector) -> Vector:
        """How far each link lies outside, (links,), m; 0 inside."""
        points = self._origins(position)
        return np.asarray(np.maximum(self._lower - points, points - self._upper).max(axis=1).clip(0.0))

    def refusal(self, now: Vector, position: Vector, velocity: Vector) -> Refusal | None:
        """Return why a command must not be sent from the pose `now`; None if it may be.

        Args:
            now: the last command, (dim,).
            position: of the command.
            velocity: from the last command to it.
        """
        permitted = self.outside(now) + ROUNDING_M
        for pose in self._path_to_rest(position, velocity):
            excess = self.outside(pose) - permitted
            worst = int(np.argmax(excess))
            if excess[worst] > 0.0:
                problem = f"would leave the workspace by {excess[worst]:.3f} m"
                return Refusal(Why.WORKSPACE, self.links[worst], float(excess[worst]), problem=problem)
        return None

    def _path_to_rest(self, position: Vector, velocity: Vector) -> list[Vector]:
        """The command and those that `SafetyFilter.brake` would make of it, period by period."""
        way = [position]
        while velocity.any():
            velocity = velocity - np.clip(velocity, -self._step_v, self._step_v)
            way.append(way[-1] + velocity * self._dt_s)
        return way


def make_fence(config: WorkspaceConfig, kinematics: Kinematics | None, filter_: SafetyFilter) -> Fence:
    """The filter behind a fence, or without one where none is wanted; arguments as for `Workspace`."""
    if not config.wanted:
        return Fence(filter_, None)
    if kinematics is None:
        raise HptError(
            Code.INVALID, "workspace.links", list(config.links),
            problem=f"is {{value}} and workspace.floor_m {config.floor_m:g}, but where the robot's links are "
            "is not known", remedy="set the parameter robot_description to its URDF",
        )  # fmt: skip
    return Fence(filter_, Workspace(config, kinematics, filter_))


class Fence:
    """The safety filter with the workspace behind it: what would leave it is slowed so that it does not."""

    def __init__(self, filter_: SafetyFilter, workspace: Workspace | None) -> None:
        self._filter, self._workspace = filter_, workspace
        self.blocked: Refusal | None = None  # why the last target was braked instead

    def apply(self, target: Vector, velocity: Vector) -> LimitedCommand | None:
        """As `SafetyFilter.apply`."""
        before, rate = self._filter.position, self._filter.velocity
        output = self._filter.apply(target, velocity)
        self.blocked = None
        if output is None or before is None or self._workspace is None:
            return output
        workspace = self._workspace
        self.blocked = workspace.refusal(before, output.position, self._filter.velocity)
        if self.blocked is None:
            return output
        self._filter.restore(before, rate)
        braked = self._filter.brake()
        # Between braking and what was asked for everything is within the limits; go on as far as that way stays inside.
        least, most = 0.0, 1.0
        for _ in range(HALVINGS):
            part = (least + most) / 2.0
            position = braked.position + part * (output.position - braked.position)
            if workspace.refusal(before, position, (position - before) / self._filter.dt_s) is not None:
                most = part
            else:
                least = part
        if least == 0.0:
            return braked
        self._filter.restore(before, rate)
        return self._filter.take(braked.position + least * (output.position - braked.position))
