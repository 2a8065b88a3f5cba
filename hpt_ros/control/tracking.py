# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Whether the robot is where it was commanded to be."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import NS_PER_S, Vector
from hpt_ros.control.config import TrackingConfig
from hpt_ros.control.refusals import Why
from hpt_ros.errors import Refusal

COMMANDS_KEPT = 4096  # more than `lag_s` holds at 1 kHz; a bound on memory when nothing is measured


class Tracking:
    """Compares measured poses with the commands of the same time.

    A robot lags behind its commands, and one that goes at once is ahead of them, so a measured pose is compared with
    everything that was commanded from `lag_s` before its stamp on: its error is the distance, in each dimension, from
    the range of those commands. Dimensions that step, such as grippers, are left out: one that holds an object never
    arrives.

    The commands are retained over silences, as what the robot was last commanded (`near`), but then nothing is judged:
    somebody may move it by other means.

    Attributes:
        error: of the newest measurement, the largest of all dimensions, in the action's unit; NaN if nothing is known.
        problem: why the robot must stop; None if it need not. Stays until `reset`.
        slowness: how many times longer it may lag, because its own speed is scaled.
    """

    def __init__(
        self,
        config: TrackingConfig,
        names: Sequence[str],
        step: NDArray[np.bool_],
        *,
        turns: Sequence[int] = (),
        ahead_ns: int = 0,
    ) -> None:
        """Start with nothing known.

        Args:
            config: what is permitted.
            names: of the commanded dimensions.
            step: (dim,) true for dimensions that are left out.
            turns: where quaternions begin; a measured one has the sign that is near the commands.
            ahead_ns: how much later than a command's time the last of its dimensions is due.
        """
        scale = np.ones(len(step))
        for turn in turns:
            scale[turn : turn + 4] = 2.0  # an angle is twice what a quaternion's elements change by
        self._scale: list[float] = np.where(step, 0.0, scale).tolist()
        self._ahead_ns = ahead_ns
        self._config, self._names = config, tuple(names)
        # As lists: of so few numbers Python's own arithmetic is many times quicker than NumPy's.
        self._commands: deque[tuple[int, list[float]]] = deque(maxlen=COMMANDS_KEPT)
        self._judging = False
        self.slowness = 1.0
        self.reset()

    def reset(self) -> None:
        """Judge nothing until the next command: the robot may be moved by other means, or stamps are unclear."""
        self._judging = False
        self._stamp_ns: int | None = None
        self._since_ns: int | None = None
        self.error = float("nan")
        self.problem: Refusal | None = None

    def note_command(self, time_ns: int, position: Vector) -> None:
        """Note a command (dim,) and when the robot is to be there."""
        self._judging = True
        self._commands.append((time_ns, position.tolist()))

    def note_pose(self, stamp_ns: int, position: Vector) -> None:
        """Compare a measured pose (dim,); one that is not newer than the last, or before any command, says nothing."""
        if not self._judging or (self._stamp_ns is not None and stamp_ns <= self._stamp_ns):
            return
        self._stamp_ns = stamp_ns
        away = self._away(stamp_ns, position)
        worst = int(np.argmax(away))  # the first that is no number, if one is not
        self.error = away[worst]
        if self.error <= self._config.error:
            self._since_ns = None
            return
        if self._since_ns is None:
            self._since_ns = stamp_ns
        if stamp_ns - self._since_ns > self._config.duration_s * NS_PER_S and self.problem is None:
            self.problem = Refusal(
                Why.TRACKING, self._names[worst], self.error,
                problem=f"is measured at {position[worst]:.3f}, {self.error:.3f} from what it was commanded, and some "
                f"joint has been more than {self._config.error:g} away for more than {self._config.duration_s:g} s",
                remedy="see what blocks the robot or whether its controller listens",
            )  # fmt: skip

    def near(self, stamp_ns: int, position: Vector) -> bool:
        """Whether a robot measured at a pose (dim,) is where it was last commanded to be, as far as a robot ever is."""
        return bool(self._commands) and all(
            away <= self._config.error for away in self._away(stamp_ns, position)
        )

    def _away(self, stamp_ns: int, position: Vector) -> list[float]:
        """Distance (dim,) of a measured pose from the range of the commands since `lag_s` before it."""
        oldest_ns = stamp_ns - round(self.slowness * self._config.lag_s * NS_PER_S) - self._ahead_ns
        # One at or before the window stays: the robot was between it and the next.
        while len(self._commands) > 1 and self._commands[1][0] <= oldest_ns:
            self._commands.popleft()
        columns = zip(*(command for _, command in self._commands), strict=True)
        away = []
        for measured, commanded, scale in zip(position.tolist(), columns, self._scale, strict=True):
            low, high = min(commanded), max(commanded)
            away.append(
                0.0 if low <= measured <= high or not scale else scale * max(low - measured, measured - high)
            )
        return away
