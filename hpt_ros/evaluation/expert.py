# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An environment's own expert, who commands the robot as a teleoperator does: no policy, no controller of ours between.

What it is commanded and sends goes over the robot's topics all the same, so a bag of it is a bag of a teleoperated
robot.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.curve import Knots
from hpt_ros.embodiment.kinds import INTEGRATED
from hpt_ros.errors import Code, HptError
from hpt_ros.evaluation.rollout import (
    JUDGED_NS,
    NS_PER_S,
    Episode,
    RolloutConfig,
    Tap,
    end_of_success_ns,
    motion_figures,
    send,
)
from hpt_ros.policies.factory import BASELINES
from hpt_ros.runtime.pose import MeasuredPose
from hpt_ros.sim.environment import Environment, HasExpert, Outcome, Selects

Floats = NDArray[np.float64]

# A policy finds its robot at rest: it begins with the first complete tick and an inference later. Experts move at once,
# and a tick before the first command is none, so without a rest no demonstration would show where episodes begin.
REST_TICKS: Final = 2
LONGEST_REST_NS: Final = NS_PER_S  # for the robot to say where it is


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A command of one point, see `hpt_ros.embodiment.message_types.base.SentCommand`, and the curve that has only this
    point.

    Attributes:
        time_ns: when the robot is to be there.
        position, velocity: (dim,) then, of the control vector.
        period_ns: from one target to the next.
        pace: how fast the robot's controller goes along.
    """

    time_ns: int
    position: Floats
    velocity: Floats
    period_ns: int
    pace: float = 1.0

    @property
    def curve(self) -> Target:
        """Itself."""
        return self

    @property
    def controls(self) -> Floats:
        """The one point (1, dim)."""
        return self.position[None]

    def at(self, time_ns: int) -> Target:
        """Return the one point, whenever."""
        del time_ns
        return self

    def knots(self, from_ns: int) -> Knots:
        """Return the one point without a velocity, which a controller wants to be zero at a trajectory's end."""
        del from_ns
        return Knots(
            np.array([self.time_ns], dtype=np.int64), self.controls, np.empty((1, 0)), np.empty((1, 0))
        )

    def of(self, part: slice, ahead_ns: int = 0) -> Target:
        """Return that of some dimensions, which are due that much later."""
        return replace(
            self, time_ns=self.time_ns + ahead_ns, position=self.position[part], velocity=self.velocity[part]
        )


class ExpertRollout:
    """The expert of an environment; `episode` may be called for one seed after the other.

    It is asked and sends at the rate of the embodiment's commands, each due a period later.

    Args:
        environment: it belongs to the caller, who closes it.
        config: how episodes are run; an expert takes no time to think.

    Raises:
        HptError: the environment has no expert, or commands velocities that would have to be integrated.
    """

    def __init__(self, environment: Environment, config: RolloutConfig | None = None) -> None:
        """Check that there is one."""
        if not isinstance(environment, HasExpert):
            raise HptError(
                Code.UNSUPPORTED, f"the environment {environment.name!r}", problem="has no expert",
                remedy=f"name a checkpoint, {' or '.join(BASELINES)}",
            )  # fmt: skip
        self.environment: Environment = environment
        self.robot = environment.embodiment
        kinds = {part.output.kind for part in self.robot.space.parts} & INTEGRATED
        if kinds:
            raise HptError(
                Code.UNSUPPORTED, f"the robot {self.robot.name!r}", ", ".join(sorted(kinds)),
                problem="commands {value}", expected="positions or poses, which an expert's actions are",
                remedy="command one of these",
            )  # fmt: skip
        self.config = RolloutConfig() if config is None else config

    def episode(self, seed: int, tap: Tap | None = None, topics: Collection[str] | None = None) -> Episode:
        """Run one episode.

        Args:
            seed: of the scene.
            tap: is shown every message that goes over a topic.
            topics: of the sensors that it is to be shown; None: all of the robot.

        Raises:
            HptError: the environment cannot begin.
        """
        environment: Any = self.environment
        if isinstance(environment, Selects):  # an expert itself reads no topic
            environment.select(() if tap is None else self.robot.topics if topics is None else topics)
        environment.reset(seed)
        if tap is not None:
            self._rest(tap)
        expert = environment.expert()
        period_ns = round(NS_PER_S / self.robot.action.rate_hz)
        start_ns = now_ns = judged_ns = environment.now_ns
        end_ns = start_ns + self.config.limit_ns(environment)
        sent: list[Target] = []
        refused = 0
        done: tuple[Outcome, int] | None = None
        while now_ns < end_ns:
            now_ns += period_ns
            for sample in environment.advance(now_ns):
                if tap is not None:
                    tap.sample(sample)
            position = self._position(expert.action(now_ns + period_ns))
            before = sent[-1].position if sent else position
            for turn in self.robot.space.turns:  # of a quaternion's two signs the one that is nearer
                if before[turn : turn + 4] @ position[turn : turn + 4] < 0.0:
                    position[turn : turn + 4] *= -1.0
            velocity = (position - before) * (NS_PER_S / period_ns)
            sent.append(Target(now_ns + period_ns, position, velocity, period_ns))
            refused += send(sent[-1], environment, self.robot, now_ns, tap)
            if done is None and now_ns - judged_ns >= JUDGED_NS:
                judged_ns = now_ns
                if (outcome := environment.outcome()).success:
                    done, end_ns = (outcome, now_ns), end_of_success_ns(start_ns, now_ns, tap)
        outcome, ended_ns = done or (environment.outcome(), now_ns)
        return Episode(
            seed=seed,
            success=outcome.success,
            progress=outcome.progress,
            duration_s=(ended_ns - start_ns) / NS_PER_S,
            detail=outcome.detail,
            fault="",
            holds=0,
            counters={},
            refused=refused,
            **motion_figures(sent, self.robot, period_ns / NS_PER_S),
            inference_s=float("nan"),
        )

    def close(self) -> None:
        """Hold nothing."""

    def _rest(self, tap: Tap) -> None:
        """Command the robot to stay where it is for the first ticks.

        Raises:
            HptError: it does not say where it is.
        """
        environment, robot = self.environment, self.robot
        pose = MeasuredPose(robot)
        period_ns, tick_ns = (round(NS_PER_S / hz) for hz in (robot.action.rate_hz, robot.tick_hz))
        now_ns = start_ns = environment.now_ns
        until_ns = start_ns + LONGEST_REST_NS
        stay: Floats | None = None
        while now_ns < until_ns:
            now_ns += period_ns
            for sample in environment.advance(now_ns):
                tap.sample(sample)
                if stay is None:
                    pose.take(sample.topic, sample.message, sample.arrival_ns)
            if stay is None and (measured := pose.newest()) is not None:
                stay, until_ns = measured[1], now_ns + REST_TICKS * tick_ns
            if stay is not None:
                target = Target(now_ns + period_ns, stay, np.zeros_like(stay), period_ns)
                send(target, environment, robot, now_ns, tap)
        if stay is None:
            raise HptError(
                Code.TIMEOUT, f"the environment {environment.name!r}", LONGEST_REST_NS / NS_PER_S,
                problem="did not say within {value} s where its robot is", remedy="correct its joint states",
            )  # fmt: skip

    def _position(self, action: Floats) -> Floats:
        """Return an action as positions of the control vector, (dim,)."""
        control: Floats = self.robot.space.to_control(np.asarray(action, np.float64)[None], np.empty(0))[0]
        return np.array(control)
