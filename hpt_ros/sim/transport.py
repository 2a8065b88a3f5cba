# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How messages get from a simulated sensor to whoever reads it: late, irregularly, or not at all."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from hpt_ros.errors import Code, HptError
from hpt_ros.sim.messages import Sample


@dataclass(frozen=True, slots=True)
class Transport:
    """Of one topic's messages.

    Attributes:
        delay_s: shortest time from measurement to arrival.
        jitter_s: mean of an exponential time on top, drawn for each message.
        lost: ratio of messages that never arrive, 0 to 1.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    lost: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no transport can have."""
        for name, most in (("delay_s", 10.0), ("jitter_s", 10.0), ("lost", 1.0)):
            value = getattr(self, name)
            if not 0.0 <= value <= most:
                raise HptError(Code.OUT_OF_RANGE, f"{name} of a transport", value, expected=f"0 to {most:g}")


PERFECT = Transport()


def transports_of(settings: Sequence[str]) -> dict[str, Transport]:
    """Return the transports of streams by name, of settings "STREAM.KEY=VALUE", e.g. "wrist.delay_s=0.1".

    Raises:
        HptError: one has no such form, or names no field of a transport or gives it a value that cannot be.
    """
    known = tuple(item.name for item in fields(Transport))
    found: dict[str, Transport] = {}
    for setting in settings:
        where, equals, text = setting.partition("=")
        stream, dot, key = where.rpartition(".")
        if not (equals and dot and stream):
            raise HptError(
                Code.INVALID, "a transport", setting, expected="STREAM.KEY=VALUE, e.g. wrist.delay_s=0.1"
            )
        if key not in known:
            raise HptError(Code.UNKNOWN, f"the transport of {stream!r}", key, known=known)
        try:
            value = float(text)
        except ValueError as error:
            raise HptError(
                Code.WRONG_TYPE, f"{key} of the stream {stream!r}", text, expected="a number"
            ) from error
        found[stream] = replace(found.get(stream, PERFECT), **{key: value})
    return found


def as_settings(transports: Mapping[str, Transport]) -> str:
    """Return the same as text, one after the other; empty without any."""
    return " ".join(
        f"{stream}.{item.name}={getattr(transport, item.name):g}"
        for stream, transport in sorted(transports.items())
        for item in fields(Transport)
        if getattr(transport, item.name)
    )


class Transports:
    """The messages under way. A message of a topic may overtake an earlier one, as best-effort messages do.

    Args:
        transports: topic to what happens to its messages; others arrive at once.
    """

    def __init__(self, transports: Mapping[str, Transport]) -> None:
        self._transports = dict(transports)
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Lose what is under way, and draw anew from this seed."""
        self._rng = np.random.default_rng([seed, 0x5E45])
        self._coming: list[tuple[int, int, Sample]] = []
        self._count = itertools.count()

    def send(self, topic: str, message: Any, now_ns: int) -> None:
        """Take a message that is measured now."""
        transport = self._transports.get(topic, PERFECT)
        if transport.lost and self._rng.random() < transport.lost:
            return
        late_s = transport.delay_s
        if transport.jitter_s:
            late_s += self._rng.exponential(transport.jitter_s)
        arrival_ns = now_ns + round(late_s * 1e9)
        heapq.heappush(self._coming, (arrival_ns, next(self._count), Sample(topic, message, arrival_ns)))

    def pop_arrived(self, until_ns: int) -> list[Sample]:
        """Return what arrives until then, once, in order of arrival."""
        samples = []
        while self._coming and self._coming[0][0] <= until_ns:
            samples.append(heapq.heappop(self._coming)[2])
        return samples
