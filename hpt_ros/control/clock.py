# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Control time, which nobody can set, and where ROS time lies on it.

Commands, ages and watchdogs are on control time; ROS time only names messages. Without simulated time, control time is
the machine's monotonic clock. With it, control time goes on by the forward steps of ROS time, so that a chunk follows
the simulation. It never goes back.
"""

from __future__ import annotations

from dataclasses import dataclass

from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.control.refusals import Why
from hpt_ros.errors import Refusal

# On Linux the monotonic clock is slewed along with the system clock (clock_gettime(2)), so NTP's gradual adjustment
# moves neither against the other: what does is a step. Elsewhere adjtime slews by at most 500 ppm. Followed at up to
# FOLLOWED of the time that passes, no command's due time is off by more than that part of a period; a step is thus
# whatever is left over, beyond the error of reading two clocks. STEP_S is a tenth of a period at 100 Hz.
STEP_S = 0.001
FOLLOWED = 0.001
# Two clocks read one after the other differ by what lies between; commands must not jitter by that.
UNMOVED_NS = 200_000
# Simulated time has no rate, so only a long leap tells itself from a fast simulation or a late callback. No simulator
# publishes /clock less often than this; a shorter leap is what the streams' timeouts see.
SIMULATED_LEAP_S = 1.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What the clocks showed at one moment.

    Attributes:
        steady_ns: the monotonic clock.
        ros_ns: ROS time; 0: simulated time has not begun.
        simulated: whether ROS time is simulated.
        error_ns: how far apart in time the two were read, at most.
        asleep_ns: how long the machine has slept so far (CLOCK_BOOTTIME less CLOCK_MONOTONIC on Linux).
        back_ns: by how much simulated time was seen to go back since the reading before, at most, although it may have
            gone forward again by now: two nodes that publish it in step.
    """

    steady_ns: int
    ros_ns: int
    simulated: bool = False
    error_ns: int = 0
    asleep_ns: int = 0
    back_ns: int = 0


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on both times.

    Attributes:
        control_ns: control time.
        ros_ns: ROS time; the system clock to within `STEP_S`, without the jitter of reading it.
        jump: what happened to ROS time since the reading before; None if it just went on.
    """

    control_ns: int
    ros_ns: int
    jump: Refusal | None = None

    @property
    def ahead_ns(self) -> int:
        """ROS time less control time, which maps stamps to control time and back."""
        return self.ros_ns - self.control_ns


class ControlClock:
    """Turns readings of the clocks, in the order of their steady times, into instants."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._last: Reading | None = None
        self._control_ns = 0
        self._ahead_ns = 0  # of the system clock
        self._lead_ns = 0  # by which simulated time, which stood still, is behind control time that did not
        self._moved_ns = 0  # steady time at which ROS time was last seen to move

    @property
    def begun(self) -> bool:
        """Whether ROS time has been seen to run: false while simulated time is 0."""
        return self._last is not None and bool(self._last.ros_ns)

    def still_s(self, steady_ns: int) -> float:
        """For how long ROS time has not moved, as far as the readings tell."""
        return 0.0 if self._last is None else (steady_ns - self._moved_ns) / NS_PER_S

    def read(self, reading: Reading) -> Instant:
        """The instant of a reading."""
        last, self._last = self._last, reading
        if last is None or reading.simulated is not last.simulated:
            self._control_ns = self._begin(last, reading)
            self._ahead_ns = reading.ros_ns - self._control_ns
            self._moved_ns, self._lead_ns = reading.steady_ns, 0
            changed = Refusal(Why.CLOCK_CHANGED, "use_sim_time", problem="was changed")
            return Instant(self._control_ns, reading.ros_ns, None if last is None else changed)
        if reading.ros_ns != last.ros_ns:
            self._moved_ns = reading.steady_ns
        jump = self._simulate(last, reading) if reading.simulated else self._real(last, reading)
        slept_s = (reading.asleep_ns - last.asleep_ns) / NS_PER_S
        if slept_s > STEP_S:
            jump = Refusal(Why.SLEPT, "this machine", slept_s, problem=f"slept for {slept_s:.3f} s")
        named_ns = reading.ros_ns + self._lead_ns if reading.simulated else self._control_ns + self._ahead_ns
        return Instant(self._control_ns, named_ns, jump)

    def advance(self, by_ns: int) -> None:
        """Let control time go on by itself, for braking while simulated time stands still.

        ROS time goes on with it, so that commands keep their distance, and waits for simulated time to catch up.
        """
        self._control_ns += by_ns
        self._lead_ns += by_ns

    def _begin(self, last: Reading | None, now: Reading) -> int:
        if last is None:
            return now.ros_ns if now.simulated else now.steady_ns
        return self._control_ns + max(now.steady_ns - last.steady_ns, 0)

    def _simulate(self, last: Reading, now: Reading) -> Refusal | None:
        moved_ns = now.ros_ns - last.ros_ns
        if not last.ros_ns:
            return None  # simulated time begins
        caught_up_ns = min(self._lead_ns, max(moved_ns, 0))
        self._lead_ns -= caught_up_ns
        self._control_ns += max(moved_ns, 0) - caught_up_ns
        if moved_ns < 0:
            self._lead_ns = 0
            return _move(moved_ns, "simulated time", "went back", "jumped forward")
        if now.back_ns:
            problem = f"went back by {now.back_ns / NS_PER_S:.3f} s and forward again"
            return Refusal(Why.WENT_BACK, "simulated time", -now.back_ns / NS_PER_S, problem=problem)
        jumped = moved_ns > SIMULATED_LEAP_S * NS_PER_S
        return _move(moved_ns, "simulated time", "went back", "jumped forward") if jumped else None

    def _real(self, last: Reading, now: Reading) -> Refusal | None:
        passed_ns = max(now.steady_ns - last.steady_ns, 0)
        self._control_ns += passed_ns
        moved_ns = now.ros_ns - self._control_ns - self._ahead_ns
        most_ns = round(passed_ns * FOLLOWED)
        # What was not followed yet is no step, nor as much gradual adjustment as there may be since the reading before.
        if abs(moved_ns) > max(STEP_S * NS_PER_S, UNMOVED_NS + most_ns) + now.error_ns:
            self._ahead_ns += moved_ns
            return _move(moved_ns, "the system clock", "was set back", "was set forward")
        if abs(moved_ns) > UNMOVED_NS + now.error_ns:
            self._ahead_ns += max(-most_ns, min(most_ns, moved_ns))
        return None


def _move(by_ns: int, subject: str, back: str, forward: str) -> Refusal:
    by_s = by_ns / NS_PER_S
    code, sentence = (Why.WENT_BACK, back) if by_ns < 0 else (Why.WENT_FORWARD, forward)
    return Refusal(code, subject, by_s, problem=f"{sentence} by {abs(by_s):.3f} s")
