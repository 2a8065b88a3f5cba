# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where the measured position of everything that is commanded stands in the state vector."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.kinds import AXES, BASE_VELOCITY, JOINT_POSITION, JOINTS, VELOCITIES
from hpt_ros.embodiment.output import OutputSlice
from hpt_ros.embodiment.rotations import convert_rotations, elements
from hpt_ros.embodiment.streams import EmbodimentError
from hpt_ros.errors import Code

Floats = NDArray[np.float64]
Values = NDArray[np.floating[Any]]

_MEASURED_6D = "rotation_6d"  # as PoseStamped streams are decoded
QUATERNION = "quaternion"


class MeasuredStates:
    """Reads poses of one robot's outputs out of states, (..., D), by the names of their elements.

    Args:
        parts: the outputs in the order of the action vector.
        states: names of the state vector's elements.
        continuous: joints that turn without limit, of which cosine and sine are measured.
        wraps: (dim,) true for the angles of these in the control vector.
        embodiment: the robot's name in errors.
    """

    def __init__(
        self,
        parts: tuple[OutputSlice, ...],
        states: tuple[str, ...],
        continuous: frozenset[str],
        wraps: NDArray[np.bool_],
        embodiment: str,
    ) -> None:
        """Remember them; what is not measured is refused when it is asked for."""
        self.parts, self.wraps = parts, wraps
        self._states, self._continuous, self._embodiment = states, continuous, embodiment
        self._joints_only = all(part.output.kind == JOINT_POSITION for part in parts)

    def joint_indices(self) -> NDArray[np.intp]:
        """Where in the state vector the measured position of each commanded joint stands, (action dim,).

        Raises:
            EmbodimentError: the position of a commanded joint is not observed or is of a continuous joint, or a command
                is Cartesian.
        """
        for part in self.parts:
            if part.output.kind != JOINT_POSITION:
                raise EmbodimentError(
                    Code.INVALID, f"embodiment {self._embodiment!r}",
                    problem=f"commands {part.output.kind} on {part.output.topic}",
                    expected="joint positions here", remedy="use a robot that is commanded by its joints",
                )  # fmt: skip
        if self._continuous:
            raise EmbodimentError(
                Code.INVALID, f"embodiment {self._embodiment!r}",
                problem=f"commands continuous joints ({', '.join(sorted(self._continuous))}), of which cosine "
                "and sine are observed", expected="joint positions", remedy="use a robot without them",
            )  # fmt: skip
        return np.concatenate([self._indices(part) for part in self.parts])

    @property
    def joints_measured(self) -> bool:
        """Whether joints alone are commanded, and the position of each is observed."""
        if any(part.output.kind not in JOINTS for part in self.parts):
            return False
        try:
            self.require()
        except EmbodimentError:
            return False
        return True

    def require(self) -> None:
        """Raise EmbodimentError unless the measured pose of everything that is commanded is observed."""
        for part in self.parts:
            self._indices(part)

    def require_positions(self) -> None:
        """Raise EmbodimentError unless the measured pose could be an action itself."""
        self.require()
        for part in self.parts:
            if part.output.kind in VELOCITIES:
                raise EmbodimentError(
                    Code.UNSUPPORTED, f"embodiment {self._embodiment!r}",
                    problem=f"commands velocities on {part.output.topic}, which measured poses cannot stand "
                    "in for", remedy="record the commands",
                )  # fmt: skip

    def control(self, state: Values) -> Floats:
        """The measured control vector (..., dim) of states (..., D); angles of continuous joints from -pi to pi."""
        if self._plain_joints:
            return np.asarray(state[..., self._all_joints], dtype=np.float64)

        def piece(part: OutputSlice, found: Floats) -> Floats:
            if part.output.kind == BASE_VELOCITY:  # nowhere in particular
                return np.zeros((len(found), len(part.output.elements)))
            return self._pose(found, QUATERNION) if part.output.cartesian else found

        return self._pieces(state, piece)

    def action(self, state: Values) -> Floats:
        """The action (..., action dim) that holds the robot where states (..., D) have it; a velocity is zero."""
        if self._plain_joints:
            return np.asarray(state[..., self._all_joints], dtype=np.float64)

        def piece(part: OutputSlice, found: Floats) -> Floats:
            if part.output.kind in VELOCITIES:
                return np.zeros((len(found), len(part.output.elements)))
            return self._pose(found, part.output.rotation) if part.output.cartesian else found

        return self._pieces(state, piece)

    @property
    def _plain_joints(self) -> bool:
        """Whether the measured pose is elements of the state as they are."""
        return self._joints_only and not self._continuous

    @cached_property
    def _all_joints(self) -> NDArray[np.intp]:
        return self.joint_indices()

    def _indices(self, part: OutputSlice) -> NDArray[np.intp]:
        """Where in the state vector an output's measured position stands: its joints, or x, y, z and 6-D.

        Of continuous joints cosine and sine, one after the other.
        """
        output = part.output
        if output.kind == BASE_VELOCITY:
            return np.zeros(0, dtype=np.intp)
        if output.cartesian:
            wanted = [f"{output.pose}.{element}" for element in (*AXES, *elements(_MEASURED_6D))]
        else:
            wanted = [
                f"{name}.position{element}"
                for name in output.names
                for element in ((".cos", ".sin") if name in self._continuous else ("",))
            ]
        for column in wanted:
            name = output.name if output.cartesian else column.rpartition(".position")[0]
            if column not in self._states:
                raise EmbodimentError(
                    Code.INVALID, f"embodiment {self._embodiment!r}", name,
                    problem="commands joint {value} but no stream has its position",
                    remedy="add a JointState stream with field position for every commanded joint",
                )  # fmt: skip
        return np.array([self._states.index(column) for column in wanted], dtype=np.intp)

    def _pieces(self, state: Values, piece: Callable[[OutputSlice, Floats], Floats]) -> Floats:
        """Side by side: of each output `piece` of its joints' positions, or of its measured pose, (N, n)."""
        rows = np.asarray(state, dtype=np.float64).reshape(-1, state.shape[-1])
        found = []
        for part in self.parts:
            values = rows[:, self._indices(part)]
            joints = part.output.kind in JOINTS
            found.append(piece(part, self._positions(part, values) if joints else values))
        joined = np.concatenate(found, axis=1)
        return joined.reshape(*state.shape[:-1], joined.shape[1])

    def _positions(self, part: OutputSlice, measured: Floats) -> Floats:
        """Positions (N, n) of joints, of which continuous ones are measured as cosine and sine."""
        mask = self.wraps[part.control]
        if not mask.any():
            return measured
        starts = np.concatenate([[0], np.cumsum(1 + mask)[:-1]])
        result = measured[:, starts]
        cosines = starts[mask]
        result[:, mask] = np.arctan2(measured[:, cosines + 1], measured[:, cosines])
        return result

    def _pose(self, measured: Floats, representation: str) -> Floats:
        turned = convert_rotations(measured[:, 3:], _MEASURED_6D, representation)
        return np.concatenate([measured[:, :3], turned], axis=1)
