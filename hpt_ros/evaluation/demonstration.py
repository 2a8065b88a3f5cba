# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Replay of a demonstration: an expert's actions, as a dataset would have them, as the chunks of a policy.

In the scene that was demonstrated it is what a policy can reach that has learned the actions perfectly, through the
same observation path, controller and limits; so what it fails, timing or control fails. In another scene it is what can
be reached without looking.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError, Refusal
from hpt_ros.evaluation.expert import ExpertRollout
from hpt_ros.evaluation.rollout import NS_PER_S, EpisodeResult, Rollout, RolloutConfig, Tap
from hpt_ros.modalities import STATE
from hpt_ros.observation import CommandTrack, TickGrid, decode_command
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.policies.protocol import Observation
from hpt_ros.sim.environment import Environment, Selects
from hpt_ros.sim.messages import Sample

Floats = NDArray[np.float64]


class DemonstratedActions:
    """A tap that makes of commands the actions at ticks, as conversion does.

    Args:
        robot: whose commands they are.
    """

    def __init__(self, robot: Embodiment) -> None:
        """Begin with none."""
        self._robot, self._grid, self._track = robot, TickGrid(robot.tick_hz), CommandTrack(robot)
        self._outputs = {
            part.output.topic: (index, part.output) for index, part in enumerate(robot.space.parts)
        }
        self._next: int | None = None  # tick whose action is not known yet
        self._rows: list[Floats] = []

    def sample(self, sample: Sample) -> None:
        """Pass over what is measured."""

    def command(self, topic: str, message: Any, now_ns: int) -> None:
        """Take a command."""
        index, output = self._outputs[topic]
        self._settle(now_ns)
        time_ns, vector = decode_command(output, message, now_ns)
        if self._next is None:
            self._next = self._grid.first_at_or_after(now_ns)
        self._track.push(time_ns, now_ns, vector, index)

    def rows(self, now_ns: int) -> Floats:
        """Return the actions at successive ticks (n, dim), the last one of all that was commanded until now.

        Raises:
            HptError: there are none.
        """
        self._settle(now_ns)
        if not self._rows:
            raise HptError(Code.EMPTY, f"a demonstration of the robot {self._robot.name!r}")
        return np.array(self._rows)

    def _settle(self, now_ns: int) -> None:
        """Take the actions of all ticks that no later command changes."""
        while self._next is not None:
            tick_ns = self._grid.time_ns(self._next)
            if not self._track.is_settled(tick_ns, now_ns):
                return
            action = self._track.value_at(tick_ns)
            if not isinstance(action, Refusal):
                self._rows.append(action)
            elif self._rows:
                return  # the demonstration is over
            self._next += 1


@dataclass
class DemonstrationPolicy:
    """Answers with a demonstration's next actions; before its first and after its last it stays there.

    Attributes:
        robot: that demonstrated.
        actions: (n, dim) at successive ticks.
        rest_ns: how long the first action is held, for the controller to take over from rest.
    """

    robot: Embodiment
    actions: Floats
    rest_ns: int
    _start_ns: int | None = None

    def predict(self, observation: Observation) -> NDArray[Any]:
        """Return the chunk that belongs to the observation's tick."""
        if self._start_ns is None:
            self._start_ns = observation.stamp_ns
        passed_s = (observation.stamp_ns - self._start_ns - self.rest_ns) / NS_PER_S
        first = round(passed_s * self.robot.tick_hz)
        rows = np.arange(first, first + self.robot.action.horizon).clip(0, len(self.actions) - 1)
        chunk: NDArray[Any] = self.actions[rows]
        return chunk

    def reset(self) -> None:
        """Begin with the first action."""
        self._start_ns = None


class ReplayRollout:
    """Demonstrates a scene and replays it; `episode` may be called for one seed after the other.

    Args:
        environment: it belongs to the caller, who closes it.
        config: how episodes are run.
        demonstrated: seed of the scene that is demonstrated; None: that of each episode.

    Raises:
        HptError: the environment has no expert.
    """

    def __init__(
        self, environment: Environment, config: RolloutConfig | None = None, demonstrated: int | None = None
    ) -> None:
        """Check that there is an expert."""
        self.config = RolloutConfig() if config is None else config
        self._expert = ExpertRollout(environment, self.config)
        self.environment, self.robot = environment, self._expert.robot
        self._demonstrated = demonstrated
        self._known: Mapping[int, Floats] = {}

    def episode(self, seed: int, tap: Tap | None = None) -> EpisodeResult:
        """Demonstrate, and run one episode with the actions.

        Raises:
            HptError: the environment cannot begin.
        """
        actions = self._actions(seed if self._demonstrated is None else self._demonstrated)
        robot, environment = self.robot, self.environment
        if isinstance(environment, Selects):
            environment.select(self._read_topics if tap is None else robot.topics)
        rest_ns = round(self.config.control.queue.start_fade_s * NS_PER_S)
        loaded = LoadedPolicy(
            DemonstrationPolicy(robot, actions, rest_ns), robot, "", robot.observation_horizon,
            optional=frozenset(modality.name for modality in robot.modalities) - {STATE},
        )  # fmt: skip
        return Rollout(loaded, environment, self.config).episode(seed, tap)

    def close(self) -> None:
        """Hold nothing."""

    @property
    def _read_topics(self) -> frozenset[str]:
        return frozenset(stream.topic for stream in self.robot.streams_of(STATE))

    def _actions(self, seed: int) -> Floats:
        if seed not in self._known:
            actions = DemonstratedActions(self.robot)
            self._expert.episode(seed, actions, topics=self._read_topics)
            self._known = {seed: actions.rows(self.environment.now_ns)}
        return self._known[seed]
