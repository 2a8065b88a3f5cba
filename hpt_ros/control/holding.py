# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What keeps the robot from running now, and for how long each cause has held it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hpt_ros.errors import Refusal


class Cause(str, Enum):
    """Kinds of what is missing."""

    TASK = "task"
    INPUT = "input"  # a stream, or the measured pose
    LINK = "link"  # nobody takes the commands
    PERMISSION = "permission"  # the enabling switch, or the robot's own speed
    CHUNK = "chunk"
    BRAKING = "braking"
    START = "start"  # where motion would begin


@dataclass(frozen=True, slots=True)
class Missing:
    """What keeps the robot from running.

    Attributes:
        cause: its kind.
        wanted: what is waited for: the end of "waiting for".
        held: why it holds the robot; the same, where that is a sentence by itself.
    """

    cause: Cause
    wanted: Refusal
    held: Refusal


class HoldTimes:
    """For how long each cause has held the robot, since `begin`.

    Each counts for itself: when a stream is back after half a second, the policy has its own time for a new chunk. The
    times add up over alternating causes, so none can hold the robot for ever.
    """

    def __init__(self) -> None:
        """Start with nothing held."""
        self._held_ns: dict[Cause, int] = {}
        self._last_ns: int | None = None

    def begin(self) -> None:
        """Start again."""
        self._held_ns.clear()
        self._last_ns = None

    def add(self, cause: Cause, now_ns: int) -> int:
        """Note that a cause holds the robot now; returns for how long it has, in ns."""
        passed_ns = 0 if self._last_ns is None else max(now_ns - self._last_ns, 0)
        self._last_ns = now_ns
        self._held_ns[cause] = self._held_ns.get(cause, 0) + passed_ns
        return self._held_ns[cause]
