# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The robot's commands for the future: fixed for a lead, and from there to rest."""

from __future__ import annotations

from collections import deque

import numpy as np

from hpt_ros.control.chunk import NS_PER_S, Vector
from hpt_ros.control.curve import Curve
from hpt_ros.control.limiter import CommandLimiter

# A message repeats what was commanded from this long ago on, ours: joint_trajectory_controller follows a message
# exactly only if it covers the moment at which it is sampled (decision 0015), on a clock that may be behind ours by
# about this.
PAST_S = 0.02
PAST_NS = round(PAST_S * NS_PER_S)
# Until the robot's controller has a message that was sent, ours: DDS on one machine takes 1 ms, a controller's cycle 2.
TRANSPORT_S = 0.005
# From our sending until a controller samples what it then commands, ours: the transport, and the cycle that
# joint_trajectory_controller looks ahead.
LOOK_S = TRANSPORT_S + 0.002
# Control points that are always there: with the path to rest and its end again, a curve's four are exceeded.
LEAST_KEPT = 4


class MotionPlan:
    """The control points (`hpt_ros.control.curve`) that the robot was commanded, and the path to rest after them.

    Every message tells the curve up to a lead ahead of now, which later messages repeat and never change, and then the
    shortest path to rest, which the next message replaces. So a message that is late or lost changes nothing as long as
    another comes within the lead, and where none comes the robot brakes by itself. A caller that comes too late finds
    the robot on that path to rest: `catch_up` goes along with it. A robot at rest has its control points too, all the
    same: so motion always goes on from what was last commanded, however long ago that was.

    With `taps` > 1 the control points are a moving average of what the limiter lets through. An average keeps the
    limits of position, velocity and acceleration, and changes the acceleration A by at most 2 A / taps per period,
    which bounds the jerk (Biagiotti and Melchiorri, "Trajectory Planning for Automatic Machines and
    Robots", 2008, ch. 4).
    """

    def __init__(self, limiter: CommandLimiter, period_ns: int, lead_ns: int, taps: int = 1) -> None:
        """Start with nothing commanded.

        Args:
            limiter: makes legal commands, one a period.
            period_ns: of commands.
            lead_ns: how far ahead of now the curve is fixed.
            taps: of the moving average.
        """
        self._limiter, self.period_ns, self._taps = limiter, period_ns, taps
        self._least_lead_ns, self._look_ns = lead_ns, 0
        self._transport_ns = min(round(TRANSPORT_S * NS_PER_S), lead_ns - period_ns)
        self._controls: deque[Vector] = deque()
        self._passed: deque[Vector] = deque(maxlen=taps)  # by the limiter, newest last
        self._last_ns = 0  # of the last control point
        self._rest_ns = 0  # from when on the curve stands, if it is not moved any further

    @property
    def lead_ns(self) -> int:
        """How far ahead of now the curve is fixed."""
        return self._least_lead_ns + self._look_ns

    def stretch(self, pace: float) -> None:
        """Fix as much more as a controller looks further ahead that scales the time of its trajectories.

        Args:
            pace: what times from now are multiplied by for it. Between our sending and its sampling it goes along the
                curve as much faster.
        """
        self._look_ns = round(LOOK_S * (1.0 / pace - 1.0) * NS_PER_S)

    @property
    def known(self) -> bool:
        """Whether anything was ever commanded."""
        return bool(self._controls)

    @property
    def position(self) -> Vector | None:
        """What was commanded last, (dim,); None: nothing was ever commanded."""
        return self._limiter.position if self._controls else None

    @property
    def last_ns(self) -> int:
        """Time of the last control point."""
        return self._last_ns

    @property
    def next_ns(self) -> int:
        """Time of the next control point."""
        return self._last_ns + self.period_ns

    @property
    def delay_ns(self) -> int:
        """How much later than its control point's time a target counts, because of the moving average."""
        return (self._taps - 1) * self.period_ns // 2

    @property
    def fixed_until_ns(self) -> int:
        """Up to when the curve is fixed: it depends on one control point after each of its moments."""
        return self._last_ns - self.period_ns

    @property
    def at_rest(self) -> bool:
        """Whether the last control points are the same: rest comes next, unless it is commanded to move."""
        return self._limiter.at_rest and all(each is self._passed[-1] for each in self._passed)

    @property
    def rest_ns(self) -> int:
        """From when on the robot stands, while `at_rest`."""
        return self._rest_ns

    def first_ns(self, now_ns: int, wait_ns: int = 0) -> int:
        """Time of the first control point that moves, if the plan begins now with `begin`."""
        # Half a period more than the lead, so that a timer's jitter does not make two control points, then none.
        return now_ns + max(self.lead_ns + self.period_ns // 2, wait_ns) + 2 * self.period_ns

    def begin(self, now_ns: int, pose: Vector, wait_ns: int = 0) -> None:
        """Begin anew at rest.

        Args:
            now_ns: now.
            pose: (dim,), within the position limits.
            wait_ns: the robot is commanded to be there this long from now, so that its controller, which may hold it
                elsewhere, comes there smoothly.
        """
        self._limiter.reset(pose)
        pose = self._pose()
        self._last_ns = self.first_ns(now_ns, wait_ns) - self.period_ns
        count = max(-(-(self._last_ns - now_ns - wait_ns) // self.period_ns) + 2, 4)
        self._controls.clear()
        self._controls.extend([pose] * count)
        self._passed.clear()
        self._passed.extend([pose] * self._taps)
        self._rest_ns = now_ns + wait_ns

    def due(self, now_ns: int) -> bool:
        """Whether another control point is needed now."""
        return self.fixed_until_ns < now_ns + self.lead_ns

    def catch_up(self, now_ns: int) -> int:
        """Go along the path to rest as far as the robot has been on it by now; returns by how many control points."""
        self._forget_before(now_ns)
        reached_ns = now_ns + self._transport_ns + self._look_ns
        count = 0
        while (away_ns := reached_ns - self.fixed_until_ns) > 0:
            if self.at_rest and self._rest_ns < reached_ns - PAST_NS - 4 * self.period_ns:
                # It stands, and stood for as long as a message says anything about.
                periods = -(-away_ns // self.period_ns)
                self._last_ns += periods * self.period_ns
                self._controls = deque([self._controls[-1]] * len(self._controls))
                break
            moving = not self.at_rest
            self._limiter.brake()
            self.extend()
            count += moving
        return count

    def finish(self) -> None:
        """Nothing more will be sent: the robot goes to rest as it was commanded."""
        while self.known and not self.at_rest:
            self._limiter.brake()
            self.extend()

    def shift(self, by_ns: int) -> None:
        """Time was set."""
        self._last_ns += by_ns
        self._rest_ns += by_ns

    def extend(self) -> None:
        """Take the limiter's newest command as the next control point."""
        before, pose = self._controls[-1], self._pose()
        if np.array_equal(pose, self._passed[-1]):
            pose = self._passed[-1]
        self._passed.append(pose)
        self._controls.append(self._average(list(self._passed)))
        self._last_ns += self.period_ns
        if not np.array_equal(self._controls[-1], before):
            self._rest_ns = self._last_ns + self.period_ns

    def curve(self) -> Curve:
        """All that is commanded now: from shortly before now, if something was commanded then, to rest."""
        way = self._limiter.path_to_rest()
        if self._taps > 1:
            passed = [*self._passed, *way, *([way[-1]] * self._taps)]
            taps = self._taps
            way = np.array([self._average(passed[i : i + taps]) for i in range(1, len(passed) - taps + 1)])
        start_ns = self._last_ns - (len(self._controls) - 1) * self.period_ns
        return Curve(
            start_ns,
            self.period_ns,
            np.concatenate([np.array(self._controls), way, way[-1:]]),
            self._limiter.turns,
        )

    def _forget_before(self, now_ns: int) -> None:
        """Drop the control points that no message says anything about any more, but not the last few."""
        first_ns = self._last_ns - (len(self._controls) - 1) * self.period_ns
        # A moment depends on the control point before the one before it.
        old = (now_ns - PAST_NS - first_ns) // self.period_ns - 3
        for _ in range(min(old, len(self._controls) - LEAST_KEPT)):
            self._controls.popleft()

    def _average(self, positions: list[Vector]) -> Vector:
        if self._taps == 1 or all(np.array_equal(each, positions[-1]) for each in positions):
            return positions[-1]
        return self._limiter.normalise(np.mean(positions, axis=0))

    def _pose(self) -> Vector:
        if self._limiter.position is None:
            raise RuntimeError("MotionPlan.begin comes first")
        return self._limiter.position
