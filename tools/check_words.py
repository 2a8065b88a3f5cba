#!/usr/bin/env python3
# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Keep words out of code, messages, help and docs for which the field has a term of its own.

    tools/check_words.py

prints each line with such a word and what to say instead, and each function that a participle names; exit status 1 if
there are any. A word joins the table when its last use is gone. Decisions and the changelog tell of the past and are
not looked at.
"""

from __future__ import annotations

import ast
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
# Where functions are named by verbs: what a function does, not what became of something (properties may say that).
CODE = ("hpt_ros", "rosbag_tools", "tools", "benchmarks", "launch")
PARTICIPLES = frozenset(
    "became begun bent born bound broken brought built caught chosen done drawn driven fallen fed felt flown found "
    "frozen gave given gone grown heard held hidden kept known laid led left lent lost made meant met paid said saw "
    "seen sent shown sought spent spoken stolen stood stuck taken thought told took torn went won worn written".split()
)
VERBS_IN_ED = frozenset(
    "bleed breed embed exceed feed heed need proceed red seed shed speed succeed weed".split()
)
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


def is_participle(word: str) -> bool:
    """Say whether a name that begins with this word says what became of something; ``unseen`` counts as ``seen``."""
    ends_in_ed = len(word) > 3 and word.endswith("ed") and word not in VERBS_IN_ED
    return ends_in_ed or word.removeprefix("un") in PARTICIPLES


def participle_names(code: str) -> list[tuple[int, str]]:
    """Return line and name of each function that a participle names, but for properties and pytest's fixtures."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_participle(
            node.name.strip("_").partition("_")[0]
        ):
            decorators = " ".join(map(ast.unparse, node.decorator_list))
            if not re.search(r"property|fixture", decorators):
                found.append((node.lineno, node.name))
    return found


def complaints() -> list[str]:
    """List the wrong words of everything that is looked at, each with its file and line."""
    found = []
    for file in sorted(file for room in CODE for file in (ROOT / room).rglob("*.py")):
        for number, name in participle_names(file.read_text(encoding="utf-8")):
            where = f"{file.relative_to(ROOT).as_posix()}:{number}"
            found.append(f"{where}: name the function {name!r} by a verb")
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
