# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Times of messages in whole nanoseconds."""

from __future__ import annotations

from typing import Any

NS_PER_S = 1_000_000_000


def time_ns(time: Any) -> int:
    """builtin_interfaces/Time or Duration in nanoseconds."""
    return int(time.sec) * NS_PER_S + int(time.nanosec)


def stamp_ns(message: Any, arrival_ns: int) -> int:
    """The message's header stamp in nanoseconds; its arrival for a zero stamp ("now") and for a type without header."""
    header = getattr(message, "header", None)
    return arrival_ns if header is None else time_ns(header.stamp) or arrival_ns
