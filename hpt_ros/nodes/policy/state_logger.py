# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the policy node logs for its operators: changes of state, each kind of problem once and then counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hpt_ros.control import State
from hpt_ros.nodes.policy.kinds import Kind
from hpt_ros.nodes.policy.waiting import Code, Reason
from hpt_ros.runtime.policy_runtime import PolicyRuntime

# States change within a second of an activation, and between chunks; what lasts longer is worth a line, ours.
WAITED_S = 1.0
AGAIN_S = 10.0  # a problem that lasts is logged again after this long, ours: not hidden, and no flood


@dataclass(slots=True)
class _Logged:
    at_s: float
    repeats: int = 0


class StateLogger:
    """Not thread-safe: the node locks."""

    def __init__(self, log: Any, clock: Callable[[], float] = time.monotonic) -> None:
        """Log through a node's logger; `clock` is a steady one, in seconds."""
        self._log, self._clock = log, clock
        self._logged: dict[tuple[str, str], _Logged] = {}
        self._waits_since_s: float | None = None

    def reset(self) -> None:
        """An activation begins: problems are logged at once again."""
        self._logged.clear()
        self._waits_since_s = None

    def waiting(self, state: State, find: Callable[[], Reason | None]) -> None:
        """Log why the robot does not move: each reason once it has lasted, and every `AGAIN_S` for as long as it does.

        Args:
            state: of the controller.
            find: finds the reason; called only if there may be something to log.
        """
        now_s = self._clock()
        if state not in (State.WAITING, State.HOLDING):
            self._waits_since_s = None
            return
        if self._waits_since_s is None:
            self._waits_since_s = now_s
        if now_s - self._waits_since_s < WAITED_S:
            return
        self._waits_since_s = now_s - WAITED_S / 2.0  # twice a second is often enough
        if (reason := find()) is None:
            return
        key = (reason.code.value, reason.subject)
        logged = self._logged.get(key)
        if logged is None or now_s - logged.at_s >= AGAIN_S:
            self._logged[key] = _Logged(now_s)
            words = f"{state.name}: {reason.text} [{reason.code.value}]"
            # On lines of their own: rclpy refuses a line that logs at another level than before.
            if reason.code in (Code.TASK, Code.RELEASED):
                self._log.info(words)
            else:
                self._log.warning(words)

    def state(self, before: State, runtime: PolicyRuntime) -> None:
        """Log a change of state, with the reason."""
        after = runtime.controller.state
        if after is before:
            return
        words = f"{before.name} -> {after.name}"
        reason = runtime.controller.reason
        if after is State.FAULT:
            self._log.error(f"{words}: {reason}; correct it, then call ~/clear_fault")
        elif reason is not None:
            self._log.warning(f"{words}: {reason}")
        else:
            self._log.info(words)

    def complain(self, kind: Kind, who: str, problem: str) -> None:
        """Log a problem as an error: at once, and while it repeats every `AGAIN_S` with how often it did."""
        self._log_counted(kind, who, problem, lambda words: self._log.error(words))

    def warn(self, kind: Kind, who: str, problem: str) -> None:
        """Log a problem as a warning, as often as `complain`."""
        self._log_counted(kind, who, problem, lambda words: self._log.warning(words))

    def _log_counted(self, kind: Kind, who: str, words: str, log: Callable[[str], Any]) -> None:
        """A camera's complaint 30 times a second would hide all others."""
        now_s, key = self._clock(), (kind.value, who)
        logged = self._logged.get(key)
        if logged is None:
            self._logged[key] = _Logged(now_s)
            log(words)
            return
        logged.repeats += 1
        if now_s - logged.at_s >= AGAIN_S:
            log(f"{words} ({logged.repeats} of this kind in the last {now_s - logged.at_s:.0f} s)")
            self._logged[key] = _Logged(now_s)
