# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An environment: two joints that follow their commands, a range and a sound of the time; the task is to move."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment
from hpt_ros.sim.environment import EnvironmentKind, Outcome
from hpt_ros.sim.environment_sets import EnvironmentSet
from hpt_ros.sim.messages import Message, Sample, stamp_message
from hpt_ros.sim.transport import Transport, Transports

ROBOT = Path(__file__).with_name("robot.yaml")
PERIOD_NS, START_NS = 20_000_000, 1_000_000_000
FAR_RAD = 0.02  # from where it began


class Rail:
    """See the module, and `hpt_ros.sim.environment.Environment`."""

    name, version, time_limit_s = "rail", "1", 3.0

    def __init__(self, *, images: Transport, disturbance_rad: float) -> None:
        del images, disturbance_rad  # it has no camera, and nothing disturbs it
        self.embodiment = Embodiment.load(ROBOT)
        self.instruction = "move to the side"
        self.now_ns = START_NS
        self._transports = Transports({})
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Stand somewhere near the middle."""
        self._start = self._position = np.random.default_rng(seed).uniform(-0.02, 0.02, 2)
        self._command: Any = None
        self._start_ns = self.now_ns
        self._transports.reset(seed)

    def command(self, topic: str, message: Any) -> None:
        """Follow the points of a trajectory."""
        self._command = message

    def advance(self, until_ns: int) -> Sequence[Sample]:
        """Let time run."""
        while self.now_ns + PERIOD_NS <= until_ns:
            self.now_ns += PERIOD_NS
            if self._command is not None:
                stamp, points = self._command.header.stamp, self._command.points
                times_s = [
                    point.time_from_start.sec + point.time_from_start.nanosec * 1e-9 for point in points
                ]
                since_s = (self.now_ns - stamp.sec * 10**9 - stamp.nanosec) * 1e-9
                places = np.array([point.positions for point in points])
                self._position = np.array([np.interp(since_s, times_s, places[:, joint]) for joint in (0, 1)])
            self._measure()
        return self._transports.pop_arrived(until_ns)

    def outcome(self) -> Outcome:
        """Return how far it is from where it began."""
        ratio = min(1.0, float(np.abs(self._position - self._start).max()) / FAR_RAD)
        return Outcome(ratio == 1.0, ratio, f"{100 * ratio:.0f} % of {FAR_RAD} rad")

    def render(self, height: int, width: int) -> NDArray[np.uint8]:
        """Return a grey image: there is nothing to see."""
        return np.full((height, width, 3), 128, np.uint8)

    def close(self) -> None:
        """Hold nothing."""

    def _measure(self) -> None:
        seconds = (self.now_ns - self._start_ns) * 1e-9
        joints = stamp_message(self.now_ns, name=["a", "b"], position=self._position, velocity=[], effort=[])
        near = stamp_message(
            self.now_ns,
            range=seconds,
            min_range=0.05,
            max_range=9.0,
            radiation_type=0,
            field_of_view=0.1,
        )
        sound = Message(layout=Message(dim=[], data_offset=0), data=np.full(4, seconds, np.float32))
        for topic, message in (("/joint_states", joints), ("/range", near), ("/sound", sound)):
            self._transports.send(topic, message, self.now_ns)


ENVIRONMENT = EnvironmentKind("rail", Rail)
SET = EnvironmentSet("outside/all", ("rail",))
