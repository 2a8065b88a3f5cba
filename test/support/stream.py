# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The real control room between a timer that is late and an arm that lags behind a model of its controller.

Lock step over injected time: one call of the timer after the other, and the robot's cycles in between.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from support.arm import Arm, ArmModel
from support.controlled_arm import ControlledArm
from support.forward_controller import ForwardController
from support.joint_trajectories import to_joint_trajectory

from hpt_ros.control import Command, ControlConfig, Controller, Limits, State, StreamRate
from hpt_ros.errors import Refusal
from hpt_ros.resources import config_file
from hpt_ros.sim.controllers import Release, TrajectoryController
from hpt_ros.sim.jtc_config import JtcConfig
from hpt_ros.sim.trajectory import JointTrajectory

Array = npt.NDArray[np.float64]
NS_PER_S = 1_000_000_000
START_NS = 1000 * NS_PER_S
TICK_S, HORIZON = 0.1, 16


@dataclass(frozen=True, slots=True)
class Plan:
    """What a policy wants: positions (N,) at a time in seconds, whatever the robot does meanwhile."""

    name: str
    at: Callable[[Array], Array]  # (H,) seconds to (H, N)


@dataclass(frozen=True, slots=True)
class Delays:
    """How long things take, in seconds; each message draws anew.

    Attributes:
        transport_s: of a command, and of a joint state; an exponential of a quarter of it comes on top.
        camera_s: from an exposure until its image is there; likewise.
        inference_s: of a chunk; likewise.
        lost: fraction of all messages to and from the node that never arrive.
    """

    transport_s: float = 0.001
    camera_s: float = 0.03
    inference_s: float = 0.03
    lost: float = 0.0


def shipped_controller(release: Release, joints: Sequence[str], **changes: Any) -> TrajectoryController:
    """joint_trajectory_controller with config/controllers/feed_dog.yaml, for other joints and with some changes."""
    config, rate_hz = JtcConfig.load(config_file("controllers/feed_dog.yaml"))
    first = {
        name: getattr(config, name)[0] for name in ("path_tolerance", "goal_tolerance", "max_deceleration")
    }
    config = dataclasses.replace(config, joints=tuple(joints), **{**first, **changes})
    return TrajectoryController(config, release, rate_hz)


class Stream:
    """One robot and its policy node's control room, from activation on.

    Args:
        controller: behind the node.
        arm: behind the controller.
        limits: of the commands.
        rate_hz: of commands.
        plan: of the policy.
        calls: times of the timer's calls, see `timer_traces.calls_ns`.
        delays: of messages and inference.
        config: of the control room.
        camera_hz, joints_hz: rates of the streams.
    """

    def __init__(
        self,
        controller: TrajectoryController | ForwardController,
        arm: ArmModel,
        limits: Limits,
        *,
        rate_hz: float,
        plan: Plan,
        calls: Iterator[int],
        delays: Delays | None = None,
        config: ControlConfig | None = None,
        camera_hz: float = 10.0,
        joints_hz: float = 100.0,
        seed: int = 0,
    ) -> None:
        self.delays, self.plan, self.limits = delays or Delays(), plan, limits
        self.names = tuple(f"joint{number}" for number in range(limits.lower.size))
        self.room = Controller(
            config or ControlConfig(), limits, self.names,
            (StreamRate("camera", camera_hz), StreamRate("joints", joints_hz)), rate_hz=rate_hz,
        )  # fmt: skip
        start = plan.at(np.zeros(1))[0]
        self.robot = ControlledArm(controller, Arm(arm, start, START_NS, seed), START_NS)
        self.sent: list[Command] = []
        self.stops: list[tuple[float, Refusal | None]] = []
        self._calls, self._rng = calls, np.random.default_rng(seed)
        self._arriving: list[tuple[int, int, str, int, Array | None]] = []
        self._number = itertools.count()
        self._periods_ns = {"camera": round(NS_PER_S / camera_hz), "joints": round(NS_PER_S / joints_hz)}
        self._due_ns = dict.fromkeys(self._periods_ns, START_NS)
        self._chunk: tuple[int, int] | None = None  # when it is there, and its tick
        self.room.activate()

    def run(self, seconds: float) -> Stream:
        """Go on until this time after the start."""
        until_ns = START_NS + round(seconds * NS_PER_S)
        for now_ns in self._calls:
            self._call(now_ns)
            if now_ns >= until_ns:
                break
        return self

    def _call(self, now_ns: int) -> None:
        self._measure(now_ns)
        for arrives_ns, _, name, stamp_ns, pose in sorted(self._arriving, key=lambda item: item[:2]):
            if arrives_ns <= now_ns:
                self.room.note_message(name, stamp_ns, now_ns)
                if pose is not None:
                    self.room.note_pose(pose, stamp_ns)
        self._arriving = [item for item in self._arriving if item[0] > now_ns]
        self._infer(now_ns)
        before = self.room.state
        command = self.room.step(now_ns)
        if before is State.RUNNING and self.room.state is not State.RUNNING:
            self.stops.append(((now_ns - START_NS) / NS_PER_S, self.room.activation.reason))
        if command is None:
            return
        self.sent.append(command)
        if self._lost():
            return
        message: Any = command.position
        if isinstance(self.robot.controller, TrajectoryController):
            message = JointTrajectory.of(to_joint_trajectory(command, self.names, now_ns))
            message = dataclasses.replace(message, names=self.robot.controller.config.joints)
        self.robot.send(message, now_ns + self._draw_ns(self.delays.transport_s))

    def _measure(self, now_ns: int) -> None:
        """The robot's life until now, and what its sensors say on the way."""
        while True:
            name = min(self._due_ns, key=lambda key: self._due_ns[key])
            stamp_ns = self._due_ns[name]
            if stamp_ns > now_ns:
                break
            self._due_ns[name] += self._periods_ns[name]
            self.robot.advance(stamp_ns)
            if self._lost():
                continue
            delay_s = self.delays.camera_s if name == "camera" else self.delays.transport_s
            pose = self.robot.arm.measured() if name == "joints" else None
            self._arriving.append(
                (stamp_ns + self._draw_ns(delay_s), next(self._number), name, stamp_ns, pose)
            )
        self.robot.advance(now_ns)

    def _infer(self, now_ns: int) -> None:
        if self._chunk is not None and now_ns >= self._chunk[0]:
            tick_ns, self._chunk = self._chunk[1], None
            times = (tick_ns - START_NS) / NS_PER_S + TICK_S * np.arange(HORIZON, dtype=np.float64)
            self.room.take_chunk(tick_ns, TICK_S, self.plan.at(times), now_ns)
        if self._chunk is None and self.room.wants_chunk(now_ns):
            tick_ns = now_ns - (now_ns - START_NS) % round(TICK_S * NS_PER_S)
            self._chunk = (now_ns + self._draw_ns(self.delays.inference_s), tick_ns)

    def _draw_ns(self, mean_s: float) -> int:
        return round((mean_s + self._rng.exponential(mean_s / 4.0)) * NS_PER_S)

    def _lost(self) -> bool:
        return bool(self.delays.lost) and self._rng.random() < self.delays.lost
