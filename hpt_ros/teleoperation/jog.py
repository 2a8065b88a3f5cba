# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Velocities to commands of any robot, within the limits of its embodiment file. No IO, time is an argument."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control import Command, ControlConfig
from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.control.limiter import CommandLimiter
from hpt_ros.control.orientation_limits import rate_of, rotate
from hpt_ros.control.plan import MotionPlan
from hpt_ros.control.safety import Limits
from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.kinds import BASE_VELOCITY, JOINTS
from hpt_ros.embodiment.output import OutputSlice
from hpt_ros.teleoperation.devices import TWIST, Wish

Floats = NDArray[np.float64]
# Of a tool whose robot is commanded by its joints: 250 mm/s is the reduced speed of ISO 10218-1 (2011), 5.6.2; the
# rotation is our choice.
TOOL_M_S: Final = 0.25
TOOL_RAD_S: Final = 1.0
# Damping of least squares where the arm is near a singularity, as Nakamura and Hanafusa (1986) have it, m; our choice.
DAMPING: Final = 0.03
SPEEDS: Final = (0.1, 0.25, 0.5, 1.0)  # ratios of the limits that a person chooses from
BASE_AXES: Final = {
    "vx": 0,
    "vy": 1,
    "wz": 5,
}  # what a base commands, and the part of the twist that it follows
Tool = Callable[[Floats], Floats]  # joint angles (n,) to the tool's Jacobian (6, n), linear over angular


def joint_rates(jacobian: Floats, twist: Floats, limits: Floats) -> Floats:
    """Return joint velocities (n,) that move a tool with a twist (6,), by damped least squares.

    All of them are slowed alike where one would pass its limit, so the tool keeps its direction.

    Args:
        jacobian: (6, n), linear over angular.
        twist: in m/s and rad/s.
        limits: (n,) largest velocities.
    """
    square = jacobian @ jacobian.T + DAMPING**2 * np.eye(TWIST)
    rates = jacobian.T @ np.linalg.solve(square, twist)
    return np.asarray(rates / max(1.0, float(np.max(np.abs(rates) / limits))))


@dataclass(slots=True)
class Choice:
    """What the keys move.

    Attributes:
        speed: index into `SPEEDS`.
        part: of the robot's outputs, which of those that can be moved.
        joint: of the part's joints, which the joint keys move.
    """

    speed: int = 1
    part: int = 0
    joint: int = 0


class Jog:
    """Moves one robot. Commands are what the policy node sends: a curve within the limits that ends at rest.

    Attributes:
        choice: what is moved, and how fast.
        period_ns: of commands.
    """

    def __init__(self, robot: Embodiment, tool: Tool | None = None) -> None:
        """Make it, with no pose yet.

        Args:
            robot: whose limits hold.
            tool: gives the Jacobian of its tool, where the robot is commanded by joints and that is known.

        Raises:
            HptError: the embodiment leaves a limit to a URDF.
        """
        space = robot.space
        found = space.limits
        self.robot, self.choice = robot, Choice()
        self._tool, self._space = tool, space
        self.period_ns = round(NS_PER_S / robot.action.rate_hz)
        self._limits = Limits(
            found.lower, found.upper, found.velocity, found.acceleration, found.jerk, space.rates
        )
        apart = np.array([name in robot.action.grippers for name in space.names], dtype=bool)
        self._grippers = np.flatnonzero(apart)
        apart[list(space.rates)] = True
        config = ControlConfig()
        self._limiter = CommandLimiter(
            self._limits, self.period_ns / NS_PER_S, apart, turns=space.turns, workspace=config.workspace
        )
        lead_ns = self.period_ns + round(config.lead_margin_s * NS_PER_S)
        self._plan = MotionPlan(
            self._limiter, self.period_ns, lead_ns, self._limits.taps(self.period_ns / NS_PER_S)
        )
        self._gripper = 0  # where it goes: 1 open, -1 closed, 0 nowhere

    @property
    def parts(self) -> tuple[OutputSlice, ...]:
        """What there is to choose from: outputs that are more than a gripper."""
        return tuple(part for part in self._space.parts if self._joints(part))

    @property
    def part(self) -> OutputSlice:
        """The one that is chosen."""
        return self.parts[self.choice.part % len(self.parts)]

    @property
    def moves_tool(self) -> bool:
        """Whether the twist moves the chosen part; else only single joints move."""
        return self.part.output.kind not in JOINTS or self._tool is not None

    def joint_names(self) -> tuple[str, ...]:
        """Joints of the chosen part that the joint keys move, in their order; none of a tool or a base."""
        if self.part.output.kind not in JOINTS:
            return ()
        return tuple(self._space.names[index] for index in self._joints(self.part))

    def begin(self, now_ns: int, measured: Floats) -> None:
        """Begin at rest where the robot is, (dim,) of the control vector."""
        self._plan.begin(now_ns, measured)
        self._gripper = 0

    def step(self, now_ns: int, wish: Wish) -> Command:
        """Return the command of one period, on which the robot goes as the person wishes, or comes to rest."""
        self._plan.catch_up(now_ns)
        while self._plan.due(now_ns):
            self._move(wish)
            self._plan.extend()
        curve = self._plan.curve()
        time_ns = now_ns + self.period_ns
        here = curve.at(time_ns)
        return Command(time_ns, here.position, here.velocity, curve, now_ns)

    def _move(self, wish: Wish) -> None:
        """Move the target by one period, and the limiter after it."""
        here = self._limiter.position
        assert here is not None
        if wish.gripper:
            self._gripper = wish.gripper
        ends = self._limits.upper if self._gripper > 0 else self._limits.lower
        if not self._gripper or np.array_equal(here[self._grippers], ends[self._grippers]):
            self._gripper = 0
        if not self._gripper and not any(wish.twist) and not wish.joint:
            self._limiter.brake()
            return
        # From what the limiter let through, so that the target is never further ahead than one period's motion.
        target, velocity = np.array(here), np.zeros(len(here))
        dt_s, part = self.period_ns / NS_PER_S, self.part
        speed = SPEEDS[self.choice.speed]
        twist = np.array(wish.twist) * speed
        target[list(self._space.rates)] = 0.0
        if part.output.kind == BASE_VELOCITY:
            self._drive(target, twist, part)
        elif part.output.cartesian:
            self._shift(target, velocity, twist, part.control.start, dt_s)
        else:
            rates = self._joint_rates(here, twist, wish.joint * speed, part)
            velocity += rates
            target += rates * dt_s
        if self._gripper:
            target[self._grippers] = ends[self._grippers]
        self._limiter.apply(np.clip(target, self._limits.lower, self._limits.upper), velocity)

    def _joints(self, part: OutputSlice) -> list[int]:
        """Where in the control vector the joints of a part are that a person jogs."""
        if part.output.kind not in JOINTS:
            return list(range(part.control.start, part.control.stop))
        return [
            index for index in range(part.control.start, part.control.stop) if index not in self._grippers
        ]

    def _joint_rates(self, here: Floats, twist: Floats, joint: float, part: OutputSlice) -> Floats:
        most = self._limits.velocity
        arm = self._joints(part)
        rates = np.zeros(len(here))
        if joint and arm:
            chosen = arm[self.choice.joint % len(arm)]
            rates[chosen] = joint * most[chosen]
        elif self._tool is not None and twist.any():
            scaled = twist * np.repeat([TOOL_M_S, TOOL_RAD_S], 3)
            rates[arm] = joint_rates(self._tool(here[arm]), scaled, most[arm])
        return rates

    def _shift(self, target: Floats, velocity: Floats, twist: Floats, start: int, dt_s: float) -> None:
        """Move a pose: position, then quaternion."""
        span, turn = slice(start, start + 3), slice(start + 3, start + 7)
        linear, angular = (
            twist[:3] * self._limits.velocity[span],
            twist[3:] * self._limits.velocity[start + 3],
        )
        velocity[span], velocity[turn] = linear, rate_of(target[turn], angular)
        target[span] += linear * dt_s
        target[turn] = rotate(target[turn], angular * dt_s)

    def _drive(self, target: Floats, twist: Floats, part: OutputSlice) -> None:
        """Set a base's velocities, of the axes that it has."""
        for index, name in enumerate(part.output.limited, start=part.control.start):
            wanted = twist[BASE_AXES[name.rpartition(".")[2]]]
            target[index] = wanted * (self._limits.upper if wanted > 0.0 else -self._limits.lower)[index]
