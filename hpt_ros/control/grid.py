# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The times of commands: a grid of their own, one period apart, however late the caller's timer is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grid:
    """Commands are sent ahead of their times by a lead, and lie a period apart.

    Attributes:
        period_ns: between commands.
        lead_ns: from now to the time of the command that is due now.
    """

    period_ns: int
    lead_ns: int

    def due(self, now_ns: int, last_ns: int | None) -> tuple[int | None, bool]:
        """Time of the command of this call, or None if the timer came a whole period early; and whether there is a gap.

        Args:
            now_ns: now.
            last_ns: time of the last command; None: the grid begins anew. A caller that was away for more than half a
                period begins it anew too, which is a gap.
        """
        fresh = now_ns + self.lead_ns
        if last_ns is None:
            return fresh, False
        time_ns = last_ns + self.period_ns
        if time_ns > fresh + self.period_ns:
            return None, False
        if time_ns < fresh - self.period_ns // 2:
            return fresh, True
        return time_ns, False
