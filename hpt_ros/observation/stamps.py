# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Times of messages in integer nanoseconds."""

from __future__ import annotations

from typing import Any

from hpt_ros.embodiment import Stream
from hpt_ros.embodiment.messages import NS_PER_S, stamp_ns, time_ns
from hpt_ros.embodiment.streams import BY_ARRIVAL

__all__ = ["NS_PER_S", "measurement_time_ns", "stamp_ns", "time_ns"]


def measurement_time_ns(stream: Stream, message: Any, arrival_ns: int) -> int:
    """When a stream's message was measured, in nanoseconds, as far as its embodiment or its cell tells.

    Args:
        stream: its `time` says whether the header's stamp counts or the arrival, its `stamp_offset_s` is added.
        message: any object with the fields of the stream's type; without a stamp its arrival counts.
        arrival_ns: arrival (live) or log time (bag).
    """
    stamp = None if stream.time == BY_ARRIVAL else stream.message_type.stamp_ns(message)
    measured = stamp or arrival_ns
    return measured + round(stream.stamp_offset_s * NS_PER_S) if stream.stamp_offset_s else measured
