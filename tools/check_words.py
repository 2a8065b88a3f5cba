#!/usr/bin/env python3
# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Keep words out of code, messages, help and docs for which the field has a term of its own.

    tools/check_words.py

prints each line with such a word and what to say instead; exit status 1 if there are any. A word joins the table when
its last use is gone. Decisions and the changelog tell of the past and are not looked at.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACES = ("hpt_ros", "rosbag_tools", "tools", "benchmarks", "launch", "docs", "README.md", "CONTRIBUTING.md")
SUFFIXES = {".py", ".md", ".yaml"}
SKIPPED = ("docs/decisions/", "tools/check_words.py")
# What is not said, as a regular expression of whole words -> what is.
WORDS = {
    r"(?<!self\.)film|films": "video",  # but FiLM layers
    "player|players": "policy, rollout",
    "leapt": "jumped",
    "heeded": "accepted",
    "mend|mends|mended": "fix, correct",
    "cloned": "imitated",
    "rig|rigs": "harness",
    "begun anew": "restarted",
    "of no matter": "ignored",
    "let go of|lets go of": "release",
    "none of this robot's": "for a different robot",
    "nobody publishes": "no publisher on",
    "not listened to": "not subscribed",
    "fault of ours|fault of hpt_ros|our fault": "internal error",
    "fed the dog": "success",
    "grips only": "gripper only",
    "pilot": "policy runtime",
    "teller|telling": "logger",
    r"(?:a|an|the|its|their|this|validation) shares?(?! ?/)|shares? of|shares?(?= ?=)": "fraction, ratio",
    "told": "commanded, given, reported",
}
PATTERNS = [
    (re.compile(rf"(?<![A-Za-z])(?:{words})(?![A-Za-z])", re.IGNORECASE), better)
    for words, better in WORDS.items()
]


def wrong_words(line: str) -> list[str]:
    """Say what to write in place of each wrong word of a line."""
    # PlayerNode and player_node are "player node"; docs name tests, whose names are not looked at.
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", re.sub(r"\btest_\w+", "", line))
    return [
        f"say {better!r} in place of {match.group(0)!r}"
        for pattern, better in PATTERNS
        if (match := pattern.search(plain))
    ]


def complaints() -> list[str]:
    """List the wrong words of everything that is looked at, each with its file and line."""
    found = []
    for place in PLACES:
        top = ROOT / place
        for file in [top] if top.is_file() else sorted(top.rglob("*")):
            name = file.relative_to(ROOT).as_posix()
            if file.suffix not in SUFFIXES or name.startswith(SKIPPED) or file.is_symlink():
                continue
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                found += [f"{name}:{number}: {what}" for what in wrong_words(line)]
    return found


def main() -> int:
    """Print what is found; returns the exit status."""
    found = complaints()
    print("\n".join(found) or "no such words")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
