# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Episodes of a person's demonstrations: what a word does in which state. No IO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

WORDS: Final = ("begin", "success", "failure", "discard", "quit")
KEYS: Final[Mapping[str, str]] = {" ": "begin", "y": "success", "n": "failure", "x": "discard", "q": "quit"}


class Act(str, Enum):
    """What is to be done with the recording and the scene, in this order."""

    KEEP_SUCCESS = "write the bag, as a success"
    KEEP_FAILURE = "write the bag, as a failure"
    DROP = "throw the recording away"
    RESET = "put the scene at its start"
    RECORD = "begin to record"
    END = "end"


@dataclass(frozen=True, slots=True)
class Episodes:
    """Where the person stands; `say` gives where a word leads, and what is to be done.

    Attributes:
        scene: seed of the scene.
        recording: whether an episode is being recorded.
        kept: bags so far.
        ended: whether it is over.
    """

    scene: int
    recording: bool = False
    kept: int = 0
    ended: bool = False

    def say(self, word: str) -> tuple[Episodes, tuple[Act, ...]]:
        """Take one of `WORDS`; another one, or one that means nothing now, does nothing.

        A retained episode goes on to the next scene, a discarded one to its own again: the scene was not at fault.
        """
        if self.ended or word not in WORDS:
            return self, ()
        if word == "quit":
            drop = (Act.DROP,) if self.recording else ()
            return replace(self, recording=False, ended=True), (*drop, Act.END)
        if not self.recording:
            if word == "begin":
                return replace(self, recording=True), (Act.RESET, Act.RECORD)
            if word == "discard":
                return replace(self, scene=self.scene + 1), (Act.RESET,)
            return self, ()
        if word == "begin":
            return self, ()
        if word == "discard":
            return replace(self, recording=False), (Act.DROP, Act.RESET)
        keep = Act.KEEP_SUCCESS if word == "success" else Act.KEEP_FAILURE
        return replace(self, recording=False, kept=self.kept + 1, scene=self.scene + 1), (keep, Act.RESET)
