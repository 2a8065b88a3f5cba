# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the thread of the observations reports to the control loop."""

from __future__ import annotations

from dataclasses import dataclass

from hpt_ros.embodiment import Stream
from hpt_ros.errors import Code, Refusal, cause_text


@dataclass(frozen=True, slots=True)
class TickOutcome:
    """What became of a costly message that was looked at: usable, or the problem with it."""

    stream: Stream
    stamp_ns: int
    arrival_ns: int
    problem: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What happened since the last report.

    Attributes:
        outcomes: of messages, oldest first.
        internal: trace of an internal error; empty if there was none.
    """

    outcomes: tuple[TickOutcome, ...]
    internal: str


def undecodable(stream: Stream, error: Exception) -> Refusal:
    """Return the refusal of a message that makes a decoder fail in a way that it does not know."""
    return Refusal(
        Code.UNREADABLE, f"stream {stream.name!r} (topic {stream.topic})", remedy="check the driver",
        problem="has a message that cannot be decoded", cause=f"{type(error).__name__}: {cause_text(error)}",
    )  # fmt: skip
