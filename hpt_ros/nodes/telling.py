"""What the policy node tells its operators in the log: changes of state, and each kind of problem once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from hpt_ros.control import State
from hpt_ros.nodes.pilot import Pilot

KINDS_KEPT = 1000  # of problems that were told; more are not told


class Teller:
    """Not thread-safe: the node locks."""

    def __init__(self, node: Node) -> None:
        """Tell through the node's logger."""
        self._log: Any = node.get_logger()
        self._told: set[tuple[str, str]] = set()

    def reset(self) -> None:
        """An activation begins: problems are told again."""
        self._told.clear()

    def state(self, before: State, pilot: Pilot) -> None:
        """Tell of a change of state, with the reason."""
        after = pilot.controller.state
        if after is before:
            return
        words = f"{before.name} -> {after.name}"
        reason = pilot.controller.session.reason
        if after is State.FAULT:
            self._log.error(f"{words}: {reason}; mend it, then call ~/clear_fault")
        elif after is State.HOLDING:
            self._log.warning(f"{words}: {reason}")
        else:
            self._log.info(words)

    def complain(self, who: str, problem: str) -> None:
        """Tell of a problem as an error, once an activation."""
        self._once(who, f"{problem} (said once; see the counters)", lambda words: self._log.error(words))

    def warn(self, who: str, problem: str) -> None:
        """Tell of a problem as a warning, once an activation."""
        self._once(who, f"{problem} (said once)", lambda words: self._log.warning(words))

    def _once(self, who: str, words: str, log: Callable[[str], Any]) -> None:
        """A camera's complaint 30 times a second would hide all others."""
        kind = (who, words[:60])
        if kind not in self._told and len(self._told) < KINDS_KEPT:
            self._told.add(kind)
            log(words)
