# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The action vector's place between measured states, the policy's modes and the commands that are limited.

Three spaces:

* the state vector of the observation,
* the action vector, as datasets hold it: always absolute (joint positions or velocities, poses, twists),
* the control vector, in which commands are blended and limited: joint positions, for each Cartesian command a pose of
  position (m) and quaternion x, y, z, w, and a base's velocities. A twist is integrated to a pose, joint velocities to
  positions.

A mode other than "absolute" changes what a policy learns and predicts, and nothing else: `to_mode` is applied when
training samples are gathered, `from_mode` to what a policy gives.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.angles import shortest, unwrap
from hpt_ros.embodiment.action import Action
from hpt_ros.embodiment.control_limits import Bounds, ControlLimits, action_bounds, control_limits
from hpt_ros.embodiment.kinds import (
    AXES,
    BASE_VELOCITY,
    CARTESIAN_POSE,
    CARTESIAN_TWIST,
    INTEGRATED,
    JOINT_POSITION,
    JOINT_VELOCITY,
    VELOCITIES,
)
from hpt_ros.embodiment.measured_states import QUATERNION, MeasuredStates
from hpt_ros.embodiment.output import OutputSlice
from hpt_ros.embodiment.relative_poses import absolute_poses, relative_poses
from hpt_ros.embodiment.rotations import (
    convert_rotations,
    elements,
    integrate,
)

Floats = NDArray[np.float64]
Values = NDArray[np.floating[Any]]


class ActionSpace:
    """Converts between the spaces of one robot's action. Arrays are float64 unless said otherwise.

    Attributes:
        parts: the outputs in the order of the action vector.
        names: of the control vector.
        turns: where in the control vector each quaternion begins.
        rates: where in the control vector velocities stand, which are zero at rest (a base's).
        wraps: (dim,) true for the angles of continuous joints in the control vector.
        angles: (action dim,) true for them in the action vector.
        states: reads the measured pose.
    """

    def __init__(self, action: Action, state_names: tuple[str, ...], embodiment: str, tick_hz: float) -> None:
        """Look up the positions; `embodiment` names the robot in errors."""
        self._action, self._embodiment, self._tick_hz = action, embodiment, tick_hz
        self._continuous = frozenset(limit.name for limit in action.limits if limit.continuous)
        parts: list[OutputSlice] = []
        names: list[str] = []
        turns: list[int] = []
        rates: list[int] = []
        offset = 0
        for output in action.parts:
            start = len(names)
            names += [*output.limited]
            if output.cartesian:
                turns.append(len(names))
                names += [f"{output.name}.{element}" for element in elements(QUATERNION)]
            if output.kind == BASE_VELOCITY:
                rates += range(start, len(names))
            end = offset + len(output.elements)
            parts.append(OutputSlice(output, slice(offset, end), slice(start, len(names))))
            offset = end
        self.parts, self.names, self.turns, self.rates = (
            tuple(parts),
            tuple(names),
            tuple(turns),
            tuple(rates),
        )
        # Columns that a mode changes by plain subtraction.
        self._plain = np.array(
            [
                part.output.kind == JOINT_POSITION and name not in action.grippers
                for part in parts
                for name in part.output.elements
            ],
            dtype=bool,
        )
        self.angles = np.array(
            [
                part.output.kind == JOINT_POSITION and name in self._continuous
                for part in parts
                for name in part.output.elements
            ],
            dtype=bool,
        )
        self.wraps = np.array([name in self._continuous for name in names], dtype=bool)
        self._joints_only = all(part.output.kind == JOINT_POSITION for part in parts)
        self.states = MeasuredStates(self.parts, state_names, self._continuous, self.wraps, embodiment)

    @cached_property
    def units(self) -> tuple[str, ...]:
        """Of each element of the action vector; empty for elements of an orientation, which have none."""
        return tuple(
            "" if part.output.kind == CARTESIAN_POSE and offset >= len(AXES) else part.output.unit
            for part in self.parts
            for offset in range(len(part.output.elements))
        )

    @property
    def elements(self) -> tuple[tuple[str, str], ...]:
        """Name and unit of each element of the action vector."""
        return tuple(zip(self._action.names, self.units, strict=True))

    @property
    def mode(self) -> str:
        """The action's."""
        return self._action.mode

    @property
    def predicted_as_held(self) -> bool:
        """Whether what a policy predicts is the action itself: `to_mode` and `from_mode` change nothing."""
        return self.mode == "absolute" and not self.angles.any()

    def shortest(self, changes: Floats) -> Floats:
        """Differences (..., action dim) of actions, of continuous joints the short way round."""
        if not self.angles.any():
            return changes
        return np.where(self.angles, shortest(changes), changes)

    def within_turn(self, action: Floats) -> Floats:
        """An action (..., action dim) with the angles of continuous joints from -pi to pi."""
        return self.shortest(action)

    def count_turns(self, actions: Values) -> Floats:
        """Actions (n, action dim) of ticks in a row, with turns of continuous joints counted on from the first."""
        values = np.array(actions, dtype=np.float64)
        if self.angles.any() and len(values):
            values[:, self.angles] = unwrap(values[:, self.angles], values[0, self.angles])
        return values

    @cached_property
    def limits(self) -> ControlLimits:
        """Of the control vector.

        Raises:
            EmbodimentError: a limit is left to a URDF, and there was none (`hpt_ros.runtime.kinematics.with_limits`).
        """
        return control_limits(self._action, self.parts, self.names, self._embodiment)

    @cached_property
    def bounds(self) -> Bounds:
        """Of the action vector, to judge data by (`hpt_ros.embodiment.control_limits.action_bounds`)."""
        return action_bounds(self._action, self.parts, self._embodiment, self._tick_hz)

    @cached_property
    def ahead_s(self) -> Floats:
        """How much further ahead than the least each element of the control vector is sent, (dim,)."""
        least = min(part.output.latency_s for part in self.parts)
        ahead = np.zeros(len(self.names))
        for part in self.parts:
            ahead[part.control] = part.output.latency_s - least
        return ahead

    def ahead_ns(self, part: OutputSlice) -> int:
        """Return how much later than a command an output is due."""
        return round(float(self.ahead_s[part.control.start]) * 1e9)

    # --- modes -----------------------------------------------------------------------------------------------------

    def to_mode(self, actions: Values, state: Values) -> Floats:
        """Absolute actions as the policy is to predict them.

        A Cartesian pose becomes relative as T_0^-1 T_i: in the tool's frame, so that the same motion is the same
        numbers wherever it is done (as in UMI, Chi et al., arXiv 2402.10329). A continuous joint has no absolute
        position without a seam, so it is relative where others are absolute; a chunk may hold several turns.

        Args:
            actions: (B, H, action dim), of neighbouring ticks.
            state: (B, D), at the tick of the first action.
        """
        mode = self._action.mode
        absolute: Floats = np.asarray(actions, dtype=np.float64)
        if self.predicted_as_held:
            return absolute
        start = self.states.action(state)[:, None]
        if self.angles.any():
            absolute = absolute.copy()
            angles = unwrap(absolute[..., self.angles], start[:, 0, self.angles])
            absolute[..., self.angles] = angles
        before = np.concatenate([start, absolute[:, :-1]], axis=1)
        reference = before if mode == "delta" else np.broadcast_to(start, absolute.shape)
        plain = self.angles if mode == "absolute" else self._plain
        result = np.where(plain, absolute - reference, absolute)
        if mode == "absolute":
            return result
        for part in self._poses():
            result[..., part.action] = relative_poses(part, absolute, reference)
        return result

    def from_mode(self, actions: Values, state: Values) -> Floats:
        """Inverse of `to_mode`: absolute actions (B, H, action dim) of what the policy predicts.

        Numbers that are not finite, or are no orientation, come back as NaN, for the control room to refuse. Angles of
        continuous joints count on from the measured one, beyond -pi to pi.
        """
        mode = self._action.mode
        given: Floats = np.asarray(actions, dtype=np.float64)
        if self.predicted_as_held:
            return given
        start = self.states.action(state)
        moved = np.cumsum(given, axis=1) if mode == "delta" else given
        plain = self.angles if mode == "absolute" else self._plain
        result = np.where(plain, moved + start[:, None], given)
        if mode == "absolute":
            return result
        for part in self._poses():
            result[..., part.action] = absolute_poses(part, given, start, delta=mode == "delta")
        return result

    # --- commands --------------------------------------------------------------------------------------------------

    def to_control(self, actions: Floats, state: Values) -> Floats:
        """A chunk for the control room.

        Args:
            actions: (H, action dim), absolute.
            state: (D,), at the tick of the first action; velocities are integrated from the pose in it.

        Returns:
            (H, dim), or (H + 1, dim) where velocities are integrated: the last one lasts for a tick too. Numbers that
            are not finite, or are no orientation, come back as NaN, for the control room to refuse.
        """
        if self._joints_only:
            return actions
        steps = len(actions) + any(part.output.kind in INTEGRATED for part in self.parts)
        result = np.empty((steps, len(self.names)))
        for part in self.parts:
            values = actions[:, part.action]
            if part.output.kind == CARTESIAN_TWIST:
                start = self.states.control(state[None])[0, part.control]
                result[:, part.control] = integrate(values, start, 1.0 / self._tick_hz)
                continue
            if part.output.kind == JOINT_VELOCITY:
                start = self.states.control(state[None])[:, part.control]
                way = np.cumsum(values / self._tick_hz, axis=0)
                result[:, part.control] = np.concatenate([start, start + way])
                continue
            if part.output.kind == CARTESIAN_POSE:
                turned = convert_rotations(values[:, 3:], part.output.rotation, QUATERNION)
                values = np.concatenate([values[:, :3], turned], axis=1)
            result[:, part.control] = values[np.minimum(np.arange(steps), len(actions) - 1)]
        return result

    def speeds(self, actions: Floats) -> Floats:
        """Speed between neighbouring actions (n, action dim) as a fraction of its limit, the largest, (n - 1,)."""
        if len(actions) < 2:
            return np.zeros(0)
        lower, upper, velocity, _ = self.bounds
        fastest = np.maximum(-lower, upper)
        fractions = np.abs(self.shortest(np.diff(actions, axis=0))) * self._tick_hz / velocity
        for part in self.parts:
            if part.output.kind in VELOCITIES:  # a speed by itself
                fractions[:, part.action] = np.abs(actions[1:, part.action]) / fastest[part.action]
        return np.asarray(fractions.max(axis=1))

    # --- inside ----------------------------------------------------------------------------------------------------

    def _poses(self) -> list[OutputSlice]:
        return [part for part in self.parts if part.output.kind == CARTESIAN_POSE]
