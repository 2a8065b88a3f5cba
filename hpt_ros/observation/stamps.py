# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Times of messages in whole nanoseconds."""

from __future__ import annotations

from hpt_ros.embodiment.messages import NS_PER_S, stamp_ns, time_ns

__all__ = ["NS_PER_S", "stamp_ns", "time_ns"]
