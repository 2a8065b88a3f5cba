# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A robot's own speed scaling, such as a speed slider: how fast what a policy planned is commanded.

The queue of chunks is on plan time, which passes at the robot's scaling. So a robot at half speed is commanded the same
way at half the speed, and is where it was commanded to be.
"""

from __future__ import annotations

import bisect
from collections import deque

from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.control.config import SpeedScalingConfig
from hpt_ros.control.refusals import Why
from hpt_ros.errors import Refusal

# Up to this part of full speed a robot counts as stopped, ours: at 1 % a chunk of 1.6 s takes minutes, and 1 is what a
# driver says at full speed that publishes a ratio, where per cent are expected.
STOPPED = 0.01
# Longest time for which an observation may be on its way; of what is older the scaling is not remembered.
KEPT_S = 10.0
SUDDEN = 1e6  # a rate that changes faster than this, per second, jumps


class Pace:
    """Plan time as a function of control time: both are the same until the scaling is first below 1.

    Attributes:
        wanted: the robot's scaling, 0 to 1; what plan time is brought to as fast as the caller permits.
        rate: seconds of plan time per second.
    """

    def __init__(self, config: SpeedScalingConfig) -> None:
        """Start at full speed where no topic is configured, otherwise with nothing heard."""
        self._config = config
        self._heard = False
        self.wanted = self.rate = 1.0
        self._knots: deque[tuple[int, int]] = deque()  # control time to plan time, oldest first

    def note_scaling(self, value: float) -> None:
        """Note a message, in the configuration's unit; one that is no number says nothing."""
        if value == value:
            self._heard = True
            self.wanted = min(max(value / self._config.full, 0.0), 1.0)

    @property
    def stopped(self) -> Refusal | None:
        """Why the robot must not be commanded to move; None if it may."""
        subject = f"the robot's speed scaling on {self._config.topic},"
        if not self._config.topic:
            return None
        if not self._heard:
            return Refusal(Why.SCALING_UNSEEN, subject, problem="which was never heard")
        if self.wanted <= STOPPED:
            remedy = "raise the speed slider, or let its program run on"
            if self.wanted > 0.0:
                remedy += f"; if {self.wanted * self._config.full:g} is its full speed, set speed_scaling.full to it"
            problem = f"which is {self.wanted:.0%}"
            return Refusal(Why.SCALING_ZERO, subject, self.wanted, problem=problem, remedy=remedy)
        return None

    def plan_ns(self, control_ns: int) -> int:
        """Plan time of a control time, at the present rate beyond what was advanced to."""
        if not self._knots:
            return control_ns
        index = bisect.bisect_right(self._knots, control_ns, key=lambda knot: knot[0])
        if index == 0:
            first = self._knots[0]
            return control_ns + first[1] - first[0]
        at_ns, plan_ns = self._knots[index - 1]
        if index == len(self._knots):
            return plan_ns + round((control_ns - at_ns) * self.rate)
        after_ns, after_plan_ns = self._knots[index]
        return plan_ns + round((control_ns - at_ns) * (after_plan_ns - plan_ns) / (after_ns - at_ns))

    def advance(self, control_ns: int, fastest: float) -> None:
        """Let plan time pass up to a control time, which must not decrease.

        Args:
            control_ns: up to when.
            fastest: most change of the rate, per second.
        """
        if self.rate == self.wanted == 1.0 and not self._knots:
            return
        last_ns = self._knots[-1][0] if self._knots else control_ns
        if control_ns <= last_ns and self._knots:
            return
        plan_ns = self.plan_ns(control_ns)
        passed_s = (control_ns - last_ns) / NS_PER_S
        self._knots.append((control_ns, plan_ns))
        most = min(fastest, SUDDEN) * passed_s
        self.rate += min(max(self.wanted - self.rate, -most), most)
        while len(self._knots) > 2 and self._knots[1][0] < control_ns - round(KEPT_S * NS_PER_S):
            self._knots.popleft()

    def succeed(self, other: Pace) -> None:
        """Go on from what another heard."""
        self._heard, self.wanted, self.rate = other._heard, other.wanted, other.rate
        self._knots = other._knots.copy()

    def shift(self, by_ns: int) -> None:
        """Control time was set."""
        self._knots = deque((at_ns + by_ns, plan_ns + by_ns) for at_ns, plan_ns in self._knots)
