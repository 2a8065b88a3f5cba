# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The task `feed_dog` as an environment: arm, joint_trajectory_controller, two cameras and the dog."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.resources import config_file
from hpt_ros.sim.environment import Outcome, PlannedExpert
from hpt_ros.sim.follower import TrajectoryFollower
from hpt_ros.sim.messages import Sample, stamped
from hpt_ros.sim.physics import VIDEO_QUALITY, Physics, Renderer, whole_steps
from hpt_ros.sim.tasks.feed_dog.disturbance import Disturbance
from hpt_ros.sim.tasks.feed_dog.task import FeedDogTask
from hpt_ros.sim.tasks.feed_dog.teleoperator import SCOOP, ScriptedTeleoperator
from hpt_ros.sim.trajectory import NS_PER_S, JointTrajectory
from hpt_ros.sim.transport import PERFECT, Transport, Transports

START_NS: Final = 10 * NS_PER_S  # time begins here; 0 would mean "no time yet" to other nodes
TICK_NS: Final = 10_000_000  # joint states: 100 Hz
CAMERA_NS: Final = 100_000_000  # cameras: 10 Hz
CAMERAS: Final = ("front", "wrist")
JOINT_STATES: Final = "joint_states"


class FeedDogEnvironment:
    """Scoop kibble from the bin and pour it into the dog's bowl, see `hpt_ros.sim.environment.Environment`.

    Args:
        images: what happens to the messages of both cameras; joint states arrive at once.
        disturbance_rad: standard deviation of the offsets between commanded and executed joint targets.
    """

    name = "feed_dog"
    version = "1"
    time_limit_s = 13.0  # half as long again as the slowest scripted demonstration takes

    def __init__(self, *, images: Transport = PERFECT, disturbance_rad: float = 0.0) -> None:
        """Build the scene, with its kibble at rest."""
        self.embodiment = Embodiment.load(config_file("embodiments/feed_dog.yaml"))
        self.instruction = self.embodiment.task
        self.physics = Physics()
        self.task = FeedDogTask(self.physics)
        self._tick_steps = whole_steps(
            TICK_NS / NS_PER_S, self.physics.timestep_s, what="period of joint_states"
        )
        self._follower = TrajectoryFollower(self.physics.joint_positions_rad, 1.0 / self.physics.timestep_s)
        self._transports = Transports({stream.topic: images for stream in self.embodiment.image_streams})
        self._disturbance_rad = disturbance_rad
        self._now_ns = START_NS
        self._selected: Collection[str] = self.embodiment.topics
        self._cameras: Renderer | None = None
        self._video: tuple[tuple[int, int], Renderer] | None = None
        self.reset(0)

    @property
    def now_ns(self) -> int:
        """Simulated time."""
        return self._now_ns

    def reset(self, seed: int) -> None:
        """Put the arm at its start, the kibble into the bin and the bowl at this seed's position."""
        self._now_ns += -self._now_ns % NS_PER_S  # so that cameras and ticks meet alike in every episode
        self.physics.start_clock(0.0)  # and whatever depends on time does, to the last bit
        self._seed = seed
        self.task.reset(seed)
        self._follower.reset(self.physics.joint_positions_rad)
        self._disturbance = Disturbance(self._disturbance_rad, seed)
        self._transports.reset(seed)

    def command(self, topic: str, message: Any) -> None:
        """Hand a trajectory_msgs/JointTrajectory to the arm's controller."""
        if topic != self.embodiment.action.topic:
            raise HptError(
                Code.UNSUPPORTED, "a command", topic,
                problem=f"was sent to {{value}}, but only {self.embodiment.action.topic!r} moves the arm",
                remedy="use it",
            )  # fmt: skip
        self._follower.command(self._now_ns, JointTrajectory.of(message))

    def select(self, topics: Collection[str]) -> None:
        """Render only the cameras whose topics are among these."""
        self._selected = frozenset(topics)

    def counters(self) -> Mapping[str, int]:
        """Return what happened to the commands, see `hpt_ros.sim.follower.FollowerCounters`."""
        return asdict(self._follower.counters)

    def advance(self, until_ns: int) -> list[Sample]:
        """Let time run in ticks of 10 ms."""
        while self._now_ns + TICK_NS <= until_ns:
            self._tick()
            self._measure()
        return self._transports.arrived(until_ns)

    def outcome(self) -> Outcome:
        """Return whether enough kibble rests in the bowl."""
        result = self.task.result()
        return Outcome(result.success, result.progress, result.detail)

    def expert(self) -> PlannedExpert:
        """Plan as the scripted teleoperator does, with the variation of the scene's seed."""
        start_rad = self.physics.joint_positions_rad
        teleoperator = ScriptedTeleoperator(self.task.bowl_xy_m, start_rad, seed=self._seed)
        return PlannedExpert(teleoperator.target, self._now_ns)

    def tool_jacobian(self, joints: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the Jacobian (6, 7) of the scoop's lip."""
        return SCOOP.pose_and_jacobian(joints)[1]

    def render(self, height: int, width: int) -> npt.NDArray[np.uint8]:
        """Return what the camera for people sees."""
        size = (height, width)
        if self._video is None or self._video[0] != size:
            if self._video is not None:
                self._video[1].close()
            self._video = size, Renderer(self.physics, height, width, VIDEO_QUALITY)
        return self._video[1].render("picture")

    def close(self) -> None:
        """Free the GL contexts."""
        for renderer in (self._cameras, self._video[1] if self._video else None):
            if renderer is not None:
                renderer.close()
        self._cameras = self._video = None

    def _tick(self) -> None:
        physics = self.physics
        offset = self._disturbance.step(TICK_NS / NS_PER_S, float(physics.site_position("scoop_lip")[2]))
        step_ns = TICK_NS // self._tick_steps
        for step in range(1, self._tick_steps + 1):
            target = self._follower.target(
                self._now_ns + step * step_ns, physics.joint_positions_rad, physics.joint_velocities_rad_s
            )
            physics.set_targets(target + offset)
            physics.step()
        self._follower.gave_up()  # counts it
        self._now_ns += TICK_NS

    def _measure(self) -> None:
        physics, now_ns = self.physics, self._now_ns
        joints = stamped(
            now_ns,
            name=list(physics.joint_names),
            position=physics.joint_positions_rad,
            velocity=physics.joint_velocities_rad_s,
            effort=physics.joint_efforts_nm,
        )
        self._transports.send(JOINT_STATES, joints, now_ns)
        if now_ns % CAMERA_NS:
            return
        self.task.animate()
        shown = [name for name in CAMERAS if image_topic(name) in self._selected]
        if shown and self._cameras is None:
            size = self.embodiment.image_streams[0].image
            assert size is not None
            self._cameras = Renderer(physics, size.height, size.width)
        for name in shown:
            assert self._cameras is not None
            pixels = self._cameras.render(name)
            height, width, _ = pixels.shape
            image = stamped(
                now_ns, f"{name}_camera_optical_frame", height=height, width=width, encoding="rgb8",
                is_bigendian=0, step=3 * width, data=pixels.reshape(-1),
            )  # fmt: skip
            self._transports.send(image_topic(name), image, now_ns)


def image_topic(camera: str) -> str:
    """Return the topic of a camera."""
    return f"{camera}_camera/image_raw"
