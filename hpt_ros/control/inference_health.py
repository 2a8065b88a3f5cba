# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is known of the policy itself: whether it fails, and whether it comes back."""

from __future__ import annotations

from dataclasses import dataclass

from hpt_ros.control.refusals import Why, append_reason
from hpt_ros.errors import Refusal


@dataclass(slots=True)
class InferenceHealth:
    """Failures in a row and a hung inference.

    Attributes:
        in_a_row: refused chunks and failed inferences since the last good chunk.
        hung: an inference that does not come back; None if there is none.
        used_up: chunks in a row that were used up before the next one came.
        unasked: why observations are not complete, so that it is not asked; None if they are.
    """

    in_a_row: int = 0
    used_up: int = 0
    hung: Refusal | None = None
    unasked: Refusal | None = None
    _failed: Refusal | None = None

    @property
    def reason_no_chunk(self) -> Refusal | None:
        """Why no chunk comes; None if nothing is known."""
        known = (self.hung, self._failed, self.unasked)
        return next((found for found in known if found is not None), None)

    def note_failure(self, reason: Refusal) -> None:
        """Note a refused chunk or a failed inference."""
        self.in_a_row += 1
        self._failed = reason.within("the last failure of the policy")

    def note_good(self) -> None:
        """Count again, after a good chunk or when an operator has looked; a hung inference is still under way."""
        self.in_a_row, self._failed = 0, None

    def note_exhausted(self, most: int, late_s: float, cover_s: float) -> Refusal | None:
        """Note that a chunk was used up; returns why that is too much, once it is `most` in a row.

        Args:
            most: in a row.
            late_s: time from an observation until its chunk is there.
            cover_s: what a chunk covers.
        """
        self.used_up += 1
        if self.used_up < most:
            return None
        slow = Refusal(
            Why.SLOW, f"{self.used_up} chunks in a row", late_s,
            problem=f"were used up before the next one came: they come {late_s:.3f} s after their observation and "
            f"cover {cover_s:g} s", remedy="make the policy faster, or train with a longer horizon",
        )  # fmt: skip
        return append_reason(slow, self.reason_no_chunk)

    def note_running(self, busy_s: float, longest_s: float) -> bool:
        """Note for how long the present inference has been under way, 0 if there is none; True when it is hung now."""
        if busy_s <= longest_s:
            self.hung = None
            return False
        already = self.hung is not None
        self.hung = Refusal(
            Why.HUNG, "the policy", longest_s,
            problem="has not come back from an inference for more than {value} s",
        )  # fmt: skip
        return not already
