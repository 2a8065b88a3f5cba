# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is known of the policy itself: whether it fails, and whether it comes back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class PolicyHealth:
    """Failures in a row and a hung inference, in the words of a reason that ends with them.

    Attributes:
        in_a_row: refused chunks and failed inferences since the last good chunk.
        hung: what to say of an inference that does not come back; empty if there is none.
        used_up: chunks in a row that were used up before the next one came.
        unasked: what to say of observations that are not complete, so that it is not asked; empty if they are.
    """

    in_a_row: int = 0
    used_up: int = 0
    hung: str = ""
    unasked: str = ""
    _failed: str = ""

    @property
    def excuse(self) -> str:
        """Why no chunk comes, as the end of a sentence; empty if nothing is known."""
        return self.hung or self._failed or self.unasked

    def failed(self, reason: str) -> None:
        """Note a refused chunk or a failed inference."""
        self.in_a_row += 1
        self._failed = f"; the last failure of the policy: {reason}"

    def good(self) -> None:
        """Count anew, after a good chunk or when an operator has looked; a hung inference is still under way."""
        self.in_a_row, self._failed = 0, ""

    def exhausted(self, most: int, late_s: float, cover_s: float) -> str:
        """Note that a chunk was used up; once it is `most` in a row, say so in a sentence.

        Args:
            most: in a row.
            late_s: time from an observation until its chunk is there.
            cover_s: what a chunk covers.
        """
        self.used_up += 1
        if self.used_up < most:
            return ""
        return (
            f"{self.used_up} chunks in a row were used up before the next one came: they come {late_s:.3f} s after "
            f"their observation and cover {cover_s:g} s; make the policy faster, or train with a longer "
            f"horizon{self.excuse}"
        )

    def running(self, busy_s: float, longest_s: float) -> bool:
        """Note for how long the present inference has been under way, 0 if there is none; True when it is hung now."""
        if busy_s <= longest_s:
            self.hung = ""
            return False
        already = bool(self.hung)
        self.hung = f"; the policy has not come back from an inference for more than {longest_s:g} s"
        return not already
