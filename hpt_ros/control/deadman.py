# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A switch that a person holds while the robot may move."""

from __future__ import annotations

from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.control.config import DeadmanConfig


class Deadman:
    """Whether the switch is held: true messages keep coming. Without a topic there is no switch, and motion is free."""

    def __init__(self, config: DeadmanConfig) -> None:
        """Start released."""
        self._config = config
        self._held_ns: int | None = None

    def reset(self) -> None:
        """Released until the next true message."""
        self._held_ns = None

    def heard(self, held: bool, arrival_ns: int) -> None:
        """Note a message."""
        self._held_ns = arrival_ns if held else None

    def released(self, now_ns: int) -> str:
        """Why the robot must not move, a sentence's worth; empty if it may."""
        if not self._config.topic:
            return ""
        if self._held_ns is None:
            return f"the deadman's switch on {self._config.topic} to be held"
        age_s = (now_ns - self._held_ns) / NS_PER_S
        if age_s <= self._config.timeout_s:
            return ""
        return f"the deadman's switch on {self._config.topic}, last held {age_s:.3f} s ago"
