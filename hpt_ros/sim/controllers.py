# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Models of the controllers that a robot runs behind us, with time as an argument: what they tell the motors.

`TrajectoryController` is joint_trajectory_controller with a position command interface, written after reading
https://github.com/ros-controls/ros2_controllers (joint_trajectory_controller.cpp, trajectory.cpp, tolerances.hpp,
*_parameters.yaml) in 2.54.0 (Humble), 4.42.1 (Jazzy), 5.17.0 (Kilted) and 6.9.0 (Rolling, August 2026). What differs
between them is `Release`:

- Humble samples at the time of the cycle and enters a new trajectory, with open_loop_control, from the last command
  as if it were due now, so that one command is repeated at each message.
- 4.17.0 samples one cycle ahead (pull request 1306) and 4.21.0 enters from the last command at the time of the cycle
  in which it was made (780). Both together (Jazzy, Kilted, Rolling): the last command was made for one cycle later
  than it is entered at, so the first cycle of each message moves twice as far, unless the message itself covers the
  present moment.
- 6.8.0 (2401) blends a new trajectory into a running one of several points. A stamp that is not in the future then
  counts as "now": the new points are shifted by the message's age, and one command is repeated.

scaled_joint_trajectory_controller (ur_controllers 3.8.0) is the same with a speed scaling of the hardware, which
4.39.0 has too: `TrajectoryController.speed_scaling`.

Not modelled: other command interfaces and their PID loops, action goals, trajectories without positions, and
positions_upsampling (after 6.9.0; it leaves messages with velocities as they are).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hpt_ros.errors import Code, HptError, Refusal
from hpt_ros.sim.jtc_config import JtcConfig
from hpt_ros.sim.trajectory import (
    NS_PER_S,
    Array,
    JointState,
    JointTrajectory,
    SampledTrajectory,
    TrajectoryPoint,
)

_NO_VELOCITY: Final = float(np.finfo(np.float32).eps)  # the controller's own threshold of rest


@dataclass(frozen=True, slots=True)
class Release:
    """How a version of joint_trajectory_controller samples.

    Attributes:
        looks_ahead: commands what is due one cycle later (since 4.17.0).
        enters_at_last_cycle: enters a trajectory from the last command at the time of that command's cycle (since
            4.21.0), otherwise at the present one.
        blends: joins a new trajectory to a running one (since 6.8.0), if `allow_trajectory_replacement`.
    """

    looks_ahead: bool = True
    enters_at_last_cycle: bool = True
    blends: bool = False


HUMBLE: Final = Release(looks_ahead=False, enters_at_last_cycle=False)
JAZZY: Final = Release()  # Kilted too
ROLLING: Final = Release(blends=True)
RELEASES: Final = {"humble": HUMBLE, "jazzy": JAZZY, "kilted": JAZZY, "rolling": ROLLING}


class TrajectoryController:
    """joint_trajectory_controller: call `update` once per cycle; `receive` takes messages between cycles.

    Args:
        config: its parameters.
        release: which version it is.
        rate_hz: of the controller manager.

    Attributes:
        speed_scaling: how fast the trajectory's time passes; a robot's speed slider.
        events: (time_ns, what) of each time that it gave up a trajectory and held.
        accelerations: (N,) of the interpolated curve at the last command.
    """

    def __init__(self, config: JtcConfig, release: Release = JAZZY, rate_hz: float = 500.0) -> None:
        self.config, self.release = config, release
        self.period_ns = round(NS_PER_S / rate_hz)
        self.speed_scaling = 1.0
        self.events: list[tuple[int, str]] = []
        self.accelerations: Array = np.zeros(len(config.joints))
        self._wraps = np.array([joint in config.continuous for joint in config.joints])
        self._any_wraps = bool(self._wraps.any())
        self._path_tolerance = np.asarray(config.path_tolerance).tolist()
        self._goal_tolerance = np.asarray(config.goal_tolerance).tolist()
        self._command: Array | None = None  # of the command interfaces: None until something was commanded
        self._pending: JointTrajectory | None = None  # taken at the next cycle
        self._active = False

    # --- life --------------------------------------------------------------------------------------------------------

    def activate(self, position: Array, velocity: Array | None = None) -> None:
        """Hold the last command, or the measured position (N,) if there never was one."""
        start = position if self._command is None else self._command
        self._measured = JointState(np.array(start), velocity)
        self._last = self._measured
        self._last_ns = 0
        self._trajectory: SampledTrajectory | None = None
        self._hold(self._measured.positions)
        self._traj_ns, self._cycle_ns, self._desired, self._active = 0, 0, self._measured, True

    def deactivate(self) -> None:
        """Take no messages and command nothing; the last command stays."""
        self._active = False

    # --- messages ----------------------------------------------------------------------------------------------------

    def receive(self, message: JointTrajectory, now_ns: int) -> Refusal | None:
        """Take a message; returns why it is refused, None if it is not.

        Args:
            message: replaces what is under way at the next cycle.
            now_ns: on the controller's clock.
        """
        if not self._active:
            return Refusal(Code.NOT_READY, "the controller", problem="is not active")
        if (refused := self._refusal(message, now_ns)) is not None:
            return refused
        self._pending, self._holding = message, False
        return None

    def _refusal(self, message: JointTrajectory, now_ns: int) -> Refusal | None:
        """What `validate_trajectory_msg` of the controller checks, in its order."""
        config, names = self.config, message.names
        if not config.allow_partial_joints_goal and len(names) != len(config.joints):
            return _wrong(
                Code.WRONG_SHAPE, f"{len(names)} joints, but the controller has {len(config.joints)}"
            )
        if not names:
            return _wrong(Code.MISSING, "no joint names")
        if not message.points:
            return _wrong(Code.MISSING, "no points")
        for name in names:
            if name not in config.joints:
                return Refusal(Code.UNKNOWN, "joint", name, problem="{value} is none of the controller's")
        end = message.points[-1].state.velocities
        if not config.allow_nonzero_velocity_at_trajectory_end and end is not None:
            fast = np.flatnonzero(np.abs(end) > _NO_VELOCITY)
            if fast.size:
                return Refusal(
                    Code.OUT_OF_RANGE, f"velocity {end[fast[0]]:g} of {names[fast[0]]} at the last point",
                    problem="is not zero",
                )  # fmt: skip
        if message.stamp_ns != 0 and message.stamp_ns + message.duration_ns < now_ns:
            late_s = (now_ns - message.stamp_ns - message.duration_ns) / NS_PER_S
            return Refusal(Code.TIMEOUT, "the trajectory", late_s, problem=f"ends {late_s:.4f} s in the past")
        earlier_ns = 0
        for index, point in enumerate(message.points):
            if index and point.time_from_start_ns <= earlier_ns:
                return Refusal(
                    Code.INVALID, f"the times of points {index - 1} and {index}", problem="do not increase"
                )
            earlier_ns = point.time_from_start_ns
            for what in ("positions", "velocities", "accelerations"):
                values = getattr(point.state, what)
                if values is not None and values.size != len(names):
                    wrong = f"{values.size} {what} for {len(names)} joints at point {index}"
                    return _wrong(Code.WRONG_SHAPE, wrong)
        return None

    # --- once per cycle ----------------------------------------------------------------------------------------------

    def update(self, now_ns: int, position: Array, velocity: Array | None = None) -> Array:
        """The command (N,) of this cycle.

        Args:
            now_ns: of the controller's clock; a cycle is `period_ns`.
            position: (N,) measured.
            velocity: (N,) measured; None: the hardware has no velocity interface.
        """
        if self._pending is not None:
            self._install(self._pending, now_ns)
            self._pending = None
        self._measured = JointState(np.array(position), velocity)
        trajectory = self._trajectory
        assert trajectory is not None
        first = not trajectory.sampled
        if first:
            self._enter(trajectory, now_ns)
            self._traj_ns = now_ns
        else:
            self._traj_ns += round((now_ns - self._cycle_ns) * self.speed_scaling)
        self._cycle_ns = now_ns
        desired = trajectory.sample(self._traj_ns)
        if desired is not None:
            self._desired = desired[0]
        ahead_ns = self.period_ns if self.release.looks_ahead else 0
        following = trajectory.sample(self._traj_ns + ahead_ns)
        if following is not None:
            self._follow(trajectory, *following, now_ns, first=first)
        assert self._command is not None
        return self._command

    def _install(self, message: JointTrajectory, now_ns: int) -> None:
        config, running = self.config, self._trajectory
        if (
            self.release.blends
            and config.allow_trajectory_replacement
            and running is not None
            and len(running.points) > 1
            and not self._holding
        ):
            message = self._blend(message, running, now_ns)
        else:
            message = self._in_order(message, self._current_state())
        self._trajectory = SampledTrajectory(message, splines=config.splines, period_ns=self.period_ns)

    def _enter(self, trajectory: SampledTrajectory, now_ns: int) -> None:
        if not self.config.interpolate_from_desired_state:
            trajectory.enter(now_ns, self._measured, self._wraps)
            return
        if not self.release.enters_at_last_cycle or self._last_ns == 0:
            self._last_ns = now_ns
        trajectory.enter(self._last_ns, self._last, self._wraps)

    def _follow(
        self, trajectory: SampledTrajectory, command: JointState, number: int, now_ns: int, *, first: bool
    ) -> None:
        """Write the command if the tolerances permit it, and give the trajectory up if they, or the timeout, say so."""
        config = self.config
        before_end = number < len(trajectory.points)
        since_s = 0.0
        if not before_end:
            end_ns = trajectory.start_ns + trajectory.points[-1].time_from_start_ns
            since_s = (self._traj_ns - end_ns) / NS_PER_S
            if not self._holding and 0.0 < config.active_cmd_timeout_s < since_s:
                self._give_up(now_ns, "cmd_timeout")
        # As the controller does, holding is looked at after the timeout, which sets it.
        if not self._holding:
            violated = (before_end or first) and self._beyond(self._path_tolerance)
            overdue = 0.0 < config.goal_time_s < since_s and self._beyond(self._goal_tolerance)
            if violated or overdue:
                self._give_up(now_ns, "path tolerance" if violated else "goal_time")
                return
        self._command = command.positions
        accelerations = command.accelerations
        self.accelerations = np.zeros(len(config.joints)) if accelerations is None else accelerations
        self._last, self._last_ns = command, now_ns

    def _beyond(self, tolerance: Sequence[float]) -> bool:
        """Whether a joint is further away from where it is to be than a tolerance (N,) that is not 0."""
        error = self._desired.positions - self._measured.positions
        if self._any_wraps:
            error = np.where(self._wraps, np.remainder(error + np.pi, 2.0 * np.pi) - np.pi, error)
        # Of seven numbers quicker than NumPy.
        return any(0.0 < most < abs(away) for away, most in zip(error.tolist(), tolerance, strict=True))

    # --- holding -----------------------------------------------------------------------------------------------------

    def _give_up(self, now_ns: int, what: str) -> None:
        self.events.append((now_ns, what))
        if self.config.decelerates:
            self._decelerate()
        else:
            self._hold(self._measured.positions)

    def _hold(self, positions: Array) -> None:
        """At the next cycle, at once and from wherever the command is, go to the measured position and stay."""
        zero = np.zeros_like(positions)
        point = TrajectoryPoint(0, JointState(positions, zero))
        self._pending = JointTrajectory(0, self.config.joints, (point,))
        self._holding = True

    def _decelerate(self) -> None:
        """From the measured state, brake each joint at its constant deceleration (`decelerate_on_cancel`)."""
        limit, position = self.config.max_deceleration, self._measured.positions
        velocity = self._measured.velocities
        if velocity is None:
            raise HptError(
                Code.EMPTY, "decelerate_on_cancel",
                problem="needs measured velocities, but the hardware gives none",
                remedy="add velocity to the controller's state_interfaces",
            )  # fmt: skip
        stop_s, sign = np.abs(velocity) / limit, np.where(velocity >= 0.0, 1.0, -1.0)
        rest = position + sign * velocity**2 / (2.0 * limit)
        points = []
        for number in range(int(np.ceil(stop_s.max() * NS_PER_S / self.period_ns)) + 1):
            t = number * self.period_ns / NS_PER_S
            moving = (t < stop_s) & (np.abs(velocity) > _NO_VELOCITY)
            state = JointState(
                np.where(moving, position + velocity * t - 0.5 * sign * limit * t**2, rest),
                np.where(moving, velocity - sign * limit * t, 0.0),
                np.where(moving, -sign * limit, 0.0),
            )
            points.append(TrajectoryPoint(number * self.period_ns, state))
        self._pending = JointTrajectory(0, self.config.joints, tuple(points))
        self._holding = True

    # --- joints ------------------------------------------------------------------------------------------------------

    def _current_state(self) -> Array:
        return self._measured.positions if self._command is None else self._command

    def _in_order(self, message: JointTrajectory, missing: Array | Sequence[JointState]) -> JointTrajectory:
        """The message with all joints in the controller's order.

        `missing` has what joints do that the message omits: positions (N,) at which they rest, or a state for each
        point.
        """
        names = message.names
        if names == self.config.joints:
            return message
        column = [names.index(joint) if joint in names else -1 for joint in self.config.joints]
        given = np.array([index >= 0 for index in column])

        def take(values: Array | None, default: Array | None) -> Array | None:
            if values is None:
                return None
            return np.where(given, values[column], np.zeros(len(column)) if default is None else default)

        points = []
        for number, point in enumerate(message.points):
            rest = missing[number] if not isinstance(missing, np.ndarray) else JointState(missing)
            positions = take(point.state.positions, rest.positions)
            assert positions is not None
            state = JointState(
                positions,
                take(point.state.velocities, rest.velocities),
                take(point.state.accelerations, rest.accelerations),
            )
            points.append(TrajectoryPoint(point.time_from_start_ns, state))
        return dataclasses.replace(message, names=self.config.joints, points=tuple(points))

    def _blend(self, message: JointTrajectory, running: SampledTrajectory, now_ns: int) -> JointTrajectory:
        """The new trajectory joined to the running one, from where that one is (6.8.0).

        The running one's cursor is that of the last cycle, and the result starts at it in the present cycle.
        """
        cursor_ns, joints = self._traj_ns, self.config.joints
        start_ns = cursor_ns
        if message.stamp_ns > now_ns:
            start_ns += round((message.stamp_ns - now_ns) * self.speed_scaling)
        bridge = running.sample(start_ns)
        olds = [running.sample(start_ns + point.time_from_start_ns) for point in message.points]
        rest = JointState(self._current_state())
        names = message.names
        message = self._in_order(message, [rest if old is None else old[0] for old in olds])
        shift_ns = start_ns - cursor_ns
        points = [
            TrajectoryPoint(point.time_from_start_ns + shift_ns, point.state) for point in message.points
        ]
        old_points = [
            TrajectoryPoint(running.start_ns + point.time_from_start_ns - cursor_ns, point.state)
            for point in running.points
        ]
        prefix = [point for point in old_points if 0 < point.time_from_start_ns < shift_ns]
        if bridge is not None and shift_ns < points[0].time_from_start_ns:
            prefix.append(TrajectoryPoint(shift_ns, bridge[0]))
        given = np.array([joint in names for joint in joints])
        suffix = []
        if not given.all():
            suffix = [
                TrajectoryPoint(point.time_from_start_ns, _resting(point.state, given, points[-1].state))
                for point in old_points
                if point.time_from_start_ns > points[-1].time_from_start_ns
            ]
        return JointTrajectory(0, joints, (*prefix, *points, *suffix))


def _resting(state: JointState, which: npt.NDArray[np.bool_], at: JointState) -> JointState:
    """The state with the joints in `which` at rest where `at` has them."""

    def still(values: Array | None) -> Array | None:
        return None if values is None else np.where(which, 0.0, values)

    return JointState(
        np.where(which, at.positions, state.positions), still(state.velocities), still(state.accelerations)
    )


def _wrong(code: Code, has: str) -> Refusal:
    return Refusal(code, "the trajectory", problem=f"has {has}")
