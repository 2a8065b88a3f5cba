# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What all suites share: the clock, cameras and messages of a benchmark that somebody else steps and judges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from hpt_ros.embodiment import Embodiment, Stream
from hpt_ros.errors import Code, HptError
from hpt_ros.mujoco_engine import mujoco
from hpt_ros.resources import config_file
from hpt_ros.sim.environment import Outcome
from hpt_ros.sim.messages import NS_PER_S, Sample, stamp_message
from hpt_ros.sim.physics import VIDEO_QUALITY, Image, Renderer
from hpt_ros.sim.transport import PERFECT, Transport, Transports

START_NS: Final = 10 * NS_PER_S  # time begins here; 0 would mean "no time yet" to other nodes


@dataclass(frozen=True, slots=True)
class View:
    """A camera of the model, and how its images are turned for a stream.

    Attributes:
        camera: its name in the model.
        upside_down: it is mounted so, and its images are turned by half a turn.
        fovy_deg: vertical field of view in place of the model's, so that objects are more than a few pixels.
    """

    camera: str
    upside_down: bool = False
    fovy_deg: float | None = None

    def of(self, renderer: Renderer) -> Image:
        """Return its image now, (height, width, 3) RGB."""
        pixels = renderer.render(self.camera)
        return np.ascontiguousarray(pixels[::-1, ::-1]) if self.upside_down else pixels


class SuiteEnvironment(ABC):
    """Most of an environment, see `hpt_ros.sim.environment.Environment`.

    Args:
        task: one of `instructions`.
        images: what happens to the messages of all cameras.
        disturbance_rad: must be 0, for who disturbs a robot that somebody else drives.

    Attributes:
        suite: whose name begins those of its environments.
        robot: its embodiment file, shipped in config/embodiments.
        instructions: task to what the robot is to do.
        step_s: of the benchmark's own steps.
        time_limit_s: of an episode.
        version: of ours and of what decides outcomes.

    Raises:
        HptError: what has the tasks is not installed.
    """

    suite: ClassVar[str]
    robot: ClassVar[str]
    instructions: ClassVar[Mapping[str, str]]
    step_s: ClassVar[float]
    time_limit_s: float
    version: str

    def __init__(self, *, task: str, images: Transport = PERFECT, disturbance_rad: float = 0.0) -> None:
        """Make the task's scene."""
        self.task, self.name, self.instruction = task, f"{self.suite}/{task}", self.instructions[task]
        if disturbance_rad:
            raise HptError(
                Code.UNSUPPORTED, f"the environment {self.name!r}", disturbance_rad,
                problem="cannot be disturbed by {value} rad", remedy="leave the disturbance out",
            )  # fmt: skip
        self.embodiment = Embodiment.load(config_file(f"embodiments/{self.robot}.yaml"))
        self._step_ns = round(self.step_s * NS_PER_S)
        self._tick_ns = round(NS_PER_S / self.embodiment.tick_hz)
        self._transports = Transports({stream.topic: images for stream in self.embodiment.image_streams})
        self._now_ns = START_NS
        self._selected: Collection[str] = self.embodiment.topics
        self._make(task, f"the environment {self.name!r}")
        self.reset(0)

    # --- what a suite has ----------------------------------------------------------------------------------------

    @abstractmethod
    def _make(self, task: str, what: str) -> None:
        """Make the task, and set `version`; `what` it is for is said if the package is not installed."""

    @abstractmethod
    def outcome(self) -> Outcome:
        """Return how the task stands."""

    @abstractmethod
    def command(self, topic: str, message: Any) -> None:
        """Take a command now."""

    @abstractmethod
    def render(self, height: int, width: int) -> Image:
        """Return what the camera for people sees."""

    @abstractmethod
    def close(self) -> None:
        """Free what it holds."""

    @abstractmethod
    def _begin(self, seed: int) -> None:
        """Set the scene of a seed up."""

    @abstractmethod
    def _step(self) -> None:
        """Let one step of the benchmark pass, to `now_ns`."""

    @abstractmethod
    def _read_sensors(self) -> Mapping[str, Any]:
        """Return the messages of the robot's own sensors now, by topic."""

    @abstractmethod
    def _image(self, stream: Stream) -> Image:
        """Return what a stream's camera sees now."""

    # --- what all have -------------------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        """Simulated time."""
        return self._now_ns

    def reset(self, seed: int) -> None:
        """Begin an episode."""
        self._now_ns += -self._now_ns % NS_PER_S  # so that cameras and ticks meet alike in every episode
        self._begin(seed)
        self._transports.reset(seed)

    def select(self, topics: Collection[str]) -> None:
        """Render only the cameras whose topics are among these."""
        self._selected = frozenset(topics)

    def advance(self, until_ns: int) -> list[Sample]:
        """Let time run in the benchmark's own steps; cameras send at every tick."""
        while self._now_ns + self._step_ns <= until_ns:
            self._now_ns += self._step_ns
            self._step()
            for topic, message in self._read_sensors().items():
                self._transports.send(topic, message, self._now_ns)
            for stream in self._due():
                pixels = self._image(stream)
                height, width, _ = pixels.shape
                image = stamp_message(
                    self._now_ns, f"{stream.name}_camera_optical_frame", height=height, width=width, encoding="rgb8",
                    is_bigendian=0, step=3 * width, data=pixels.reshape(-1),
                )  # fmt: skip
                self._transports.send(stream.topic, image, self._now_ns)
        return self._transports.pop_arrived(until_ns)

    def _due(self) -> list[Stream]:
        """Return the image streams that somebody reads and that send now."""
        if self._now_ns % self._tick_ns:
            return []
        return [stream for stream in self.embodiment.image_streams if stream.topic in self._selected]

    def _refuse(self, topic: str) -> HptError:
        """Return what is wrong with a command to a topic that nobody is subscribed to."""
        known = [output.topic for output in self.embodiment.action.parts]
        return HptError(
            Code.UNSUPPORTED, "a command", topic, problem=f"was sent to {{value}}, but only {known} move the robot",
            remedy="use these",
        )  # fmt: skip


class ModelEnvironment(SuiteEnvironment):
    """A suite whose MuJoCo model is in this process.

    Attributes:
        package: that has the tasks; its version is part of the environment's.
        revision: of what decides outcomes and is ours, such as cameras; the other part of the environment's version.
        views: image stream to camera; all have one size.
        people: the stream whose camera is for people.

    Raises:
        MissingExtraError: the package is not installed.
    """

    package: ClassVar[str]
    revision: ClassVar[int] = 1
    views: ClassVar[Mapping[str, View]]
    people: ClassVar[str]

    def _make(self, task: str, what: str) -> None:
        self._cameras: Renderer | None = None
        self._video: tuple[tuple[int, int], Renderer] | None = None
        self._load(task, what)
        self.version = f"{self.revision}/{version(self.package)}"
        for view in self.views.values():
            if view.fovy_deg is not None:
                self.model.camera(view.camera).fovy[0] = view.fovy_deg

    @abstractmethod
    def _load(self, task: str, what: str) -> None:
        """Make the model of a task; `what` it is for is said if the package is not installed."""

    @property
    @abstractmethod
    def model(self) -> Any:
        """The MjModel."""

    @property
    @abstractmethod
    def data(self) -> Any:
        """The MjData."""

    def render(self, height: int, width: int) -> Image:
        """Return what the camera for people sees."""
        size = (height, width)
        if self._video is None or self._video[0] != size:
            if self._video is not None:
                self._video[1].close()
            self._video = size, Renderer(self, height, width, VIDEO_QUALITY)
        return self.views[self.people].of(self._video[1])

    def close(self) -> None:
        """Free the GL contexts."""
        for renderer in (self._cameras, self._video[1] if self._video else None):
            if renderer is not None:
                renderer.close()
        self._cameras = self._video = None

    def _image(self, stream: Stream) -> Image:
        if self._cameras is None:
            assert stream.image is not None  # the views are of one size
            self._cameras = Renderer(self, stream.image.height, stream.image.width)
        return self.views[stream.name].of(self._cameras)


def mount_camera(
    model: Any,
    camera: str,
    body: str,
    *,
    at: tuple[float, float, float],
    towards: tuple[float, float, float],
    up: tuple[float, float, float],
) -> None:
    """Put a camera of a model elsewhere.

    Args:
        model: MjModel.
        camera: its name.
        body: that it is mounted on.
        at, towards: where it is and a point that it looks at, in the body's frame, m.
        up: what is up in its image, in the body's frame.
    """
    back = np.subtract(at, towards)
    back /= np.linalg.norm(back)
    right = np.cross(up, back)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(back, right), back], axis=1)
    index, quaternion = model.camera(camera).id, np.empty(4)
    mujoco.mju_mat2Quat(quaternion, axes.reshape(-1))
    model.cam_mode[index] = int(mujoco.mjtCamLight.mjCAMLIGHT_FIXED)
    model.cam_bodyid[index], model.cam_pos[index], model.cam_quat[index] = model.body(body).id, at, quaternion


def finite_array(values: Any, count: int, what: str) -> npt.NDArray[np.float64]:
    """Return a command's numbers (count,).

    Raises:
        HptError: another number of them, or one is not finite.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.shape != (count,) or not np.isfinite(found).all():
        raise HptError(
            Code.INVALID, f"a command of {what}", found.tolist(), expected=f"{count} finite numbers",
            remedy="correct its sender",
        )  # fmt: skip
    return found
