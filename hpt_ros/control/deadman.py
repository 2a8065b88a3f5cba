# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A switch that a person holds while the robot may move."""

from __future__ import annotations

from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.control.config import DeadmanConfig
from hpt_ros.control.refusals import Why
from hpt_ros.errors import Refusal


class Deadman:
    """Whether the switch is held: true messages keep coming. Without a topic there is no switch, and motion is free."""

    def __init__(self, config: DeadmanConfig) -> None:
        """Start released."""
        self._config = config
        self._held_ns: int | None = None

    def reset(self) -> None:
        """Released until the next true message."""
        self._held_ns = None

    def note_signal(self, held: bool, arrival_ns: int) -> None:
        """Note a message."""
        self._held_ns = arrival_ns if held else None

    def check_held(self, now_ns: int) -> Refusal | None:
        """Return why the robot must not move; None if it may."""
        subject = f"the enabling switch on {self._config.topic}"
        if not self._config.topic:
            return None
        if self._held_ns is None:
            return Refusal(Why.RELEASED, subject, problem="to be held")
        age_s = (now_ns - self._held_ns) / NS_PER_S
        if age_s <= self._config.timeout_s:
            return None
        return Refusal(Why.RELEASED, subject, age_s, problem=f"to be held: it was last {age_s:.3f} s ago")
