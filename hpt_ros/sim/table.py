# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A task at the arm's table as an environment: a robot with its controller and cameras, and the task's scene."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.sim.arm import ToolKinematics
from hpt_ros.sim.disturbance import Disturbance
from hpt_ros.sim.environment import Outcome, PlannedExpert
from hpt_ros.sim.messages import NS_PER_S, Sample, stamped
from hpt_ros.sim.movement import STANDARD_SPREAD
from hpt_ros.sim.physics import VIDEO_QUALITY, Renderer, whole_steps
from hpt_ros.sim.robots import Robot
from hpt_ros.sim.surroundings import Surroundings
from hpt_ros.sim.table_task import TableTask, table_physics
from hpt_ros.sim.transport import PERFECT, Transport, Transports
from hpt_ros.sim.variation import STANDARD, Variation

START_NS: Final = 10 * NS_PER_S  # time begins here; 0 would mean "no time yet" to other nodes
TICK_NS: Final = 10_000_000  # joint states: 100 Hz
CAMERA_NS: Final = 100_000_000  # cameras: 10 Hz
JOINT_STATES: Final = "joint_states"


class TableEnvironment:
    """See `hpt_ros.sim.environment.Environment`; a subclass says which task and which robot.

    Attributes:
        task_type: what is to be done.
        robot: that does it.

    Args:
        images: what happens to the messages of all cameras.
        disturbance_rad: standard deviation of the offsets between commanded and executed joint targets.
        variation: how far scenes differ.
        transports: what happens to the messages of streams, by name; instead of `images` for a camera's.

    Raises:
        HptError: there is no such stream.
    """

    task_type: ClassVar[type[TableTask]]
    robot: ClassVar[Robot]
    name: str
    version: str
    time_limit_s: float
    instruction: str

    def __init_subclass__(cls) -> None:
        """Take from the task what an environment has from it."""
        task = cls.task_type
        cls.version, cls.time_limit_s, cls.instruction = task.version, task.time_limit_s, task.instruction

    def __init__(
        self,
        *,
        images: Transport = PERFECT,
        disturbance_rad: float = 0.0,
        variation: Variation = STANDARD,
        transports: Mapping[str, Transport] | None = None,
    ) -> None:
        """Build the scene."""
        task, robot = self.task_type, self.robot
        self.embodiment = replace(Embodiment.load(robot.embodiment), name=self.name, task=self.instruction)
        self.physics = table_physics(task, robot, variation)
        self._kinematics = ToolKinematics(robot.arm, task.tool_in_flange)
        self._surroundings = Surroundings(self.physics, variation, robot.cameras, task.coloured)
        self.task = task(self.physics, self._kinematics, variation)
        self._tick_steps = whole_steps(
            TICK_NS / NS_PER_S, self.physics.timestep_s, what="period of joint_states"
        )
        self.controller = robot.controller(
            self._kinematics, self.physics.joint_positions_rad, 1.0 / self.physics.timestep_s
        )
        self._transports = Transports(self._by_topic(images, transports or {}))
        self._disturbance_rad = disturbance_rad
        self._now_ns = START_NS
        self._selected: Collection[str] = self.embodiment.topics
        self._cameras: Renderer | None = None
        self._video: tuple[tuple[int, int], Renderer] | None = None
        self.reset(0)

    def _by_topic(self, images: Transport, transports: Mapping[str, Transport]) -> dict[str, Transport]:
        topics = {stream.name: stream.topic for stream in self.embodiment.streams}
        for stream in transports:
            if stream not in topics:
                raise HptError(
                    Code.UNKNOWN, f"a stream of the environment {self.name!r}", stream, known=topics
                )
        found = {stream.topic: images for stream in self.embodiment.image_streams}
        return found | {topics[stream]: transport for stream, transport in transports.items()}

    @property
    def now_ns(self) -> int:
        """Simulated time."""
        return self._now_ns

    def reset(self, seed: int) -> None:
        """Put the arm at its start and everything where this seed has it."""
        self._now_ns += -self._now_ns % NS_PER_S  # so that cameras and ticks meet alike in every episode
        self.physics.start_clock(0.0)  # and whatever depends on time does, to the last bit
        self._seed = seed
        self._unplanned = ""
        self.task.reset(seed)
        self._surroundings.reset(seed, self.task.keep_out())
        self.physics.settle()
        self.controller.reset(self.physics.joint_positions_rad)
        self._disturbance = Disturbance(self._disturbance_rad, seed, self.robot.arm.dof)
        self._transports.reset(seed)

    def command(self, topic: str, message: Any) -> None:
        """Hand a command to the arm's controller."""
        (output,) = self.embodiment.action.parts
        if topic != output.topic:
            raise HptError(
                Code.UNSUPPORTED, "a command", topic,
                problem=f"was sent to {{value}}, but only {output.topic!r} moves the arm",
                remedy="use it",
            )  # fmt: skip
        self.controller.command(self._now_ns, message)

    def select(self, topics: Collection[str]) -> None:
        """Render only the cameras whose topics are among these."""
        self._selected = frozenset(topics)

    def counters(self) -> Mapping[str, int]:
        """Return what happened to the commands since it was made, by name."""
        return self.controller.counts()

    def advance(self, until_ns: int) -> list[Sample]:
        """Let time run in ticks of 10 ms."""
        while self._now_ns + TICK_NS <= until_ns:
            self._tick()
            self._measure()
        return self._transports.arrived(until_ns)

    def outcome(self) -> Outcome:
        """Return how the task stands, and why the expert has no plan if it has none."""
        outcome = self.task.result()
        if self._unplanned:
            return replace(outcome, detail=f"{outcome.detail}; the expert has no plan: {self._unplanned}")
        return outcome

    def expert(self) -> PlannedExpert:
        """Plan as the scripted teleoperator does, with the variation of the scene's seed.

        A scene whose plan the arm cannot follow is one that the expert fails: it stays where it is, and the outcome
        says why. A wide `area` draws such scenes now and then; drawing them again would change what others run.
        """
        start_rad = self.physics.joint_positions_rad
        try:
            target = self.task.teleoperator(start_rad, self._seed, STANDARD_SPREAD).target
        except HptError as error:
            self._unplanned = str(error)
            return PlannedExpert(lambda _: self.controller.action(start_rad), self._now_ns)
        return PlannedExpert(lambda time_s: self.controller.action(target(time_s)), self._now_ns)

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
        offset = None
        if self._disturbance_rad:
            height_m = float(physics.site_position(self.task.tool_site)[2])
            offset = self._disturbance.step(TICK_NS / NS_PER_S, height_m)
        step_ns = TICK_NS // self._tick_steps
        for step in range(1, self._tick_steps + 1):
            target = self.controller.target(
                self._now_ns + step * step_ns, physics.joint_positions_rad, physics.joint_velocities_rad_s
            )
            physics.set_targets(target if offset is None else target + offset)
            physics.step()
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
        for topic, message in self.controller.measured(now_ns, physics.joint_positions_rad).items():
            self._transports.send(topic, message, now_ns)
        if now_ns % CAMERA_NS:
            return
        self.task.animate()
        shown = [name for name in self.robot.cameras if image_topic(name) in self._selected]
        if shown and self._cameras is None:
            size = self.embodiment.image_streams[0].image
            assert size is not None
            self._cameras = Renderer(physics, size.height, size.width)
        for name in shown:
            assert self._cameras is not None
            pixels = self._surroundings.seen(self._cameras.render(name))
            height, width, _ = pixels.shape
            image = stamped(
                now_ns, f"{name}_camera_optical_frame", height=height, width=width, encoding="rgb8",
                is_bigendian=0, step=3 * width, data=pixels.reshape(-1),
            )  # fmt: skip
            self._transports.send(image_topic(name), image, now_ns)


class ByJoints:
    """A part of an environment whose robot is commanded by joint angles."""

    _kinematics: ToolKinematics

    def tool_jacobian(self, joints: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the tool's Jacobian (6, N) at joint angles (N,): linear over angular, in the frame of the base."""
        return self._kinematics.pose_and_jacobian(joints)[1]


def image_topic(camera: str) -> str:
    """Return the topic of a camera."""
    return f"{camera}_camera/image_raw"
