# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which observation streams are stale."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.control.config import WatchdogConfig
from hpt_ros.control.refusals import Why
from hpt_ros.errors import Refusal


@dataclass(frozen=True, slots=True)
class _Receipt:
    stamp_ns: int
    arrival_ns: int


class Watchdog:
    """Ages of streams, by header stamp and by arrival.

    A stream's timeout is ``max(timeout_s, periods / rate_hz + delay_s)``. Where one message is lost, the newest becomes
    as old as two periods and what the next one takes from its stamp to the node: no healthy stream may be stale then.
    With the defaults such a message may take 80 ms at every rate (half a period and ``delay_s``, or more), or 50 ms
    where the stream comes at 0.8 of its rate. Two missing in a row make it stale, unless ``timeout_s`` is longer.

    The age by stamp catches a pipeline that falls behind; the age by arrival catches a stamp from the future, which
    would look fresh for ever. A stamp further ahead than the timeout is stale too: clocks disagree. A stream that was
    never seen is stale.

    The silence of one that is published only while it moves says nothing: it need only have been seen, once.

    Attributes:
        timeouts_s: of each stream.
        unseen: what to say of one that was not seen.
    """

    def __init__(
        self, config: WatchdogConfig, rates_hz: Mapping[str, float], holding: Collection[str] = ()
    ) -> None:
        """Start with no stream seen.

        Args:
            config: timeouts.
            rates_hz: expected rate of each stream.
            holding: those that are published only while they move.
        """
        self._holding = frozenset(holding)
        self.timeouts_s = {
            name: math.inf
            if name in self._holding
            else max(config.timeout_s, config.periods / rate_hz + config.delay_s)
            for name, rate_hz in rates_hz.items()
        }
        self._seen: dict[str, _Receipt] = {}
        self.unseen = "was never seen"

    def reset(self) -> None:
        """Forget all messages, but that streams that hold were seen."""
        self.unseen = "was never seen"
        self._seen = {name: seen for name, seen in self._seen.items() if name in self._holding}

    def succeed(self, other: Watchdog, names: Collection[str]) -> None:
        """Take over when streams that hold were seen."""
        self._seen |= {name: seen for name, seen in other._seen.items() if name in names}

    def note_message(self, name: str, stamp_ns: int, arrival_ns: int) -> None:
        """Note a message that could be used; one older than the newest known does not count."""
        if name not in self.timeouts_s:
            raise KeyError(name)
        seen = self._seen.get(name)
        if seen is None or stamp_ns >= seen.stamp_ns:
            self._seen[name] = _Receipt(stamp_ns, arrival_ns)

    def age_s(self, name: str, now_ns: int) -> float:
        """Age of the newest message, the larger of that by stamp and that by arrival; NaN if never seen."""
        seen = self._seen.get(name)
        return float("nan") if seen is None else (now_ns - min(seen.stamp_ns, seen.arrival_ns)) / NS_PER_S

    def find_stale(self, now_ns: int) -> dict[str, Refusal]:
        """Return the stale streams, each with its reason."""
        reasons: dict[str, Refusal] = {}
        for name, timeout_s in self.timeouts_s.items():
            seen, subject = self._seen.get(name), f"stream {name!r}"
            if seen is None:
                holds = name in self._holding
                remedy = "it is published only while it moves: move it once" if holds else ""
                reasons[name] = Refusal(Why.UNSEEN, subject, problem=self.unseen, remedy=remedy)
                continue
            age_s = self.age_s(name, now_ns)
            ahead_s = (seen.stamp_ns - now_ns) / NS_PER_S
            if age_s > timeout_s:
                problem = f"is {age_s:.3f} s old, its timeout is {timeout_s:g} s"
                reasons[name] = Refusal(Why.STALE, subject, age_s, problem=problem)
            elif ahead_s > timeout_s:
                reasons[name] = Refusal(
                    Why.AHEAD, subject, ahead_s, problem=f"is stamped {ahead_s:.3f} s in the future",
                    remedy="synchronise the clocks",
                )  # fmt: skip
        return reasons
