# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Simulated robots: an arm with its drawing, its cameras, its controller, and the embodiment file that says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from hpt_ros.sim.arm import Arm, ToolKinematics
from hpt_ros.sim.follower import TrajectoryFollower
from hpt_ros.sim.messages import Message
from hpt_ros.sim.panda import PANDA
from hpt_ros.sim.pose_commands import PoseCommands
from hpt_ros.sim.trajectory import JointTrajectory
from hpt_ros.sim.ur5e import UR5E

Array = npt.NDArray[np.float64]


class ArmController(Protocol):
    """What drives the joints: it takes commands and has a target for each cycle."""

    def reset(self, hold_rad: Array) -> None:
        """Forget all commands and hold these joint angles (N,)."""
        ...

    def command(self, now_ns: int, message: Any) -> None:
        """Take a command.

        Raises:
            HptError: it is refused; what was commanded before goes on.
        """
        ...

    def target(self, now_ns: int, position_rad: Array, velocity_rad_s: Array) -> Array:
        """Return the joint targets (N,) of the cycle at `now_ns`, from what is measured (N,)."""
        ...

    def action(self, joints_rad: Array) -> Array:
        """Return the embodiment's action (dim,) that means these joint angles (N,)."""
        ...

    def counts(self) -> Mapping[str, int]:
        """Return what became of its commands, by name; all but "accepted" are of what should not happen."""
        ...

    def measure(self, now_ns: int, joints_rad: Array) -> Mapping[str, Message]:
        """Return what it publishes beside joint states, by topic."""
        ...


class JointCommands:
    """Joint trajectories, for joint_trajectory_controller; see `ArmController`."""

    def __init__(self, kinematics: ToolKinematics, hold_rad: Array, rate_hz: float) -> None:
        """Hold these joint angles (N,)."""
        del kinematics  # commands are joint angles
        self.follower = TrajectoryFollower(hold_rad, rate_hz)

    def reset(self, hold_rad: Array) -> None:
        """Forget all messages and hold these joint angles (N,)."""
        self.follower.pop_reason()  # counts what this controller gave up
        self.follower.reset(hold_rad)

    def command(self, now_ns: int, message: Any) -> None:
        """Take a trajectory_msgs/JointTrajectory."""
        self.follower.command(now_ns, JointTrajectory.of(message))

    def target(self, now_ns: int, position_rad: Array, velocity_rad_s: Array) -> Array:
        """Return the targets (N,) of the cycle, rad."""
        return self.follower.target(now_ns, position_rad, velocity_rad_s)

    def counts(self) -> Mapping[str, int]:
        """Return those of `hpt_ros.sim.follower.FollowerCounters`."""
        self.follower.pop_reason()  # counts it
        return asdict(self.follower.counters)

    def action(self, joints_rad: Array) -> Array:
        """Return the angles."""
        return joints_rad

    def measure(self, now_ns: int, joints_rad: Array) -> Mapping[str, Message]:
        """Return nothing."""
        return {}


@dataclass(frozen=True, slots=True)
class Robot:
    """An arm with what belongs to it.

    Attributes:
        arm: its joints.
        parts: what `arm.xml`, `motors.xml` and `cameras.xml` of a scene are: names of files in `hpt_ros/sim/parts`.
        cameras: names of the policy's cameras; NAME_camera/image_raw is the topic of each.
        embodiment: name of the shipped file.
        controller: makes its controller from kinematics, joint angles to hold and the rate of its cycles in Hz.
    """

    arm: Arm
    parts: Mapping[str, str]
    cameras: tuple[str, ...]
    embodiment: str
    controller: Callable[[ToolKinematics, Array, float], ArmController]


PANDA_ROBOT: Final = Robot(
    PANDA,
    MappingProxyType(
        {"arm.xml": "panda.xml", "motors.xml": "panda_motors.xml", "cameras.xml": "cameras_front.xml"}
    ),
    ("front", "wrist"),
    "feed_dog",
    JointCommands,
)

UR5E_ROBOT: Final = Robot(
    UR5E,
    MappingProxyType(
        {"arm.xml": "ur5e.xml", "motors.xml": "ur5e_motors.xml", "cameras.xml": "cameras_side.xml"}
    ),
    ("side", "top"),
    "sim_ur5e",
    PoseCommands,
)
