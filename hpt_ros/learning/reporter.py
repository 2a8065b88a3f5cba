# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a training run tells people: sentences and progress. `hpt finetune` shows them on the terminal."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Where a run's messages go."""

    def say(self, sentence: str) -> None:
        """Show one line."""

    def bar(self, label: str, done: int, total: int, note: str = "") -> None:
        """Show how far something is; `label` tells bars apart."""


class Silent:
    """Shows nothing."""

    def say(self, sentence: str) -> None:
        """Drop the line."""

    def bar(self, label: str, done: int, total: int, note: str = "") -> None:
        """Drop the progress."""
