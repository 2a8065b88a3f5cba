# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The last gate before commands are sent, over the entire control vector: limits, the workspace, orientations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import Vector
from hpt_ros.control.config import WorkspaceConfig
from hpt_ros.control.orientation_limits import SHORTEST, OrientationFilter, omega_of, rate_of
from hpt_ros.control.rates import RateFilter
from hpt_ros.control.refusals import Why
from hpt_ros.control.safety import CATCH_UP, LimitedCommand, Limits, SafetyFilter, target_refusal
from hpt_ros.control.workspace import Kinematics, make_fence
from hpt_ros.errors import Refusal


class CommandLimiter:
    """A `SafetyFilter` behind the workspace's fence, one `OrientationFilter` an orientation, and one of velocities.

    Each orientation is slowed by itself, as grippers are: what keeps its direction is the turn, and the way apart. So
    is each velocity of a base.
    """

    def __init__(
        self,
        limits: Limits,
        dt_s: float,
        apart: NDArray[np.bool_],
        *,
        turns: Sequence[int] = (),
        workspace: WorkspaceConfig,
        kinematics: Kinematics | None = None,
    ) -> None:
        """Start without a pose; call `reset` before the first target.

        Args:
            limits: of the control vector; of a quaternion's first element those of its rotation, rad/s and rad/s^2;
                of what its `rates` name those of a velocity.
            dt_s: command period.
            apart: (dim,) true for dimensions with a limit scalar of their own.
            turns: where in the control vector each quaternion begins.
            workspace: box and floor.
            kinematics: of the vector without quaternions and velocities; needed for a workspace.

        Raises:
            HptError: as of `Workspace`.
        """
        self.limits, self.dt_s, self.turns = limits, dt_s, tuple(turns)
        self._spans = [slice(turn, turn + 4) for turn in turns]
        self._plain = np.ones(limits.dim, dtype=bool)
        for span in self._spans:
            self._plain[span] = False
        self._moving = list(limits.rates)
        self._plain[self._moving] = False
        self._whole = bool(self._plain.all())  # nothing but what has limits of its own
        plain, moving = self._plain, self._moving
        self._rates = RateFilter(limits.lower[moving], limits.upper[moving], limits.velocity[moving], dt_s)
        self._filter = SafetyFilter(
            Limits(
                limits.lower[plain], limits.upper[plain], limits.velocity[plain], limits.acceleration[plain]
            ),
            dt_s,
            apart[plain],
        )
        self._fence = make_fence(workspace, kinematics, self._filter)
        self._turns = [
            OrientationFilter(float(limits.velocity[turn]), float(limits.acceleration[turn]), dt_s, CATCH_UP)
            for turn in turns
        ]

    @property
    def position(self) -> Vector | None:
        """The last command, (dim,); None before `reset`."""
        if self._filter.position is None or self._whole:
            return self._filter.position
        return self._assemble(
            self._filter.position, [turn.quaternion for turn in self._turns], self._rates.value
        )

    @property
    def velocity(self) -> Vector:
        """From the command before the last to the last, (dim,); of a quaternion its rate of change."""
        if self._whole:
            return self._filter.velocity
        return self._assemble(
            self._filter.velocity,
            [
                np.zeros(4) if turn.quaternion is None else rate_of(turn.quaternion, turn.omega)
                for turn in self._turns
            ],
            self._rates.change,
        )

    @property
    def at_rest(self) -> bool:
        """Whether the last two commands were the same, and no velocity is left."""
        return self._filter.at_rest and self._rates.at_rest and all(turn.at_rest for turn in self._turns)

    @property
    def blocked(self) -> Refusal | None:
        """Why the last target was braked at the workspace's edge; None if it was not."""
        return self._fence.blocked

    def reset(self, position: Vector) -> None:
        """Begin at rest at a pose; what lies outside the position limits is taken to them, and velocities are zero."""
        self._filter.reset(position[self._plain])
        self._rates.reset()
        for turn, span in zip(self._turns, self._spans, strict=True):
            turn.reset(position[span])

    def forget(self) -> None:
        """Forget the pose: no command until `reset`."""
        self._filter.forget()
        self._rates.reset()
        for turn in self._turns:
            turn.forget()

    def refusal(self, target: Vector) -> Refusal | None:
        """Return why a target must not be sent at all; None if it may be (within limits)."""
        if (refused := target_refusal(target, self.limits.dim)) is not None:
            return refused
        for span in self._spans:
            if target[span] @ target[span] < SHORTEST**2:
                found = target[span].round(3).tolist()
                return Refusal(
                    Why.NO_ORIENTATION, "a target's quaternion", found, problem="{value} is no orientation"
                )
        return None

    def apply(self, target: Vector, velocity: Vector) -> LimitedCommand | None:
        """As `SafetyFilter.apply`, of the entire vector."""
        if self.refusal(target) is not None:
            return None
        if self._whole:
            return self._fence.apply(target, velocity)
        output = self._fence.apply(target[self._plain], velocity[self._plain])
        if output is None:
            return output
        rates = self._rates.apply(target[self._moving])
        known = np.isfinite(velocity).all()
        found = [
            turn.apply(target[span], omega_of(target[span], velocity[span]) if known else np.zeros(3))
            for turn, span in zip(self._turns, self._spans, strict=True)
        ]
        return LimitedCommand(
            self._assemble(output.position, [turn.quaternion for turn in found], rates.value),
            self._assemble(
                output.velocity, [rate_of(turn.quaternion, turn.omega) for turn in found], rates.change
            ),
            output.position_clamped,
            output.velocity_clamped or rates.clamped or any(turn.too_fast for turn in found),
            output.acceleration_clamped or rates.too_sudden or any(turn.too_sudden for turn in found),
            output.slowed,
        )

    def brake(self) -> LimitedCommand:
        """The next command on the shortest path to rest; at rest, the last command again, bit for bit."""
        output = self._filter.brake()
        if self._whole:
            return output
        found, rates = [turn.brake() for turn in self._turns], self._rates.brake()
        return LimitedCommand(
            self._assemble(output.position, [turn.quaternion for turn in found], rates.value),
            self._assemble(
                output.velocity, [rate_of(turn.quaternion, turn.omega) for turn in found], rates.change
            ),
        )

    def path_to_rest(self) -> Vector:
        """The commands that `brake` would make from here on, up to the first that stands still, (n, dim), n >= 1."""
        plain = self._filter.path_to_rest()
        if self._whole:
            return plain
        turns, rates = [turn.path_to_rest() for turn in self._turns], self._rates.path_to_rest()
        count = max(len(plain), len(rates), *(len(turn) for turn in turns))
        way = np.empty((count, self.limits.dim))
        way[:, self._plain] = _pad(plain, count)
        way[:, self._moving] = _pad(rates, count)
        for turn, span in zip(turns, self._spans, strict=True):
            way[:, span] = _pad(turn, count)
        return way

    def normalise(self, position: Vector) -> Vector:
        """A mixture of commands (dim,), within position limits to the last bit, with quaternions of length 1."""
        position = np.clip(position, self.limits.lower, self.limits.upper)
        for span in self._spans:
            position[span] /= np.linalg.norm(position[span])
        return position

    def _assemble(self, plain: Vector, quaternions: Sequence[Vector | None], rates: Vector) -> Vector:
        if self._whole:
            return plain
        result = np.empty(self.limits.dim)
        result[self._plain], result[self._moving] = plain, rates
        for span, quaternion in zip(self._spans, quaternions, strict=True):
            result[span] = quaternion
        return result


def _pad(way: Vector, count: int) -> Vector:
    """(count, dim): the last row again and again."""
    return np.concatenate([way, np.repeat(way[-1:], count - len(way), axis=0)])
