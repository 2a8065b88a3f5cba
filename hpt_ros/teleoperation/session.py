# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One environment under a person's hand: scenes, motion, and what is recorded. Each step is one command period."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from hpt_ros.errors import Code, HptError
from hpt_ros.evaluation.rollout import NS_PER_S, Tap, send
from hpt_ros.runtime.pose import MeasuredPose
from hpt_ros.sim.environment import Environment, HasTool, Outcome, Selects
from hpt_ros.teleoperation.devices import Wish
from hpt_ros.teleoperation.episodes import Act, Episodes
from hpt_ros.teleoperation.jog import SPEEDS, Jog

MEASURED_NS: Final = 5 * NS_PER_S  # simulated time in which a robot must have said where it is


class Keep(Protocol):
    """What becomes of a recording that the person keeps."""

    def __call__(self, log: Tap, scene: int, *, success: bool, outcome: Outcome) -> None: ...  # noqa: D102


class TeleopSession:
    """Not thread-safe.

    Attributes:
        environment: it belongs to the caller, who closes it.
        episodes: where the person stands.
        jog: what moves the robot, and how it is set.
        notice: what just happened, for people.
    """

    def __init__(self, environment: Environment, scene: int, new_log: Callable[[], Tap], keep: Keep) -> None:
        """Put the first scene at its start.

        Args:
            environment: with the robot.
            scene: seed of the first scene.
            new_log: makes what is shown every message of an episode.
            keep: is handed such a log at the end of an episode that the person keeps.

        Raises:
            HptError: the robot cannot be moved by a person.
        """
        self.environment, self.episodes = environment, Episodes(scene)
        self._new_log, self._keep = new_log, keep
        self._log: Tap | None = None
        robot = environment.embodiment
        self._pose = MeasuredPose(robot)
        self.jog = Jog(robot, environment.tool_jacobian if isinstance(environment, HasTool) else None)
        if not self.jog.parts:
            raise HptError(
                Code.UNSUPPORTED, f"the robot {robot.name!r}", problem="has nothing that a person could move",
                remedy="choose another environment",
            )  # fmt: skip
        self.notice = ""
        self._now_ns = self._since_ns = environment.now_ns
        self._reset()

    @property
    def now_ns(self) -> int:
        """Simulated time."""
        return self._now_ns

    @property
    def recorded_s(self) -> float:
        """For how long the present episode has been recorded."""
        return (self._now_ns - self._since_ns) / NS_PER_S if self.episodes.recording else 0.0

    def say(self, word: str) -> None:
        """Take a word of `hpt_ros.teleoperation.episodes.WORDS`.

        What cannot be written goes on being recorded, and `notice` says why: a full disk costs no demonstration.
        """
        before = self.episodes
        self.episodes, acts = before.say(word)
        for act in acts:
            if act in (Act.KEEP_SUCCESS, Act.KEEP_FAILURE):
                try:
                    self._write(success=act is Act.KEEP_SUCCESS)
                except HptError as error:
                    self.episodes = before
                    self.notice = f"not kept, still recording: {error}"
                    return
            elif act is Act.DROP:
                self._log, self.notice = None, f"scene {self.episodes.scene} is discarded"
            elif act is Act.RESET:
                self._reset()
            elif act is Act.RECORD:
                self._log, self._since_ns = self._new_log(), self._now_ns
                self.notice = f"recording scene {self.episodes.scene}"

    def set_speed(self, change: int) -> None:
        """Move one step up or down in `SPEEDS`."""
        choice = self.jog.choice
        choice.speed = min(max(choice.speed + change, 0), len(SPEEDS) - 1)
        self.notice = f"speed {100 * SPEEDS[choice.speed]:.0f} % of the limits"

    def choose_part(self) -> None:
        """Move the next of the robot's outputs from now on."""
        self.jog.choice.part = (self.jog.choice.part + 1) % len(self.jog.parts)
        self.jog.choice.joint = 0
        self.notice = f"moving {self.jog.part.output.name}"

    def choose_joint(self, index: int) -> None:
        """Let the joint keys move another joint."""
        names = self.jog.joint_names()
        if index < len(names):
            self.jog.choice.joint = index
            self.notice = f"+ and - move {names[index]}"

    def step(self, wish: Wish) -> None:
        """Let one command period pass."""
        self._now_ns += self.jog.period_ns
        self._advance()
        command = self.jog.step(self._now_ns, wish)
        if send(command, self.environment, self.environment.embodiment, self._now_ns, self._log):
            self.notice = "the robot's controller refused a command"

    def _advance(self) -> None:
        for sample in self.environment.advance(self._now_ns):
            if self._log is not None:
                self._log.sample(sample)
            self._pose.take(sample.topic, sample.message, sample.arrival_ns)

    def _reset(self) -> None:
        """Put the scene at its start, and the robot's commands where it is."""
        environment = self.environment
        environment.reset(self.episodes.scene)
        if isinstance(environment, Selects):  # cameras of the policy cost much, and are for what is recorded
            robot = environment.embodiment
            state = [stream.topic for stream in robot.state_streams]
            environment.select(frozenset(robot.topics if self.episodes.recording else state))
        self._now_ns = self._since_ns = environment.now_ns
        self._pose.reset()
        until_ns = self._now_ns + MEASURED_NS
        while (measured := self._pose.newest()) is None:
            if self._now_ns >= until_ns:
                raise HptError(
                    Code.TIMEOUT, f"the environment {environment.name!r}", MEASURED_NS / NS_PER_S,
                    problem="did not say within {value} s where its robot is", remedy="correct its joint states",
                )  # fmt: skip
            self._now_ns += self.jog.period_ns
            self._advance()
        self.jog.begin(self._now_ns, measured[1])

    def _write(self, *, success: bool) -> None:
        assert self._log is not None
        outcome = self.environment.outcome()
        scene = self.episodes.scene - 1  # the state is past it already
        self._keep(self._log, scene, success=success, outcome=outcome)
        self._log = None
        how = "success" if success else "failure"
        self.notice = f"scene {scene} is kept as a {how}; the simulator says: {outcome.detail}"
